"""How long samples are kept, and how many bytes of them: of a project, and of its workspaces."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Retention:
    """Whichever is reached first. 0 is no rule of its own."""

    time_ms: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ProjectRetention:
    """A project's rule, and those of its workspaces (`job`), which hold in place of it."""

    own: Retention = Retention()
    jobs: Mapping[str, Retention] = field(default_factory=dict)
