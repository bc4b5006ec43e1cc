"""Collection targets as the scraper sees them, and what becomes of a collection."""

from dataclasses import dataclass, field
from enum import StrEnum

from meterhall.model.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One target without whose it is: what fetching it takes, and all that a host's agent knows.

    `address` is the host's IP address or name, without port. `builtin` marks the collecting machine's own
    host metrics, which are gathered in-process instead of fetched.
    """

    target_id: str
    job: str
    host_id: str
    host_name: str
    address: str
    port: int
    metrics_path: str
    interval_ms: int
    timeout_ms: int
    builtin: bool = False

    @property
    def series_identity(self) -> tuple[object, ...]:
        """What decides over its series' labels, beside whose it is, which never changes."""
        return (self.job, self.host_id, self.host_name, self.port, self.builtin)


@dataclass(frozen=True, slots=True)
class ScrapeTarget(Endpoint):
    """One target of a tenant, whoever collects it."""

    tenant: Tenant = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class AgentHost:
    """A host whose agent collects its targets. `heard_ms` is when it was last heard, as far as is kept."""

    host_id: str
    tenant: Tenant
    heard_ms: int
    is_silent: bool
    targets: tuple[ScrapeTarget, ...]


class MonitoringStatus(StrEnum):
    """`mntrnStatCd` of the contract; null until the first report."""

    NORMAL = "NORMAL"
    HTTP_ERROR = "HTTP_ERROR"
    UNREACHABLE = "UNREACHABLE"
    STOPPED = "STOPPED"


# `resultCd` of the contract where it is not an HTTP status.
RESULT_OK = 0
RESULT_CONNECT = -1
RESULT_TIMEOUT = -2
RESULT_PARSE = -3
RESULT_LIMIT = -4

FAIL_REASON_CHARS_MAX = 255


@dataclass(frozen=True, slots=True)
class TargetReport:
    """The outcome of one collection. `fail_reason` is one line, never a piece of the page."""

    target_id: str
    status: MonitoringStatus
    result_code: int
    fail_reason: str | None
    time_ms: int
