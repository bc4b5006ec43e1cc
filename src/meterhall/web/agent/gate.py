"""A bounded number of places, and for those who find none a time to come back that fits the crowd."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from meterhall.model.errors import Overloaded
from meterhall.ports.clock import Clock

_WAIT_S_MAX = 60
# Who has not come back for so long does not want to come in any more.
_FORGOTTEN_S = 180.0
_SMOOTHING = 0.1


class Gate:
    """Used on the event loop."""

    def __init__(self, places: int, refusal: str, clock: Clock) -> None:
        self._places = places
        self._refusal = refusal
        self._clock = clock
        self._inside: set[str] = set()
        # Who was sent away and has not come in since, oldest first.
        self._outside: dict[str, float] = {}
        self._each_s = 0.1

    @contextmanager
    def place(self, who: str) -> Iterator[None]:
        """A place while the block runs. Raises Overloaded where there is none, or `who` has one already."""
        begun_s = self._clock.monotonic()
        if who in self._inside:
            raise Overloaded("one report at a time", 1)
        if len(self._inside) >= self._places:
            raise Overloaded(self._refusal, self._wait_s(who, begun_s))
        self._outside.pop(who, None)
        self._inside.add(who)
        try:
            yield
        finally:
            self._inside.discard(who)
            took_s = (self._clock.monotonic() - begun_s) / self._places
            self._each_s += _SMOOTHING * (took_s - self._each_s)

    def _wait_s(self, who: str, now_s: float) -> int:
        """How long it takes to serve everyone who waits outside."""
        self._outside.pop(who, None)
        self._outside[who] = now_s
        while now_s - self._outside[next(iter(self._outside))] > _FORGOTTEN_S:
            del self._outside[next(iter(self._outside))]
        return min(_WAIT_S_MAX, math.ceil(len(self._outside) * self._each_s))
