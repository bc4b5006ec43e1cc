"""When each target is collected: pure arithmetic on two clocks, no sleeping here.

Ticks lie at `offset + k * interval` of the wall clock's epoch. The offset is a hash of the target's
identity, so that load is spread evenly and a restart, or a second server, keeps the same ticks (contract
5.9). Waiting is done on the monotonic clock, one tick at a time, and each wait is derived anew from the
wall clock. So a wall clock that is set back or forward, by whatever amount, can neither stall a target
(no wait exceeds one and a half intervals) nor make it burst (starts lie at least half an interval apart),
and ticks that were missed are skipped because only the next one is ever asked for.
"""

import hashlib
from dataclasses import dataclass

# Contract 5.7: a start this close to its tick is recorded as the tick itself, because regular
# timestamps compress to almost nothing.
SNAP_MS_MAX = 2
SNAP_INTERVAL_SHARE = 100


@dataclass(frozen=True, slots=True)
class Tick:
    """A planned collection: `time_ms` of the wall clock as seen now, `start_s` of the monotonic clock."""

    time_ms: int
    start_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and at which phase one target is collected."""

    interval_ms: int
    offset_ms: int

    @classmethod
    def of(cls, identity: str, interval_ms: int) -> "Pace":
        """The pace of a target. `identity` is whatever stays the same over restarts."""
        return cls(interval_ms, offset_ms(identity, interval_ms))

    def next_tick(self, now_ms: int, now_s: float, last_start_s: float | None) -> Tick:
        """The next tick after now, at least half an interval after the last start (if any).

        The half guards against a wake-up a moment before its tick (which would find the same tick
        still ahead) and against a wall clock that was set to just before a tick.
        """
        tick_ms = tick_after(now_ms, self.interval_ms, self.offset_ms)
        start_s = now_s + (tick_ms - now_ms) / 1000
        if last_start_s is not None and start_s - last_start_s < self.interval_ms / 2000:
            tick_ms += self.interval_ms
            start_s += self.interval_ms / 1000
        return Tick(tick_ms, start_s)

    def timestamp_ms(self, tick: Tick, now_ms: int) -> int:
        """What to record for a collection that begins now: the tick if it is close, else now."""
        tolerance_ms = min(SNAP_MS_MAX, self.interval_ms / SNAP_INTERVAL_SHARE)
        return tick.time_ms if abs(now_ms - tick.time_ms) <= tolerance_ms else now_ms


def offset_ms(identity: str, interval_ms: int) -> int:
    """A target's place in the interval, in [0, interval): even over targets, the same for ever."""
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % interval_ms


def tick_after(now_ms: int, interval_ms: int, offset_ms: int) -> int:
    """The first tick that lies strictly after now."""
    return now_ms + interval_ms - (now_ms - offset_ms) % interval_ms
