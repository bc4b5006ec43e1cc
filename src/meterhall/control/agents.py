"""Agents: each is one host's, enrols once and then has a credential that can write as that host only.

What an agent is, the control plane knows by the id that it made for itself (`agentId`), within its project.
Enrolling again finds the same host; a host that an operator added by name and that no agent has taken yet
is taken over rather than doubled.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from meterhall.control import fields, hosts, keys, reserved, tables
from meterhall.control.context import Context
from meterhall.control.identifiers import is_uuid
from meterhall.control.locks import hold, hold_project
from meterhall.model.errors import ControlError, Forbidden, Unauthorized
from meterhall.model.tenant import AGENT_SCOPES, Principal

VERSION_CHARS_MAX = 64

_AGENTS = tables.agents
_HOSTS = tables.hosts
_KEYS = tables.keys


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an agent says of itself and its host. `region` None is the server's first."""

    agent_id: str
    hostname: str
    address: str
    os: hosts.Os
    instance_id: str | None
    region: str | None
    version: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The host, and the only sight of the credential."""

    host_id: str
    region: str
    key: keys.NewKey


class Agents:
    """Use cases of agents, each one transaction."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def enrol(self, principal: Principal, enrolment: Enrolment) -> Enrolled:
        """Makes or finds the agent's host and gives it a new credential; an older one is no longer valid.

        The key is one of scope `write`, or a one-time token, which is spent in the same transaction. Raises
        Forbidden for any other key, Unauthorized where it is no longer valid, ControlError on a wrong field
        or where the project has too many agents.
        """
        draft = _checked(enrolment, self._context)

        def work(connection: Connection) -> Enrolled:
            hold_project(connection, principal.project)
            self._admit(connection, principal)
            known = connection.execute(
                select(_AGENTS.c.host_id, _AGENTS.c.key_id).where(
                    _AGENTS.c.project_id == principal.project,
                    _AGENTS.c.agent_id == enrolment.agent_id,
                )
            ).first()
            key = keys.add(
                connection,
                self._context,
                principal.project,
                keys.KeyDraft(_key_name(enrolment.hostname), AGENT_SCOPES),
            )
            if known is None:
                host_id = self._begin(connection, principal, enrolment, draft, key)
            else:
                host_id = self._renew(connection, known, enrolment, draft, key)
            job = reserved.ensure_job(
                connection, self._context, principal.project, draft.region, draft.os
            )
            reserved.ensure_target(connection, self._context, job, host_id, draft.os)
            return Enrolled(host_id, draft.region, key)

        return self._context.change_all(work)

    def _admit(self, connection: Connection, principal: Principal) -> None:
        """Whether the key may enrol now; a token is spent. What the caller knew may be out of date."""
        if principal.scopes.isdisjoint(("write", "enrol")):
            raise Forbidden("the appkey lacks the scope write or enrol")
        now_ms = self._context.clock.now_ms()
        if "enrol" in principal.scopes:
            valid = keys.revoke(connection, principal.key_id, now_ms)
        else:
            valid = hold(
                connection, _KEYS, _KEYS.c.id == principal.key_id, _KEYS.c.revoked_ms.is_(None)
            )
        if not valid:
            raise Unauthorized("the appkey was revoked, or the token has been used")

    def _begin(
        self,
        connection: Connection,
        principal: Principal,
        enrolment: Enrolment,
        draft: hosts.HostDraft,
        key: keys.NewKey,
    ) -> str:
        """An agent that was never here: takes over the operator's host of its name, or adds one."""
        agents = select(func.count()).where(_AGENTS.c.project_id == principal.project)
        limit = self._context.settings.agents_per_project_max
        if connection.execute(agents).scalar_one() >= limit:
            raise ControlError(
                "LIMIT_EXCEEDED", f"the project has {limit} agents, the most allowed"
            )
        host_id = _host_to_take(connection, principal.project, draft)
        if host_id is None:
            host_id = hosts.add(connection, self._context, principal.project, draft).host_id
        else:
            _describe(connection, host_id, draft)
        connection.execute(
            insert(_AGENTS).values(
                project_id=principal.project,
                agent_id=enrolment.agent_id,
                host_id=host_id,
                key_id=key.key_id,
                version=enrolment.version,
                enrolled_ms=self._context.clock.now_ms(),
            )
        )
        return host_id

    def _renew(
        self,
        connection: Connection,
        known: Row[*tuple[Any, ...]],
        enrolment: Enrolment,
        draft: hosts.HostDraft,
        key: keys.NewKey,
    ) -> str:
        """The same agent again: its host is brought up to date, its old credential is gone."""
        host_id = str(known.host_id)
        host = connection.execute(select(_HOSTS).where(_HOSTS.c.id == host_id)).one()
        for what, was, said in (("region", host.region, draft.region), ("os", host.os, draft.os)):
            if was != said:
                raise fields.bad_input(
                    f"the agent's host has {what} {was!r}, not {fields.shown(said)}; remove the host first"
                )
        now_ms = self._context.clock.now_ms()
        _describe(connection, host_id, draft)
        connection.execute(
            update(_AGENTS)
            .where(_AGENTS.c.host_id == host_id)
            .values(key_id=key.key_id, version=enrolment.version, enrolled_ms=now_ms)
        )
        # Deleted, not revoked: an agent that enrols again and again must not fill the list of keys.
        connection.execute(delete(_KEYS).where(_KEYS.c.id == known.key_id))
        return host_id


def _checked(enrolment: Enrolment, context: Context) -> hosts.HostDraft:
    """The host as the agent describes it. `hosts.add` and `_describe` look at no field again."""
    if not is_uuid(enrolment.agent_id):
        raise fields.bad_input(f"agentId {fields.shown(enrolment.agent_id)} is not a UUID")
    version = fields.name("version", enrolment.version)
    if len(version) > VERSION_CHARS_MAX:
        raise fields.bad_input(f"version is longer than {VERSION_CHARS_MAX} characters")
    draft = hosts.HostDraft(
        enrolment.region or context.settings.regions[0],
        enrolment.hostname,
        enrolment.address,
        enrolment.instance_id,
        enrolment.os,
        "agent",
    )
    return hosts.checked(draft, context)


def _host_to_take(connection: Connection, project_id: str, draft: hosts.HostDraft) -> str | None:
    """The oldest host of that name that waits for an agent."""
    query = (
        select(_HOSTS.c.id)
        .outerjoin(_AGENTS, _AGENTS.c.host_id == _HOSTS.c.id)
        .where(
            _HOSTS.c.project_id == project_id,
            _HOSTS.c.region == draft.region,
            _HOSTS.c.name == draft.name,
            _HOSTS.c.collect == "agent",
            _AGENTS.c.seq.is_(None),
        )
        .order_by(_HOSTS.c.seq)
    )
    found = connection.execute(query).scalar()
    return None if found is None else str(found)


def _describe(connection: Connection, host_id: str, draft: hosts.HostDraft) -> None:
    connection.execute(
        update(_HOSTS)
        .where(_HOSTS.c.id == host_id)
        .values(name=draft.name, address=draft.address, instance_id=draft.instance_id, os=draft.os)
    )


def _key_name(hostname: str) -> str:
    return f"agent of {hostname}"[: fields.NAME_CHARS_MAX]
