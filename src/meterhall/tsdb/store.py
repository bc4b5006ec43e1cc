"""The embedded store: one directory, one process, many tenants. Implements `ports.store.Store`.

append → TenantHead judges and stores → frame → Log (group commit) → `durable`
select → head first, then blocks → merged by clock
background → flush the head to blocks, merge blocks, drop what is past retention, truncate the log
"""

import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog

from meterhall.model.errors import BadInput
from meterhall.model.labels import Labels
from meterhall.model.samples import RefArray, Row
from meterhall.model.tenant import Tenant
from meterhall.ports.append import Appended
from meterhall.ports.clock import Clock
from meterhall.ports.store import HeadStats
from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.history import History
from meterhall.tsdb.lock import DirectoryLock
from meterhall.tsdb.reader import TenantReader
from meterhall.tsdb.replay import Replayed, replay
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.statistics import head_stats
from meterhall.tsdb.wal import Log
from meterhall.tsdb.wal_format import Definition, Kind, encode_definition, encode_samples, frame

_log = structlog.get_logger()

# Identifiers that the control plane issues. They name no file, but nothing else may get in either.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")  # noqa: TID251 - our own pattern, not a user's


@dataclass(frozen=True, slots=True)
class TenantWriter:
    """Implements `ports.append.SampleWriter`."""

    head: TenantHead
    log: Log
    clock: Clock

    def intern(self, clock: str, series: Sequence[Labels]) -> RefArray:
        """A ref for each label set. Raises StoreUnavailable when the log cannot take new ones."""
        self.log.check()
        with self.head.lock:
            refs, definition = self.head.intern(clock, series)
            if definition is not None:
                self.log.submit(definition_frames(definition))
        return refs

    def append(self, rows: Sequence[Row]) -> Appended:
        """Takes rows as one unit. Raises StoreUnavailable when the log cannot take it."""
        self.log.check()
        now_ms = self.clock.now_ms()
        with self.head.lock:
            batch = self.head.append(rows, now_ms)
            frames = [frame(Kind.SAMPLES, encode_samples(batch.rows))] if batch.rows else []
            durable: Future[None] = self.log.submit(frames, batch.time_max)
        return Appended(batch.accepted, batch.rejections, batch.forgotten, durable)


class EmbeddedStore:
    """Opens a directory, making it where it is not there.

    Raises StoreLocked where another process holds it. Damage inside never fails the start.
    """

    def __init__(
        self, directory: Path, settings: StoreSettings, clock: Clock, disk: Disk | None = None
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._disk = disk or Disk()
        self._heads: dict[Tenant, TenantHead] = {}
        self._heads_lock = threading.Lock()
        self._group_numbers = count(1)
        self._closed = False
        _make_directories(directory)
        self._lock = DirectoryLock(directory)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def reader(self, tenant: Tenant) -> TenantReader:
        """Raises BadInput for a tenant that the control plane cannot have issued."""
        head = self._head(tenant)
        return TenantReader(head, History())

    def writer(self, tenant: Tenant) -> TenantWriter:
        """Raises BadInput for a tenant that the control plane cannot have issued."""
        return TenantWriter(self._head(tenant), self._wal, self._clock)

    def head_stats(self, tenant: Tenant, limit: int) -> HeadStats:
        """Counts over the tenant's recent series."""
        return head_stats(self._head(tenant), limit)

    def close(self) -> None:
        """Waits for appends in hand, makes everything durable, releases the directory."""
        if self._closed:
            return
        self._closed = True
        self._wal.close()
        self._lock.release()

    def _open(self) -> None:
        for path in filenames.temporary_paths(self._directory):
            self._disk.unlink(path)
        replayed = replay(self._directory, self._disk)
        self._restore(replayed)
        self._wal = Log(self._directory, self._settings, self._disk, replayed.segments)

    def _restore(self, replayed: Replayed) -> None:
        """Puts the log's definitions and samples back into the head."""
        newest_group = 0
        tenant_of: dict[int, TenantHead] = {}
        for definition in replayed.definitions:
            head = self._head(definition.tenant)
            head.define(definition)
            tenant_of[definition.group] = head
            newest_group = max(newest_group, definition.group)
        unknown = 0
        for _, rows in replayed.rows():
            for row in rows:
                head_of_row = tenant_of.get(row.group)
                newest_group = max(newest_group, row.group)
                if head_of_row is None or not head_of_row.replay(row):
                    unknown += 1
        for head in self._heads.values():
            head.forget_empty()
        self._group_numbers = count(newest_group + 1)
        if unknown:
            _log.error("wal.rows_without_definition", rows=unknown)

    def _head(self, tenant: Tenant) -> TenantHead:
        head = self._heads.get(tenant)
        if head is None:
            for text in (tenant.region, tenant.project):
                if not _IDENTIFIER.fullmatch(text):
                    raise BadInput(f"not an identifier: {text!r}")
            with self._heads_lock:
                head = self._heads.setdefault(
                    tenant, TenantHead(tenant, self._settings, History(), self._next_group)
                )
        return head

    def _next_group(self) -> int:
        with self._heads_lock:
            return next(self._group_numbers)


def definition_frames(definition: Definition) -> list[bytes]:
    """A definition twice: one bad spot in the log must not cost the samples that rest on it."""
    piece = frame(Kind.DEFINE, encode_definition(definition))
    return [piece, piece]


def _make_directories(directory: Path) -> None:
    for name in (
        filenames.WAL_DIRECTORY,
        filenames.BLOCK_DIRECTORY,
        filenames.QUARANTINE_DIRECTORY,
    ):
        (directory / name).mkdir(parents=True, exist_ok=True, mode=0o750)
