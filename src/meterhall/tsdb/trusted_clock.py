"""The time that retention counts from: the wall clock's, unless that has jumped ahead.

A clock that is wrong at start, or is set wrong later, must not drop a year of samples. So time is taken to go on from
the newest sample that the store has when it is opened, and then as the monotonic clock says. Where the wall clock is
further than that by more than samples may be, it is believed once it has kept its distance for `clock_doubt_s` (a
service that was down for long keeps samples that much longer). A clock that goes back is believed at once: it drops
nothing. Prometheus counts from its newest block, so that there a wrong clock does harm only once samples have its time.
"""

import structlog

from meterhall.ports.clock import Clock
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.wal import NO_TIME

_log = structlog.get_logger()


class TrustedClock:
    """Upkeep's, asked once in a turn. Not thread-safe."""

    def __init__(self, clock: Clock, newest_ms: int, settings: StoreSettings) -> None:
        """`newest_ms` is the newest sample's time, NO_TIME where there is none."""
        self._clock = clock
        self._settings = settings
        now_ms, run_ms = self._read()
        begin_ms = now_ms if newest_ms == NO_TIME else min(now_ms, newest_ms)
        # The wall clock's distance from the monotonic one, as far as it is believed.
        self._believed_ms = begin_ms - run_ms
        # The distance that is doubted, and since when.
        self._doubted_ms: int | None = None
        self._since_ms = run_ms

    def now_ms(self) -> int:
        """Unix milliseconds; never beyond the wall clock's."""
        now_ms, run_ms = self._read()
        distance_ms = now_ms - run_ms
        near_ms = self._settings.ahead_ms_max
        if distance_ms <= self._believed_ms + near_ms:
            self._believed_ms, self._doubted_ms = distance_ms, None
        elif self._doubted_ms is None or abs(distance_ms - self._doubted_ms) > near_ms:
            self._doubted_ms, self._since_ms = distance_ms, run_ms
            _log.warning(
                "retention.clock_doubted",
                ahead_ms=distance_ms - self._believed_ms,
                for_s=self._settings.clock_doubt_s,
            )
        elif run_ms - self._since_ms >= self._settings.clock_doubt_s * 1000:
            self._believed_ms, self._doubted_ms = distance_ms, None
        return run_ms + self._believed_ms

    def _read(self) -> tuple[int, int]:
        return self._clock.now_ms(), int(self._clock.monotonic() * 1000)
