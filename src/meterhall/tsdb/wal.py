"""The write-ahead log: one for all tenants, with group commit.

Appends hand their frames to `submit` and get the future of the batch that they joined. One committer thread
takes everything that waits, writes it with one call, syncs once, and completes the batch's future. What was in
the batch is on disk then, and so is everything submitted before it.

When the disk refuses (full, I/O error), the batch's future fails with StoreUnavailable, but the frames
are kept: their samples are already visible to readers, and a sender that repeats them would find
them "already there". So the kept frames go to disk first, before anything new is taken. Until then `check`
raises. A half-written batch is cut away; after a failed sync nobody can say what the file holds (Linux
drops the dirty pages), so the kept frames go to a new segment. Replaying a sample twice stores it once.

A new segment says how long the one before it is on disk: what is written to that one is cut away or over by then.
"""

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import structlog

from meterhall.model.errors import StoreUnavailable
from meterhall.telemetry.metrics import WAL_BYTES, WAL_FSYNC_SECONDS
from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.wal_format import NO_SEGMENT, Segment, segment_header

_log = structlog.get_logger()

# Older than every sample.
NO_TIME = -(2**63)


def _promise() -> Future[None]:
    """A future that cannot be cancelled: a client that goes away must not upset the committer."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(slots=True)
class _Batch:
    """What the committer takes next; all who wait for it share its future."""

    frames: list[bytes] = field(default_factory=list)
    bytes: int = 0
    wanted: bool = False
    new_segment: bool = False
    reserve: bool = False
    reserved: int = 0
    future: Future[None] = field(default_factory=_promise)


@dataclass(slots=True)
class _Open:
    """The segment that is written to. `handle` is None until the first batch after a fault."""

    number: int
    bytes: int = 0
    handle: int | None = None

    @property
    def segment(self) -> Segment:
        """As it is on disk now."""
        return Segment(self.number, self.bytes)


class Log:
    """Segments on disk and the thread that writes them. Thread-safe."""

    def __init__(
        self,
        directory: Path,
        settings: StoreSettings,
        disk: Disk,
        segments: Sequence[Segment] = (),
        number_min: int = 1,
    ) -> None:
        """Continues after `segments`, which replay has read, in a segment of its own.

        Its number is at least `number_min`, that of the manifest's mark and of deletions: where segments are gone, or
        never got a file, a new one must not be taken for one whose samples are in blocks or were deleted.
        """
        self._directory = directory / filenames.WAL_DIRECTORY
        self._settings = settings
        self._disk = disk
        self._old = list(segments)
        number = self._old[-1].number + 1 if self._old else 1
        self._open = _Open(max(number, number_min))
        # Frames whose commit failed, and that must be on disk before anything new is.
        self._debt: list[bytes] = []
        # Segments with half a batch at their end, and where their last sound byte ends.
        self._ragged: dict[int, int] = {}
        self._next = _Batch()
        self._fault: str | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="wal-committer", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises StoreUnavailable while the disk refuses; waits while the log is far behind."""
        with self._changed:
            while (
                self._fault is None
                and not self._closing
                and self._next.bytes > self._settings.log_pending_bytes_max
            ):
                self._changed.wait()
            if self._closing:
                raise StoreUnavailable("the store is closing")
            if self._fault is not None:
                raise StoreUnavailable(self._fault)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        with self._changed:
            return sum(each.bytes for each in self._old) + self._open.bytes

    def submit(self, frames: Sequence[bytes]) -> Future[None]:
        """Queues frames; the future is done once they and all before them are on disk.

        No frames is a barrier.
        """
        return self._queue(frames).future

    def rotate(self) -> int:
        """Starts a new segment; returns its number once all that was submitted before is on disk.

        Raises StoreUnavailable where the disk refuses.
        """
        self._queue((), new_segment=True).future.result()
        with self._changed:
            return self._open.number

    @property
    def oldest(self) -> int:
        """The number of the oldest segment that is there."""
        with self._changed:
            return self._old[0].number if self._old else self._open.number

    def reserve(self) -> int:
        """Like `rotate`, and leaves a number free below the new segment; returns that number."""
        batch = self._queue((), new_segment=True, reserve=True)
        batch.future.result()
        return batch.reserved

    def path(self, number: int) -> Path:
        """Where a segment is, or would be."""
        return self._directory / filenames.segment_name(number)

    def replace_before(self, segment: Segment) -> None:
        """Removes all segments below one that is on disk, durably, and holds what is still wanted of them."""
        with self._changed:
            gone = [each for each in self._old if each.number < segment.number]
            newer = [each for each in self._old if each.number > segment.number]
            self._old = [segment, *newer]
        for each in gone:
            self._disk.unlink(self.path(each.number))
            # A file system frees space in the same commit that an append waits for: one file at a time.
            self._disk.sync_directory(self._directory)
        self._measure()

    def close(self) -> None:
        """Writes what waits and ends the thread. What cannot be written fails its futures."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _queue(
        self, frames: Sequence[bytes], *, new_segment: bool = False, reserve: bool = False
    ) -> _Batch:
        with self._changed:
            if self._closing:
                late = _Batch()
                late.future.set_exception(StoreUnavailable("the store is closing"))
                return late
            batch = self._next
            batch.frames.extend(frames)
            batch.bytes += sum(map(len, frames))
            batch.new_segment |= new_segment
            batch.reserve |= reserve
            if not batch.wanted:
                batch.wanted = True
                self._changed.notify_all()
            return batch

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._next.wanted and not self._closing:
                    if self._fault is not None:
                        self._changed.wait(self._settings.log_retry_s)
                        break
                    self._changed.wait()
                batch, self._next = self._next, _Batch()
                last = self._closing and not batch.wanted
                self._changed.notify_all()
            if batch.wanted or self._fault is not None:
                self._commit(batch)
            if last:
                if self._open.handle is not None:
                    self._disk.close(self._open.handle)
                return

    def _commit(self, batch: _Batch) -> None:
        self._debt.extend(batch.frames)
        try:
            if self._debt or self._fault is not None:
                self._write(self._debt)
            if batch.new_segment:
                self._start_segment()
            if batch.reserve:
                batch.reserved = self._leave_number()
            if self._ragged:
                self._trim()
        except OSError as error:
            self._failed(batch, str(error.strerror or error))
            return
        except Exception as error:  # noqa: BLE001 - a bug here must not leave appends waiting
            _log.exception("wal.bug")
            self._failed(batch, repr(error))
            return
        self._debt = []
        with self._changed:
            recovered, self._fault = self._fault is not None, None
            self._changed.notify_all()
        if recovered:
            _log.info("wal.recovered", segment=self._open.number)
        batch.future.set_result(None)
        self._measure()

    def _failed(self, batch: _Batch, cause: str) -> None:
        reason = f"the write-ahead log cannot be written: {cause}"
        with self._changed:
            first, self._fault = self._fault is None, reason
            self._changed.notify_all()
        if first:
            _log.error("wal.unavailable", reason=reason, segment=self._open.number)
        batch.future.set_exception(StoreUnavailable(reason))

    def _write(self, debt: Sequence[bytes]) -> None:
        """Puts the frames on disk, or raises with the open segment as it was before or abandoned."""
        if self._open.bytes >= self._settings.log_segment_bytes:
            self._start_segment()
        handle = self._handle()
        opened = self._open
        try:
            written = self._disk.write(handle, debt)
        except OSError:
            self._undo(handle, opened.bytes)
            raise
        begin = perf_counter()
        try:
            self._disk.sync(handle)
        except OSError:
            self._undo(handle, opened.bytes)
            self._start_segment()
            raise
        WAL_FSYNC_SECONDS.observe(perf_counter() - begin)
        opened.bytes += written

    def _undo(self, handle: int, size: int) -> None:
        """Cuts a half-written batch away; where even that fails, the segment is left behind for `_trim`."""
        try:
            self._disk.truncate(handle, size)
        except OSError:
            self._ragged[self._open.number] = size
            with contextlib.suppress(OSError):
                self._start_segment()

    def _trim(self) -> None:
        """Cuts what `_undo` could not, so that nobody takes the rest of a failed write for damage."""
        for number, size in list(self._ragged.items()):
            path = self._directory / filenames.segment_name(number)
            # One file that cannot be cut must not keep the log from going on: tried again next time.
            with contextlib.suppress(OSError):
                if path.exists():
                    self._disk.cut(path, size)
                del self._ragged[number]

    def _handle(self) -> int:
        """The open segment's descriptor; creates the file where it is not there yet."""
        opened = self._open
        if opened.handle is not None:
            return opened.handle
        handle = self._disk.create(self.path(opened.number))
        with self._changed:
            before = self._old[-1] if self._old else NO_SEGMENT
        try:
            header = segment_header(opened.number, before)
            self._disk.write(handle, [header])
            self._disk.sync(handle)
            self._disk.sync_directory(self._directory)
        except OSError:
            self._disk.close(handle)
            raise
        opened.handle = handle
        opened.bytes = len(header)
        return handle

    def _start_segment(self) -> None:
        """Turns to the next number; its file is made when there is something to write."""
        opened = self._open
        if opened.handle is not None:
            self._disk.close(opened.handle)
            with self._changed:
                self._old.append(opened.segment)
                self._open = _Open(opened.number + 1)

    def _leave_number(self) -> int:
        """Skips the number of a segment that has no file yet; returns it."""
        with self._changed:
            number = self._open.number
            self._open = _Open(number + 1)
        return number

    def _measure(self) -> None:
        WAL_BYTES.set(self.size)
