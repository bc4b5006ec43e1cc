"""What collection works from: the targets of this server and those of agents, and what became of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from meterhall.control import tables
from meterhall.control.access import issue_tenant
from meterhall.control.changes import ChangeWatcher
from meterhall.control.context import Context
from meterhall.control.hosts import Collect
from meterhall.control.settings import ControlSettings
from meterhall.model.target import (
    FAIL_REASON_CHARS_MAX,
    AgentHost,
    ScrapeTarget,
    TargetReport,
)

_AGENTS = tables.agents
_KEYS = tables.keys
_TARGETS = tables.targets
_HOSTS = tables.hosts
_JOBS = tables.jobs


class Inventory:
    """Thread-safe."""

    def __init__(self, context: Context, watcher: ChangeWatcher) -> None:
        self._context = context
        self._changes = 0
        watcher.listen(tables.INVENTORY_TOPIC, self._on_change)

    @property
    def changes(self) -> int:
        """A number that moves whenever the targets may have changed.

        Costs nothing: poll it as often as you like. Other processes' changes move it within seconds.
        """
        return self._changes

    def scrape_targets(self, regions: Collection[str]) -> list[ScrapeTarget]:
        """Targets in these regions that the server itself collects, in a stable order."""
        return self._targets("direct", regions)

    def agent_hosts(self, regions: Collection[str]) -> list[AgentHost]:
        """Hosts in these regions that have an agent, with what it is to collect; in a stable order."""
        query = (
            select(
                _AGENTS.c.host_id,
                _AGENTS.c.enrolled_ms,
                _AGENTS.c.silent_ms,
                _KEYS.c.last_used_ms,
                _HOSTS.c.project_id,
                _HOSTS.c.region,
            )
            .join(_HOSTS, _AGENTS.c.host_id == _HOSTS.c.id)
            .join(_KEYS, _AGENTS.c.key_id == _KEYS.c.id)
            .where(_HOSTS.c.region.in_(list(regions)))
            .order_by(_AGENTS.c.seq)
        )
        with self._context.database.read() as connection:
            rows = connection.execute(query).all()
        targets: dict[str, list[ScrapeTarget]] = {row.host_id: [] for row in rows}
        for target in self._targets("agent", regions):
            # A host without an agent has targets that nobody collects yet.
            targets.get(target.host_id, []).append(target)
        return [_agent_host(row, targets[row.host_id]) for row in rows]

    def _targets(self, collect: Collect, regions: Collection[str]) -> list[ScrapeTarget]:
        query = (
            select(
                _TARGETS.c.id,
                _TARGETS.c.host_id,
                _TARGETS.c.port,
                _TARGETS.c.builtin,
                _JOBS.c.project_id,
                _JOBS.c.region,
                _JOBS.c.name.label("job"),
                _JOBS.c.metrics_path,
                _JOBS.c.interval_ms,
                _HOSTS.c.name.label("host_name"),
                _HOSTS.c.address,
            )
            .join(_JOBS, _TARGETS.c.job_id == _JOBS.c.id)
            .join(_HOSTS, _TARGETS.c.host_id == _HOSTS.c.id)
            .where(_JOBS.c.region.in_(list(regions)), _HOSTS.c.collect == collect)
            .order_by(_TARGETS.c.seq)
        )
        with self._context.database.read() as connection:
            rows = connection.execute(query).all()
        return [_scrape_target(row, self._context.settings) for row in rows]

    def save_reports(self, reports: Iterable[TargetReport]) -> None:
        """Keeps the last known state of targets, in one transaction.

        Only a report that says something new is written, so steady targets cost no disk. Reports on targets
        that are gone are dropped.
        """
        # In one order, so that two servers on one database never wait for each other in a circle.
        newest = sorted({report.target_id: report for report in reports}.values(), key=_target_id)

        def work(connection: Connection) -> None:
            connection.execute(_SAVE, [_parameters(report) for report in newest])

        if newest:
            self._context.database.write(work, topics=())

    def note_silence(self, since_ms: Mapping[str, int | None]) -> None:
        """Keeps since when hosts' agents have not been heard; None for one that is heard again."""
        # In one order, so that two servers on one database never wait for each other in a circle.
        rows = [{"host": host, "since": since} for host, since in sorted(since_ms.items())]

        def work(connection: Connection) -> None:
            connection.execute(_NOTE_SILENCE, rows)

        if rows:
            self._context.database.write(work, topics=())

    def _on_change(self) -> None:
        # Two threads may count at once; that the number moves is all that matters.
        self._changes += 1


def _target_id(report: TargetReport) -> str:
    return report.target_id


def _parameters(report: TargetReport) -> dict[str, Any]:
    reason = report.fail_reason
    return {
        "new_id": report.target_id,
        "new_status": str(report.status),
        "new_result_code": report.result_code,
        "new_fail_reason": None if reason is None else _one_line(reason),
        "new_since_ms": report.time_ms,
    }


# One statement for all reports of a batch. It leaves a row alone whose report says nothing new.
_SAVE = (
    update(_TARGETS)
    .where(
        _TARGETS.c.id == bindparam("new_id"),
        or_(
            _TARGETS.c.status.is_distinct_from(bindparam("new_status")),
            _TARGETS.c.result_code.is_distinct_from(bindparam("new_result_code")),
            _TARGETS.c.fail_reason.is_distinct_from(bindparam("new_fail_reason")),
        ),
    )
    .values(
        status=bindparam("new_status"),
        result_code=bindparam("new_result_code"),
        fail_reason=bindparam("new_fail_reason"),
        since_ms=bindparam("new_since_ms"),
    )
)


_NOTE_SILENCE = (
    update(_AGENTS)
    .where(_AGENTS.c.host_id == bindparam("host"))
    .values(silent_ms=bindparam("since"))
)


def _one_line(reason: str) -> str:
    """The collector keeps to one short line; what the database cannot hold must not reach it."""
    printable = "".join(char if char.isprintable() else " " for char in reason)
    return printable[:FAIL_REASON_CHARS_MAX]


def _agent_host(row: Row[*tuple[Any, ...]], targets: Sequence[ScrapeTarget]) -> AgentHost:
    is_silent = row.silent_ms is not None
    heard_ms = row.silent_ms if is_silent else max(row.enrolled_ms, row.last_used_ms or 0)
    tenant = issue_tenant(row.region, row.project_id)
    return AgentHost(row.host_id, tenant, heard_ms, is_silent, tuple(targets))


def _scrape_target(row: Row[*tuple[Any, ...]], settings: ControlSettings) -> ScrapeTarget:
    interval_ms = row.interval_ms or settings.interval_ms
    return ScrapeTarget(
        target_id=row.id,
        tenant=issue_tenant(row.region, row.project_id),
        job=row.job,
        host_id=row.host_id,
        host_name=row.host_name,
        address=row.address,
        port=row.port,
        metrics_path=row.metrics_path,
        interval_ms=interval_ms,
        timeout_ms=min(settings.timeout_ms, interval_ms),
        builtin=row.builtin,
    )
