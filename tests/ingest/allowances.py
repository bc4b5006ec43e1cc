"""Allowances for tests: of any limits, on a clock that moves when told to."""

from meterhall.ingest.allowance import Allowance, Allowances
from meterhall.model.limits import ProjectLimits


class HandClock:
    def __init__(self):
        self.seconds = 1000.0

    def now_ms(self):
        return int(self.seconds * 1000)

    def monotonic(self):
        return self.seconds


class SetLimits:
    """A LimitSource whose answer a test may change."""

    def __init__(self, **limits):
        self.now = ProjectLimits(**limits)

    def limits(self, tenant):
        return self.now


def allowance(clock=None, **limits):
    source = SetLimits(**limits)
    return Allowance(lambda: source.now, clock or HandClock())


def allowances(clock=None, **limits):
    return Allowances(SetLimits(**limits), clock or HandClock())
