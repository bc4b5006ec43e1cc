"""What an append came to, for whoever waits for it: refusals by kind, and futures that are joined."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from meterhall.model.samples import OUT_OF_BOUNDS, OUT_OF_ORDER, TOO_FAR_AHEAD, Rejection

DUPLICATE = "duplicate sample for timestamp"


def refused_by_kind(rejections: Iterable[Rejection]) -> Mapping[str, int]:
    """How many samples were refused, by a kind of bounded variety."""
    return Counter(_kind(rejection.reason) for rejection in rejections)


def done() -> Future[None]:
    """A future that is done, for when there was nothing to write."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


def both(first: Future[None], second: Future[None]) -> Future[None]:
    """Done when both are; fails with the first failure of the two in their order."""
    joined: Future[None] = Future()

    def settle(_: Future[None]) -> None:
        failure = first.exception() or second.exception()
        if failure is None:
            joined.set_result(None)
        else:
            joined.set_exception(failure)

    first.add_done_callback(lambda _: second.add_done_callback(settle))
    return joined


def _kind(reason: str) -> str:
    if reason.startswith(DUPLICATE):
        return DUPLICATE
    # The longer text first: it begins with the shorter.
    for known in (TOO_FAR_AHEAD, OUT_OF_BOUNDS, OUT_OF_ORDER):
        if reason.startswith(known):
            return known
    return "other"
