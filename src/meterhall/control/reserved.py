"""The workspaces that the system makes, one for each operating system, and their built-in targets.

Such a workspace holds the hosts' own metrics: one target a host, gathered in-process by whoever collects it.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select

from meterhall.control import jobs, tables, targets
from meterhall.control.context import Context
from meterhall.control.hosts import Os

_METRICS_PATH = "/metrics"

_JOBS = tables.jobs
_TARGETS = tables.targets


@dataclass(frozen=True, slots=True)
class _Reserved:
    """`port` is where the usual exporter would be: dashboards expect `instance` to end with it."""

    job_name: str
    code: Literal["LINUX", "WINDOWS"]
    port: int


_BY_OS: dict[Os, _Reserved] = {
    "linux": _Reserved("@Linux", "LINUX", 9100),
    "windows": _Reserved("@Windows", "WINDOWS", 9182),
}


def ensure_job(
    connection: Connection, context: Context, project_id: str, region: str, os: Os
) -> jobs.Job:
    """The workspace of an operating system, made where it is missing. The project's row is held."""
    reserved = _BY_OS[os]
    found = connection.execute(
        select(_JOBS.c.id).where(
            _JOBS.c.project_id == project_id,
            _JOBS.c.region == region,
            _JOBS.c.name == reserved.job_name,
        )
    ).scalar()
    if found is not None:
        return jobs.find(connection, jobs.JobRef(project_id, found))
    draft = jobs.JobDraft(region, reserved.job_name, _METRICS_PATH, "Built-in host metrics")
    return jobs.add(connection, context, project_id, draft, reserved.code)


def ensure_target(
    connection: Connection, context: Context, job: jobs.Job, host_id: str, os: Os
) -> str:
    """The id of the host's built-in target in such a workspace, made where it is missing."""
    found = connection.execute(
        select(_TARGETS.c.id).where(
            _TARGETS.c.job_id == job.job_id, _TARGETS.c.host_id == host_id, _TARGETS.c.builtin
        )
    ).scalar()
    if found is not None:
        return str(found)
    draft = targets.TargetDraft(host_id, _BY_OS[os].port, builtin=True)
    return targets.add(connection, context, job, draft).target_id
