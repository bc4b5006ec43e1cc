"""One target's scrapes on their way to disk: the collector's Session, with the spool in the store's place.

A page that has the shape of the page before it is kept as its words. A page whose shape is new, as every page
with timestamps is, goes whole.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from meterhall.agent.spool import Entry
from meterhall.agent.spool_format import SpooledScrape
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.fetch import Failure
from meterhall.collect.status import fail_reason
from meterhall.model.target import Endpoint
from meterhall.wire.agent_report import FailedScrape, SplitPage, WholePage, shape_id, split_page

_CONTENT_TYPE_CHARS_MAX = 1024

Keep = Callable[[SpooledScrape, bytes | None], "Future[Entry]"]


@dataclass(frozen=True, slots=True)
class Spooled:
    """Implements targetloop.Committed; whether a page can be read is for the service to say."""

    durable: "Future[None]"
    error: None = None


class SpoolSession:
    """Implements targetloop.Session. `keep` takes a scrape and the shape of its split page."""

    def __init__(self, target: Endpoint, clock: AgentClock, keep: Keep) -> None:
        self._target_id = target.target_id
        self._clock = clock
        self._keep = keep
        self._shape = b""
        self._shape_id = b""
        self._last_ms = 0

    def commit_page(
        self, body: bytes, content_type: str, start_ms: int, duration_s: float
    ) -> Spooled:
        """A page, split if it repeats the names of the one before."""
        content_type = content_type[:_CONTENT_TYPE_CHARS_MAX]
        shape, words = split_page(body)
        if shape and shape == self._shape:
            page = SplitPage(content_type, self._shape_id, words, None)
            return self._spool(page, start_ms, duration_s)
        self._shape, self._shape_id = shape, shape_id(shape)
        return self._spool(WholePage(content_type, body), start_ms, duration_s)

    def commit_failure(self, start_ms: int, duration_s: float, failure: Failure) -> Spooled:
        """A scrape without a page, and why."""
        outcome = FailedScrape(failure.kind.value, fail_reason(failure.reason), failure.http_status)
        return self._spool(outcome, start_ms, duration_s)

    def end(self, time_ms: int) -> Spooled:
        """The service knows that the target has ended, and marks its series itself."""
        done: Future[None] = Future()
        done.set_result(None)
        return Spooled(done)

    def _spool(
        self, outcome: FailedScrape | WholePage | SplitPage, start_ms: int, duration_s: float
    ) -> Spooled:
        stamp = self._clock.stamp(start_ms, duration_s)
        time_ms = stamp.time_ms
        # A wall clock that was set back by less than a second must not give two scrapes one time.
        if 0 <= self._last_ms - time_ms <= 1000:
            time_ms = self._last_ms + 1
        self._last_ms = time_ms
        scrape = SpooledScrape(
            self._target_id, time_ms, duration_s, outcome, stamp.boot_id, stamp.boot_ms
        )
        kept = self._keep(scrape, self._shape if isinstance(outcome, SplitPage) else None)
        done: Future[None] = Future()
        kept.add_done_callback(lambda _: _settle(done, kept.exception()))
        return Spooled(done)


def _settle(done: "Future[None]", failure: BaseException | None) -> None:
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
