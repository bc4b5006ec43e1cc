"""This machine as the first host of the first project: what `quickstart` makes on its first run."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from meterhall.control import fields, hosts, jobs, projects, reserved, tables
from meterhall.control.context import Context
from meterhall.control.keys import NewKey

PROJECT_NAME = "quickstart"

_PROJECTS = tables.projects
_HOSTS = tables.hosts
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
        job = reserved.ensure_job(connection, context, project_id, region, "linux")
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


def _host(
    connection: Connection, context: Context, job: jobs.Job, draft: hosts.HostDraft
) -> tuple[str, str]:
    found = connection.execute(
        select(_TARGETS.c.id, _TARGETS.c.host_id)
        .join(_HOSTS, _TARGETS.c.host_id == _HOSTS.c.id)
        .where(_TARGETS.c.job_id == job.job_id, _TARGETS.c.builtin, _HOSTS.c.collect == "direct")
    ).first()
    if found is not None:
        connection.execute(
            update(_HOSTS)
            .where(_HOSTS.c.id == found.host_id)
            .values(name=draft.name, address=draft.address)
        )
        return found.host_id, found.id
    host = hosts.add(connection, context, job.project_id, draft)
    return host.host_id, reserved.ensure_target(connection, context, job, host.host_id, host.os)
