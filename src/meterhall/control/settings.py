"""Settings of the control plane: one frozen value, assembled by `app.config`, with safe defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meterhall.model.limits import ProjectLimits


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """What the control plane must be told.

    `regions` are the codes this server answers for. `time_zones` maps a region to the IANA zone of its
    `lstModYmdt`; a region that is absent shows UTC. `interval_ms` and `timeout_ms` are those of a
    collection whose workspace sets none. `limits` are those of a project that has none of its own.
    """

    regions: tuple[str, ...] = ("kr",)
    time_zones: Mapping[str, str] = field(default_factory=dict)
    targets_per_host_max: int = 5
    limits: ProjectLimits = field(default_factory=ProjectLimits)
    agents_per_project_max: int = 10_000
    interval_ms: int = 60_000
    timeout_ms: int = 10_000
    poll_ms: int = 1_000
    last_used_write_ms: int = 60_000
