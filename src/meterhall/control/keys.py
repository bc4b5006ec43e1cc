"""Appkeys: made at random, shown once, kept only as a SHA-256 digest, several to a project for rotation.

A revoked key stays listed. When a key was last used is noted by `access`, some time after. A key of scope
`enrol` is a one-time token, and one of scope `agent` is bound to a host: `agents` spends and makes those.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from meterhall.control import fields, tables
from meterhall.control.context import Context
from meterhall.control.identifiers import digest_of, is_code, is_uuid
from meterhall.control.locks import hold_project
from meterhall.model.errors import BadInput
from meterhall.model.tenant import AGENT_SCOPES, ALL_SCOPES, ENROL_SCOPES, Scope

_KEYS = tables.keys
_KNOWN_SCOPES = ALL_SCOPES | ENROL_SCOPES | AGENT_SCOPES


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """What may be chosen about a key. `lifetime_ms` None means that it never expires."""

    name: str
    scopes: frozenset[Scope] = ALL_SCOPES
    lifetime_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """The only object that ever holds a key's secret; its repr hides it."""

    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key_id!r})"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key afterwards."""

    key_id: str
    project_id: str
    name: str
    scopes: frozenset[Scope]
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None


class Keys:
    """Use cases of keys, each one transaction."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(self, project_id: str, draft: KeyDraft) -> NewKey:
        """Raises ControlError where there is no such project or the draft is wrong."""

        def work(connection: Connection) -> NewKey:
            hold_project(connection, project_id)
            return add(connection, self._context, project_id, draft)

        _check_scopes(draft)
        return self._context.change_access(work)

    def list(self, project_id: str | None = None) -> list[Key]:
        """Keys of one project or of all, by creation, the revoked ones too."""
        query = select(_KEYS).order_by(_KEYS.c.seq)
        if project_id is not None:
            if not is_code(project_id):
                return []
            query = query.where(_KEYS.c.project_id == project_id)
        with self._context.database.read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke(self, key_id: str) -> None:
        """From the next refresh on the key is refused; a second time changes nothing."""
        if not is_uuid(key_id):
            raise _no_key(key_id)

        def work(connection: Connection) -> None:
            mine = _KEYS.c.id == key_id
            if connection.execute(select(_KEYS.c.seq).where(mine)).first() is None:
                raise _no_key(key_id)
            revoke(connection, key_id, self._context.clock.now_ms())

        self._context.change_access(work)


def add(connection: Connection, context: Context, project_id: str, draft: KeyDraft) -> NewKey:
    """Inserts a key of a project that exists."""
    if draft.lifetime_ms is not None and draft.lifetime_ms <= 0:
        raise fields.bad_input("a key's lifetime must be more than nothing")
    now_ms = context.clock.now_ms()
    made = NewKey(context.identifiers.uuid(), context.identifiers.appkey())
    connection.execute(
        insert(_KEYS).values(
            id=made.key_id,
            project_id=project_id,
            name=fields.name("key name", draft.name),
            digest=digest_of(made.secret),
            scopes=",".join(sorted(draft.scopes)),
            created_ms=now_ms,
            expires_ms=None if draft.lifetime_ms is None else now_ms + draft.lifetime_ms,
        )
    )
    return made


def revoke(connection: Connection, key_id: str, now_ms: int) -> bool:
    """Revokes a key; whether this call did it, for of two at once only one does."""
    valid = (_KEYS.c.id == key_id, _KEYS.c.revoked_ms.is_(None))
    return connection.execute(update(_KEYS).where(*valid).values(revoked_ms=now_ms)).rowcount == 1


def scopes_of(stored: str) -> frozenset[Scope]:
    """The stored list of scopes; a name that this version does not know grants nothing."""
    named = frozenset(stored.split(","))
    return frozenset(scope for scope in _KNOWN_SCOPES if scope in named)


def _check_scopes(draft: KeyDraft) -> None:
    if draft.scopes == ENROL_SCOPES:
        if draft.lifetime_ms is None:
            raise fields.bad_input("a one-time enrolment token needs a lifetime, such as 1h")
    elif not draft.scopes or not draft.scopes <= ALL_SCOPES:
        raise fields.bad_input(
            "a key needs one or more of the scopes manage, query, write; or enrol alone"
        )


def _key(row: Row[*tuple[Any, ...]]) -> Key:
    return Key(
        row.id,
        row.project_id,
        row.name,
        scopes_of(row.scopes),
        row.created_ms,
        row.expires_ms,
        row.revoked_ms,
        row.last_used_ms,
    )


def _no_key(key_id: str) -> BadInput:
    return BadInput(f"there is no key {fields.shown(key_id)}")
