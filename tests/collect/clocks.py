"""Clocks for tests: the real one, and one whose wall time can be set."""

import time


class RealClock:
    def now_ms(self):
        return time.time_ns() // 1_000_000

    def monotonic(self):
        return time.monotonic()


class JumpingClock(RealClock):
    """Real time plus whatever the operator sets the wall clock off by."""

    def __init__(self):
        self.off_by_ms = 0

    def now_ms(self):
        return super().now_ms() + self.off_by_ms


class ManualClock:
    """A clock that stands until a test moves it."""

    def __init__(self, now_ms=1_700_000_000_000):
        self.ms = now_ms
        self.seconds = 0.0

    def now_ms(self):
        return self.ms

    def monotonic(self):
        return self.seconds

    def advance(self, seconds):
        self.seconds += seconds
        self.ms += round(seconds * 1000)
