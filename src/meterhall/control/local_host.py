"""This machine as the first host of the first project: what `quickstart` makes on its first run."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from meterhall.control import fields, hosts, jobs, projects, tables, targets
from meterhall.control.context import Context
from meterhall.control.keys import NewKey

PROJECT_NAME = "quickstart"
LINUX_JOB = "@Linux"
# Where node_exporter would be: dashboards expect `instance` to end with it.
_PORT = 9100
_METRICS_PATH = "/metrics"

_PROJECTS = tables.projects
_HOSTS = tables.hosts
_JOBS = tables.jobs
_TARGETS = tables.targets


@dataclass(frozen=True, slots=True)
class LocalHost:
    """What quickstart prints. `key` is None on every run but the one that made the project."""

    project_id: str
    region: str
    host_id: str
    job_id: str
    target_id: str
    key: NewKey | None


def ensure_local_host(context: Context, name: str, address: str) -> LocalHost:
    """Makes what is missing of project, reserved workspace, host and built-in target, in one transaction.

    Run again it finds the same ones and brings the host's name and address up to date. The region is the
    first configured one.
    """
    fields.name("host name", name)
    fields.address(address)
    region = context.settings.regions[0]

    def work(connection: Connection) -> LocalHost:
        project_id, key = _project(connection, context)
        job = _linux_job(connection, context, project_id, region)
        host_id, target_id = _host(
            connection, context, job, hosts.HostDraft(region, name, address, collect="direct")
        )
        return LocalHost(project_id, region, host_id, job.job_id, target_id, key)

    return context.change_all(work)


def _project(connection: Connection, context: Context) -> tuple[str, NewKey | None]:
    oldest = (
        select(_PROJECTS.c.id).where(_PROJECTS.c.name == PROJECT_NAME).order_by(_PROJECTS.c.seq)
    )
    found = connection.execute(oldest.limit(1).with_for_update()).scalar()
    if found is not None:
        return found, None
    made = projects.add(connection, context, PROJECT_NAME)
    return made.project.project_id, made.key


def _linux_job(connection: Connection, context: Context, project_id: str, region: str) -> jobs.Job:
    found = connection.execute(
        select(_JOBS.c.id).where(
            _JOBS.c.project_id == project_id, _JOBS.c.region == region, _JOBS.c.name == LINUX_JOB
        )
    ).scalar()
    if found is not None:
        return jobs.find(connection, jobs.JobRef(project_id, found))
    draft = jobs.JobDraft(region, LINUX_JOB, _METRICS_PATH, "Built-in host metrics")
    return jobs.add(connection, context, project_id, draft, "LINUX")


def _host(
    connection: Connection, context: Context, job: jobs.Job, draft: hosts.HostDraft
) -> tuple[str, str]:
    found = connection.execute(
        select(_TARGETS.c.id, _TARGETS.c.host_id).where(
            _TARGETS.c.job_id == job.job_id, _TARGETS.c.builtin
        )
    ).first()
    if found is not None:
        connection.execute(
            update(_HOSTS)
            .where(_HOSTS.c.id == found.host_id)
            .values(name=draft.name, address=draft.address)
        )
        return found.host_id, found.id
    host = hosts.add(connection, context, job.project_id, draft)
    target = targets.TargetDraft(host.host_id, _PORT, builtin=True)
    return host.host_id, targets.add(connection, context, job, target).target_id
