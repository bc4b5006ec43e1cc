"""The background thread: flush, merge, checkpoint, retention, one step after the other, for as long as the store is open.

Errors of the disk are logged and tried again at the next turn; appends and queries go on meanwhile.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog

from meterhall.model.errors import StoreUnavailable
from meterhall.model.matcher import Matcher
from meterhall.ports.retention import RetentionSource
from meterhall.telemetry.metrics import HEAD_SERIES
from meterhall.tsdb.backlog import Backlog
from meterhall.tsdb.block import Block
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.cache import reading_once
from meterhall.tsdb.changes import ALL_TIME
from meterhall.tsdb.checkpoint import Checkpoint
from meterhall.tsdb.compact import merge_blocks, plan
from meterhall.tsdb.deletion import Deletion
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.flush import Flush, flush_before
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.memory import give_back
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.retention import Retainer, entry_of, unknown_rules
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.tombstones import EVER, Tombstones, remains
from meterhall.tsdb.trusted_clock import TrustedClock
from meterhall.tsdb.wal import NO_TIME, Log
from meterhall.tsdb.workshop import Workshop

_log = structlog.get_logger()


class _Stopped(Exception):
    """The work in hand is given up; the log still has all of it."""


class Tenants(Protocol):
    """What the upkeep asks of the store."""

    def heads(self) -> Sequence[TenantHead]:
        """Every tenant's head."""
        ...

    def head(self, tenant: Owner) -> TenantHead:
        """One tenant's head."""
        ...

    def next_group(self) -> int:
        """A group number that was never used."""
        ...


