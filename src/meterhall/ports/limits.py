"""What a project may store and send: the control plane decides, ingestion asks."""

from typing import Protocol

from meterhall.model.limits import ProjectLimits
from meterhall.model.tenant import Tenant


class LimitSource(Protocol):
    """Answers from memory. Thread-safe."""

    def limits(self, tenant: Tenant) -> ProjectLimits:
        """The project's ceilings as they are now."""
        ...
