"""Ceilings of one project in one region: what it may store and send."""

from dataclasses import dataclass

# Time between two collections of a target, whoever says it: a workspace, a setting or a service to its agent.
INTERVAL_MS_MIN = 1_000
INTERVAL_MS_MAX = 86_400_000


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """0 is no ceiling. The three of labels are of one series as it would be stored, stamped labels included.

    `samples_burst` is how far a project may run ahead of `samples_per_second`; one second's worth where 0.
    """

    active_series: int = 0
    samples_per_second: int = 0
    samples_burst: int = 0
    labels_per_series: int = 40
    label_name_bytes: int = 1_024
    label_value_bytes: int = 4_096
