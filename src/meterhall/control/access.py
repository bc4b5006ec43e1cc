"""From appkey to Principal to Tenant, out of memory: implements `ports.access.Access`.

The snapshot is a dict from the SHA-256 digest of a key to what it stands for, so nothing compares keys
character by character and no lookup touches the database. It is loaded anew whenever the `access` topic
changes and swapped in whole. This module alone makes a Tenant.
"""

import hmac
import threading
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from meterhall.control import tables
from meterhall.control.changes import ChangeWatcher
from meterhall.control.context import Context
from meterhall.control.identifiers import digest_of
from meterhall.control.keys import scopes_of
from meterhall.model.errors import BadInput
from meterhall.model.tenant import Principal, Tenant

_KEYS = tables.keys
_AGENTS = tables.agents


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: str
    principal: Principal
    expires_ms: int | None


class SnapshotAccess:
    """Thread-safe. `refresh` is called by the watcher; nobody else need know of it."""

    def __init__(self, context: Context, watcher: ChangeWatcher) -> None:
        self._context = context
        self._entries: dict[str, _Entry] = {}
        self._refreshing = threading.Lock()
        # How many refreshes were asked for, and how many of them the snapshot has seen.
        self._asked = 0
        self._seen = 0
        # Key ids with the newest time they were seen; swapped out when it is written.
        self._used_ms: dict[str, int] = {}
        self._last_write = context.clock.monotonic()
        self._regions = frozenset(context.settings.regions)
        watcher.listen(tables.ACCESS_TOPIC, self.refresh)
        watcher.every_turn(self._write_last_used_when_due)
        self.refresh()

    def principal(self, appkey: str) -> Principal | None:
        """What the key stands for, or None where it is unknown, revoked or expired."""
        digest = digest_of(appkey)
        entry = self._entries.get(digest)
        if entry is None or not hmac.compare_digest(entry.digest, digest):
            return None
        now_ms = self._context.clock.now_ms()
        if entry.expires_ms is not None and now_ms >= entry.expires_ms:
            return None
        self._used_ms[entry.principal.key_id] = now_ms
        return entry.principal

    def tenant(self, principal: Principal, region: str) -> Tenant:
        """The capability. Raises BadInput where the region is not one of this server's."""
        if region not in self._regions:
            raise BadInput(f"region {region!r} is not one of {', '.join(sorted(self._regions))}")
        return issue_tenant(region, principal.project)

    @property
    def regions(self) -> frozenset[str]:
        """Codes of the regions that this server answers for."""
        return self._regions

    def refresh(self) -> None:
        """Loads the snapshot. One at a time, so that an older one never replaces a newer.

        Who waited while another, begun later, was loaded need not load it again: agents that enrol together
        share a few.
        """
        self._asked = asked = self._asked + 1
        with self._refreshing:
            if self._seen >= asked:
                return
            self._seen = self._asked
            query = (
                select(_KEYS, _AGENTS.c.host_id)
                .outerjoin(_AGENTS, _AGENTS.c.key_id == _KEYS.c.id)
                .where(_KEYS.c.revoked_ms.is_(None))
            )
            with self._context.database.read() as connection:
                rows = connection.execute(query).all()
            self._entries = {
                row.digest: _Entry(
                    row.digest,
                    Principal(row.project_id, row.id, scopes_of(row.scopes), row.host_id),
                    row.expires_ms,
                )
                for row in rows
            }

    def write_last_used(self) -> None:
        """Notes when keys were last used. No topic changes by it."""
        used, self._used_ms = self._used_ms, {}
        if not used:
            return
        # In one order, so that two servers on one database never wait for each other in a circle.
        uses = sorted(used.items())

        def work(connection: Connection) -> None:
            for key_id, used_ms in uses:
                connection.execute(
                    update(_KEYS).where(_KEYS.c.id == key_id).values(last_used_ms=used_ms)
                )

        self._context.database.write(work, topics=())

    def _write_last_used_when_due(self) -> None:
        now = self._context.clock.monotonic()
        if (now - self._last_write) * 1000 >= self._context.settings.last_used_write_ms:
            self._last_write = now
            self.write_last_used()


def issue_tenant(region: str, project: str) -> Tenant:
    """The capability for a project that the control plane knows, in a region that it serves."""
    return Tenant(region, project)
