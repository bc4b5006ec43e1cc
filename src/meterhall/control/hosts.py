"""Hosts: machines of a project in a region, on which collection can run."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select

from meterhall.control import fields, tables
from meterhall.control.context import Context
from meterhall.control.identifiers import is_code, is_uuid
from meterhall.control.locks import hold_project
from meterhall.model.errors import BadInput

Collect = Literal["direct", "agent"]
Os = Literal["linux", "windows"]

_HOSTS = tables.hosts


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
    """One host. Identity is `host_id`; two hosts may have one name."""

    host_id: str
    project_id: str
    region: str
    name: str
    address: str
    instance_id: str | None
    os: Os
    collect: Collect
    created_ms: int


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
        query = select(_HOSTS).order_by(_HOSTS.c.seq)
        if not all(is_code(code) for code in (project_id, region) if code is not None):
            return []
        if project_id is not None:
            query = query.where(_HOSTS.c.project_id == project_id)
        if region is not None:
            query = query.where(_HOSTS.c.region == region)
        with self._context.database.read() as connection:
            return [_host(row) for row in connection.execute(query)]

    def remove(self, host_id: str) -> None:
        """Removes a host and its targets. Raises BadInput where there is none."""

        def work(connection: Connection) -> None:
            if not connection.execute(delete(_HOSTS).where(_HOSTS.c.id == host_id)).rowcount:
                raise _no_host(host_id)

        if not is_uuid(host_id):
            raise _no_host(host_id)
        self._context.change_inventory(work)


def add(connection: Connection, context: Context, project_id: str, draft: HostDraft) -> Host:
    """Inserts a host of a project that exists."""
    regions = context.settings.regions
    if draft.region not in regions:
        raise fields.bad_input(
            f"region {fields.shown(draft.region)} is not one of {', '.join(regions)}"
        )
    instance_id = draft.instance_id
    host = Host(
        context.identifiers.uuid(),
        project_id,
        draft.region,
        fields.name("host name", draft.name),
        fields.address(draft.address),
        None if instance_id is None else fields.name("instance id", instance_id),
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
    )


def _no_host(host_id: str) -> BadInput:
    return BadInput(f"there is no host {fields.shown(host_id)}")