class Upkeep:
    """`turn` does what is due; `start` and `stop` run it on a thread."""

    def __init__(
        self,
        log: Log,
        blocks: BlockSet,
        settings: StoreSettings,
        tombstones: Tombstones,
        disk: Disk,
        clock: TrustedClock,
    ) -> None:
        self._log = log
        self._blocks = blocks
        self._settings = settings
        self._tombstones = tombstones
        self.backlog = Backlog(settings.late_bytes_max)
        self._clock = clock
        self._disk = disk
        self._workshop = Workshop(disk, self._check, apart=settings.apart)
        self._flush = Flush(log, blocks, settings, disk, self._workshop)
        self.retainer = Retainer(blocks, tombstones, settings)
        self._source: RetentionSource | None = None
        self._dropped: set[Owner] = set()
        self._deletion = Deletion(log, blocks, tombstones, self._flush.lock)
        self._checkpoint = Checkpoint(log, settings, disk, self._workshop)
        self._stopping = threading.Event()
        self._turning = threading.Lock()
        # Whether blocks were written since memory was given back.
        self._written = False
        self._thread: threading.Thread | None = None

    def start(self, tenants: Tenants) -> None:
        """Begins to turn every `maintain_interval_s`, and when the backlog calls."""
        self._thread = threading.Thread(
            target=self._run, args=(tenants,), name="tsdb-upkeep", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; work in hand is given up and given back."""
        self._stopping.set()
        self.backlog.due.set()
        self._workshop.interrupt()
        if self._thread is not None:
            self._thread.join()
        # Others may be at work too, on a flush that was asked for.
        with self._turning:
            self._workshop.close()

    def turn(self, tenants: Tenants) -> None:
        """One round: drop what is past retention, and flush, merge and cut the log as far as they are due.

        Raises OSError or StoreUnavailable where the disk refuses.
        """
        with self._working():
            self._workshop.rest()
            # First what gives space back, for the rest may need it.
            self._drop_departed(tenants)
            moved = self.retainer.apply(self._clock.now_ms())
            for head in tenants.heads():
                head.retention_ms = self.retainer.retention_ms(head.tenant)
                if moved:
                    head.changes.note(ALL_TIME)
            HEAD_SERIES.set(sum(len(head.index) for head in tenants.heads()))
            self._flush_what_is_due(tenants)
            while blocks := plan(self._blocks.blocks, self._settings, self._blocks.mark.time_ms):
                self._rewrite(blocks)
                # A merge takes its time, and late samples may have piled up meanwhile.
                self._flush_what_is_due(tenants)
            self._give_space_back(1)
            hiding = self.retainer.to_rewrite()
            if hiding is not None:
                self._rewrite([hiding])
            if self._checkpoint.is_due():
                self._checkpoint.run(tenants.heads)

    def flush(self, tenants: Tenants, end_ms: int) -> int:
        """Flushes everything before `end_ms` now; returns how many samples."""
        with self._working():
            return self._flush_before(tenants, end_ms)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """One piece of work at a time. What it took of memory goes back at its end, once: everyone else's
        allocations wait for that, and touch their pages anew.
        """
        with self._turning, reading_once():
            try:
                yield
            finally:
                if self._written:
                    self._written = False
                    give_back()

    def _flush_before(self, tenants: Tenants, end_ms: int) -> int:
        """Flushes, and cuts the log to what the head still holds."""
        samples = self._flush_blocks(tenants, end_ms)
        self._checkpoint.run(tenants.heads)
        return samples

    def _flush_blocks(self, tenants: Tenants, end_ms: int) -> int:
        self._written = True
        return self._flush.run(tenants.heads, end_ms, tenants.next_group())

    def delete(
        self, head: TenantHead, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> None:
        """Deletes samples of one tenant; durable and out of sight when it returns."""
        self._deletion.check_room(head.tenant)
        self._deletion.run(head, matchers, start_ms, end_ms)

    def retain(self, source: RetentionSource | None) -> None:
        """Follows the retentions of projects, and their deletion; None drops nothing until there is a source."""
        self._source = source
        self.retainer.rules = unknown_rules if source is None else source.retentions

    def exclusively(self, work: Callable[[int], Path]) -> Path:
        """Does `work` while no file is dropped or made, and no sample deleted; it is told a log segment.

        What was appended before is on disk in segments below it. Raises OSError, StoreUnavailable.
        """
        with self._turning, self._flush.lock:
            return work(self._log.rotate())

    def clean(self, owner: Owner) -> None:
        """Writes every block anew that holds deleted samples of the owner. Raises OSError, StoreUnavailable."""
        with self._working():
            try:
                self._give_space_back(None, owner)
            except _Stopped:
                raise StoreUnavailable("the store is closing") from None

    def _drop_departed(self, tenants: Tenants) -> None:
        """Deletes all that deleted projects have left behind, once."""
        departed = self._source.departed() if self._source is not None else ()
        for owner in {Owner(*whose) for whose in departed} - self._dropped:
            head = tenants.head(owner)
            if head.groups or any(entry_of(block, owner) for block in self._blocks.blocks):
                self._deletion.run(head, (), *EVER)
                _log.info("project.dropped", region=owner.region, project=owner.project)
            self._dropped.add(owner)

    def _give_space_back(self, blocks_max: int | None, owner: Owner | None = None) -> None:
        """Writes blocks anew that hold deleted samples; forgets deletions of which nothing is left."""
        for tombstone in self._tombstones.pending:
            if owner not in (None, tombstone.owner):
                continue
            holding = [block for block in self._blocks.blocks if remains(tombstone, block)]
            # What is damaged is never written anew; its tombstone stays as long as it does.
            sound = [block for block in holding if not block.damaged]
            for block in sound[:blocks_max]:
                if self._rewrite([block]) is not None and blocks_max:
                    return
            if not holding and tombstone.segment <= self._log.oldest:
                self._tombstones.remove([tombstone])

    def _rewrite(self, blocks: Sequence[Block]) -> int | None:
        self._written = True
        return merge_blocks(blocks, self._blocks, self._tombstones, self._disk, self._workshop)

    def _flush_what_is_due(self, tenants: Tenants) -> None:
        end_ms = flush_before(tenants.heads(), self._settings)
        if self._flush_is_due(tenants.heads(), end_ms):
            self._flush_before(tenants, end_ms)
        mark_ms = self._blocks.mark.time_ms
        if mark_ms != NO_TIME and _late_bytes(tenants) >= self._settings.late_bytes_max:
            # Before the mark nothing but late samples is left: a back-fill must not cost every series a turn.
            self._flush_blocks(tenants, mark_ms)
        if _late_bytes(tenants) >= self._settings.late_bytes_max:
            end_ms = flush_before(tenants.heads(), self._settings, closely=True)
            self._flush_before(tenants, end_ms)
        self.backlog.measured(_late_bytes(tenants))

    def _flush_is_due(self, heads: Sequence[TenantHead], end_ms: int) -> bool:
        """When the cut has moved on and leaves something behind, or too much waits behind it."""
        groups = [group for head in heads for group in list(head.groups.values())]
        behind = [group for group in groups if group.time_min < end_ms]
        if not behind:
            return False
        if end_ms > self._blocks.mark.time_ms:
            return True
        passed = sum(group.samples for group in behind if group.time_max < end_ms)
        return passed >= self._settings.head_samples_max

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _run(self, tenants: Tenants) -> None:
        while True:
            self.backlog.due.wait(self._settings.maintain_interval_s)
            # Cleared first: who sets it has said before what for.
            self.backlog.due.clear()
            if self._stopping.is_set():
                return
            try:
                self.turn(tenants)
            except _Stopped:
                return
            except (OSError, StoreUnavailable, DamagedError) as error:
                _log.warning("upkeep.failed", reason=str(error))
            except Exception:  # noqa: BLE001 - a bug here must not end flushing for good
                _log.exception("upkeep.bug")


def _late_bytes(tenants: Tenants) -> int:
    """Memory of late samples, of all tenants."""
    return sum(group.late_bytes for head in tenants.heads() for group in list(head.groups.values()))
