"""Allowances without a ceiling, for measuring a room on its own."""

from meterhall.app.clock import SystemClock
from meterhall.ingest.allowance import Allowances
from meterhall.model.limits import ProjectLimits


class _NoLimits:
    """A LimitSource that knows none but those of labels."""

    def limits(self, tenant) -> ProjectLimits:
        return ProjectLimits()


UNLIMITED = Allowances(_NoLimits(), SystemClock())
