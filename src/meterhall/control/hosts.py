"""Hosts: machines of a project in a region, on which collection can run."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select

from meterhall.control import fields, keys, tables
from meterhall.control.context import Context
from meterhall.control.identifiers import is_code, is_uuid
from meterhall.control.locks import hold_project
from meterhall.model.errors import BadInput

Collect = Literal["direct", "agent"]
Os = Literal["linux", "windows"]

_HOSTS = tables.hosts
_AGENTS = tables.agents


@dataclass(frozen=True, slots=True)
class HostDraft:
    """A host to add. `collect` says who fetches from it: the server (`direct`) or its agent."""

    region: str
    name: str
    address: str
    instance_id: str | None = None
    os: Os = "linux"
    collect: Collect = "agent"


@dataclass(frozen=True, slots=True)
class Host:
    """One host. Identity is `host_id`; two hosts may have one name.

    `agent_version` is None where no agent has enrolled as this host, `silent_ms` while it is heard.
    """

    host_id: str
    project_id: str
    region: str
    name: str
    address: str
    instance_id: str | None
    os: Os
    collect: Collect
    created_ms: int
    agent_version: str | None = None
    silent_ms: int | None = None


class Hosts:
    """Use cases of hosts, each one transaction."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def add(self, project_id: str, draft: HostDraft) -> Host:
        """Raises ControlError where the project or the region does not exist or a field is wrong."""

        def work(connection: Connection) -> Host:
            hold_project(connection, project_id)
            return add(connection, self._context, project_id, draft)

        return self._context.change_inventory(work)

    def list(self, project_id: str | None = None, region: str | None = None) -> list[Host]:
        """Hosts of a project (or all) in a region (or all), by creation."""
        query = (
            select(_HOSTS, _AGENTS.c.version, _AGENTS.c.silent_ms)
            .outerjoin(_AGENTS, _AGENTS.c.host_id == _HOSTS.c.id)
            .order_by(_HOSTS.c.seq)
        )
        if not all(is_code(code) for code in (project_id, region) if code is not None):
            return []
        if project_id is not None:
            query = query.where(_HOSTS.c.project_id == project_id)
        if region is not None:
            query = query.where(_HOSTS.c.region == region)
        with self._context.database.read() as connection:
            return [_host(row) for row in connection.execute(query)]

    def remove(self, host_id: str) -> None:
        """Removes a host and its targets, revokes its agent's key. Raises BadInput where there is none."""

        def work(connection: Connection) -> None:
            mine = select(_AGENTS.c.key_id).where(_AGENTS.c.host_id == host_id)
            key_id = connection.execute(mine).scalar()
            if key_id is not None:
                keys.revoke(connection, key_id, self._context.clock.now_ms())
            if not connection.execute(delete(_HOSTS).where(_HOSTS.c.id == host_id)).rowcount:
                raise _no_host(host_id)

        if not is_uuid(host_id):
            raise _no_host(host_id)
        self._context.change_all(work)


def checked(draft: HostDraft, context: Context) -> HostDraft:
    """The draft as it is stored. Raises ControlError where the region does not exist or a field is wrong."""
    regions = context.settings.regions
    if draft.region not in regions:
        raise fields.bad_input(
            f"region {fields.shown(draft.region)} is not one of {', '.join(regions)}"
        )
    instance_id = draft.instance_id
    return replace(
        draft,
        name=fields.name("host name", draft.name),
        address=fields.address(draft.address),
        instance_id=None if instance_id is None else fields.name("instance id", instance_id),
    )


def add(connection: Connection, context: Context, project_id: str, draft: HostDraft) -> Host:
    """Inserts a host of a project that exists."""
    draft = checked(draft, context)
    host = Host(
        context.identifiers.uuid(),
        project_id,
        draft.region,
        draft.name,
        draft.address,
        draft.instance_id,
        draft.os,
        draft.collect,
        context.clock.now_ms(),
    )
    connection.execute(
        insert(_HOSTS).values(
            id=host.host_id,
            project_id=project_id,
            region=host.region,
            name=host.name,
            address=host.address,
            instance_id=host.instance_id,
            os=host.os,
            collect=host.collect,
            created_ms=host.created_ms,
        )
    )
    return host


def _host(row: Row[*tuple[Any, ...]]) -> Host:
    return Host(
        row.id,
        row.project_id,
        row.region,
        row.name,
        row.address,
        row.instance_id,
        row.os,
        row.collect,
        row.created_ms,
        row.version,
        row.silent_ms,
    )


def _no_host(host_id: str) -> BadInput:
    return BadInput(f"there is no host {fields.shown(host_id)}")
