"""The tenants of a store: a head for each, made on first use or from the log."""

import re
import threading
from collections.abc import Sequence
from itertools import count

import structlog

from meterhall.model.errors import BadInput
from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.deletion import erase
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.history import History
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.replay import Replayed
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.tombstones import Tombstone, Tombstones
from meterhall.tsdb.wal import NO_TIME
from meterhall.tsdb.wal_format import SealedRows

_log = structlog.get_logger()

# Identifiers that the control plane issues. They name no file, but nothing else may get in either.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")  # noqa: TID251 - our own pattern, not a user's


class TenantTable:
    """Heads by tenant, and the one counter of group numbers. Thread-safe."""

    def __init__(self, settings: StoreSettings, blocks: BlockSet, tombstones: Tombstones) -> None:
        self._settings = settings
        self._blocks = blocks
        self._tombstones = tombstones
        self._heads: dict[Owner, TenantHead] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()

    def head(self, tenant: Owner) -> TenantHead:
        """The tenant's head; raises BadInput for one that the control plane cannot have issued."""
        head = self._heads.get(tenant)
        if head is None:
            for text in (tenant.region, tenant.project):
                if not _IDENTIFIER.fullmatch(text):
                    raise BadInput(f"not an identifier: {text!r}")
            past = History(tenant, self._blocks, self._tombstones)
            made = TenantHead(
                tenant, self._settings, past, self.next_group, self._blocks.selections
            )
            with self._lock:
                head = self._heads.setdefault(tenant, made)
        return head

    def heads(self) -> Sequence[TenantHead]:
        """Every head that there is."""
        with self._lock:
            return list(self._heads.values())

    def next_group(self) -> int:
        """A group number that was never used, in this process or in the log."""
        with self._lock:
            return next(self._numbers)

    def restore(self, replayed: Replayed) -> None:
        """Puts the log's definitions and samples back.

        Less what the manifest says is in blocks, and less what was deleted: a tombstone acts where the log
        stood when it was made.
        """
        newest = self._blocks.next_group
        mark = self._blocks.mark
        head_of: dict[int, TenantHead] = {}
        # Newest first: a series that came back after a rest belongs to its latest group.
        for definition in reversed(replayed.definitions):
            head = self.head(definition.tenant)
            head.define(definition)
            head_of[definition.group] = head
            newest = max(newest, definition.group)
        unknown = 0
        deletions = sorted(self._tombstones.pending, key=lambda each: -each.segment)
        for segment, rows in replayed.rows():
            while deletions and deletions[-1].segment <= segment:
                self._erase(deletions.pop())
            start_ms = mark.time_ms if segment < mark.segment else NO_TIME
            if isinstance(rows, SealedRows) and rows.times[0] >= start_ms:
                newest = max(newest, rows.group)
                owner = head_of.get(rows.group)
                unknown += owner is None or not owner.replay_sealed(rows)
                continue
            for row in rows.rows() if isinstance(rows, SealedRows) else rows:
                newest = max(newest, row.group)
                if row.time_ms >= start_ms:
                    owner = head_of.get(row.group)
                    unknown += owner is None or not owner.replay(row)
        for deletion in reversed(deletions):
            self._erase(deletion)
        for head in self.heads():
            head.forget_empty()
        self._numbers = count(newest + 1)
        if unknown:
            QUARANTINED.inc(unknown)
            _log.error("wal.rows_without_definition", rows=unknown)

    def _erase(self, tombstone: Tombstone) -> None:
        head = self._heads.get(tombstone.owner)
        if head is not None:
            erase(head, tombstone)
