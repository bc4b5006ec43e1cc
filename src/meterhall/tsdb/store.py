"""The embedded store: one directory, one process, many tenants. Implements `ports.store.Store`.

append → TenantHead judges and stores → frame → Log (group commit) → `durable`
select → head first, then blocks → merged by clock
background → flush the head to blocks, merge blocks, drop what is past retention, truncate the log
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meterhall.model.errors import StoreUnavailable
from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import RefArray, Row
from meterhall.model.tenant import Tenant
from meterhall.ports.append import Appended
from meterhall.ports.clock import Clock
from meterhall.ports.retention import RetentionSource
from meterhall.ports.store import HeadStats
from meterhall.tsdb import filenames
from meterhall.tsdb.backlog import Backlog
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.changes import Changes
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.flush import newest_of
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.history import History
from meterhall.tsdb.lock import DirectoryLock
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.quarantine import Quarantine
from meterhall.tsdb.reader import TenantReader
from meterhall.tsdb.replay import replay
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.snapshot import link_snapshot, snapshot_name
from meterhall.tsdb.statistics import head_stats
from meterhall.tsdb.tenants import TenantTable
from meterhall.tsdb.tombstones import Tombstones
from meterhall.tsdb.trusted_clock import TrustedClock
from meterhall.tsdb.upkeep import Upkeep
from meterhall.tsdb.wal import Log
from meterhall.tsdb.wal_format import Kind, definition_frames, encode_samples, frame


@dataclass(frozen=True, slots=True)
class TenantWriter:
    """Implements `ports.append.SampleWriter`."""

    head: TenantHead
    log: Log
    clock: Clock
    backlog: Backlog

    def intern(
        self, clock: str, series: Sequence[Labels], series_max: int | None = None
    ) -> RefArray:
        """A ref for each label set. Raises StoreUnavailable when the log cannot take new ones."""
        with self.head.lock:
            known = self.head.refs(series)
        if known is not None:
            return known
        self.log.check()
        with self.head.lock:
            refs, definition = self.head.intern(clock, series, series_max)
            if definition is not None:
                self.log.submit(definition_frames(definition))
        return refs

    def append(self, rows: Sequence[Row], *, any_age: bool = False) -> Appended:
        """Takes rows as one unit. Raises StoreUnavailable when it cannot be taken now."""
        if any_age:
            self.backlog.check(lambda: self.head.holds_late(rows))
        self.log.check()
        now_ms = self.clock.now_ms()
        with self.head.lock:
            batch = self.head.append(rows, now_ms, any_age=any_age)
            frames = [frame(Kind.SAMPLES, encode_samples(batch.rows))] if batch.rows else []
            durable: Future[None] = self.log.submit(frames)
        self.backlog.add(batch.late_bytes)
        return Appended(batch.accepted, batch.rejections, batch.forgotten, durable)


class EmbeddedStore:
    """Opens a directory, making it where it is not there.

    Raises StoreLocked where another process holds it. Damage inside never fails the start.
    """

    def __init__(
        self,
        directory: Path,
        settings: StoreSettings,
        clock: Clock,
        disk: Disk | None = None,
        *,
        awaits_rules: bool = False,
    ) -> None:
        """With `awaits_rules` nothing is dropped for its age before `retain` was called."""
        self._directory = directory
        self._settings = settings
        self._awaits_rules = awaits_rules
        self._clock = clock
        self._disk = disk or Disk()
        self._closed = False
        self._disk.make_directories(directory, filenames.DIRECTORIES)
        self._lock = DirectoryLock(directory)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def reader(self, tenant: Tenant) -> TenantReader:
        """Raises BadInput for a tenant that the control plane cannot have issued."""
        head = self._head(tenant)
        return TenantReader(head, History(head.tenant, self._blocks, self._tombstones))

    def writer(self, tenant: Tenant) -> TenantWriter:
        """Raises BadInput for a tenant that the control plane cannot have issued."""
        return TenantWriter(self._head(tenant), self._wal, self._clock, self._upkeep.backlog)

    def changes(self, tenant: Tenant) -> Changes:
        """How far back the tenant's samples have changed."""
        return self._head(tenant).changes

    def head_stats(self, tenant: Tenant, limit: int) -> HeadStats:
        """Counts over the tenant's recent series."""
        return head_stats(self._head(tenant), limit)

    def active_series(self, tenant: Tenant) -> int:
        """How many series the tenant has in memory: those with a recent sample."""
        return len(self._head(tenant).index)

    def delete(
        self, tenant: Tenant, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> None:
        """Deletes samples, both ends included. On disk, and out of every later answer, when it returns.

        What is appended afterwards stays, whatever its time. Raises StoreUnavailable: then nothing is gone.
        """
        with _as_unavailable():
            self._upkeep.delete(self._head(tenant), matchers, start_ms, end_ms)

    def retain(self, source: RetentionSource) -> None:
        """Follows the retentions of projects, and their deletion, from now on."""
        self._upkeep.retain(source)

    def clean(self, tenant: Tenant) -> None:
        """Gives the space of the tenant's deleted samples back now; upkeep would by and by."""
        with _as_unavailable():
            self._upkeep.clean(Owner(tenant.region, tenant.project))

    def snapshot(self, *, skip_head: bool = False) -> str:
        """Links the store as it is now into `snapshots/`, and returns the name. Raises StoreUnavailable.

        With `skip_head` only what is in blocks.
        """
        name = snapshot_name(self._clock.now_ms())

        def link(segment: int) -> Path:
            before = 0 if skip_head else segment
            return link_snapshot(self._directory, name, before, self._blocks, self._disk)

        with _as_unavailable():
            try:
                return self._upkeep.exclusively(link).name
            except OSError:
                self._remove_partial_snapshots()
                raise

    def _remove_partial_snapshots(self) -> None:
        for path in filenames.partial_snapshots(self._directory):
            self._disk.remove_tree(path)

    def close(self) -> None:
        """Waits for appends in hand, makes everything durable, releases the directory."""
        if self._closed:
            return
        self._closed = True
        self._upkeep.stop()
        self._wal.close()
        self._lock.release()

    def maintain(self) -> None:
        """One round of upkeep now: flush, merge and retention as far as they are due.

        The background thread does the same. Raises OSError or StoreUnavailable where the disk refuses.
        """
        self._upkeep.turn(self._tenants)

    def flush(self, end_ms: int) -> int:
        """Moves samples before `end_ms` to blocks now, due or not; returns how many."""
        return self._upkeep.flush(self._tenants, end_ms)

    def _head(self, tenant: Tenant) -> TenantHead:
        return self._tenants.head(Owner(tenant.region, tenant.project))

    def _open(self) -> None:
        for path in filenames.temporary_paths(self._directory):
            self._disk.remove(path)
        self._remove_partial_snapshots()
        quarantine = Quarantine(self._directory, self._disk)
        self._tombstones = Tombstones(self._directory, quarantine)
        self._blocks = BlockSet(self._directory, self._settings, quarantine, self._tombstones.block)
        self._tenants = TenantTable(self._settings, self._blocks, self._tombstones)
        replayed = replay(self._directory, self._disk, quarantine)
        self._tenants.restore(replayed)
        self._wal = Log(
            self._directory,
            self._settings,
            self._disk,
            replayed.segments,
            max(self._blocks.mark.segment, self._tombstones.segment),
        )
        newest_ms = max(self._blocks.newest_ms(), newest_of(self._tenants.heads()))
        clock = TrustedClock(self._clock, newest_ms, self._settings)
        self._upkeep = Upkeep(
            self._wal, self._blocks, self._settings, self._tombstones, self._disk, clock
        )
        if self._awaits_rules:
            self._upkeep.retain(None)
        self._upkeep.start(self._tenants)


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the disk refuses: {error.strerror}") from error
