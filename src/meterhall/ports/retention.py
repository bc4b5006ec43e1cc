"""Which projects keep their samples by a rule of their own, and which are gone: the control plane decides, the store asks."""

from collections.abc import Collection, Mapping
from typing import Protocol

from meterhall.model.retention import ProjectRetention

# Region and project.
Whose = tuple[str, str]


class RetentionSource(Protocol):
    """Answers from memory. Thread-safe."""

    def retentions(self) -> Mapping[Whose, ProjectRetention]:
        """Those that have a rule; all others follow the store's."""
        ...

    def departed(self) -> Collection[Whose]:
        """Projects that were deleted: nothing of theirs is kept."""
        ...
