"""What was collected and is not delivered yet, on disk: append-only segments, bounded by bytes and age.

A scrape is in the spool once its frame is fsynced; all that wait are written and synced together. Beside a
segment stand the marks of what was delivered (its `.sent` file). They are not synced: a mark that is lost
costs a scrape that is sent twice, and the service stores equal samples once. A segment whose scrapes are
all delivered is removed. When there is too much, or it is too old, the oldest segment goes, and it is said.

Shapes of pages are written once a segment, twice in a row, so that one bad spot does not cost the scrapes
that rest on them.
"""

import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog

from meterhall.agent import spool_format
from meterhall.agent.spool_format import NO_TIME, Kind, SpooledScrape
from meterhall.model.errors import BadInput, StoreUnavailable
from meterhall.ports.clock import Clock
from meterhall.wire.agent_report import SplitPage, shape_id

log = structlog.get_logger()

_OFFSET_BITS: Final = 32
_NEVER: Final = 1 << 62


class Disk(Protocol):
    """The part of a file system that the spool needs; `tsdb.disk.Disk` is the real one."""

    def create(self, path: Path) -> int: ...

    def write(self, handle: int, pieces: Sequence[bytes]) -> int: ...

    def sync(self, handle: int) -> None: ...

    def close(self, handle: int) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None: ...

    def read(self, path: Path) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Bounds. A segment is the unit that is dropped, so what is kept may fall short of a bound by one."""

    bytes_max: int = 512 << 20
    age_ms_max: int = 24 * 3_600_000
    segment_bytes_max: int = 1 << 20
    segment_age_s_max: float = 3600.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One scrape that waits to be delivered. `seq` names it for good; `shape` is None if it is not known."""

    seq: int
    scrape: SpooledScrape
    shape: bytes | None


@dataclass(slots=True, eq=False)
class _Segment:
    number: int
    path: Path
    opened_s: float
    size: int = 0
    scrapes: int = 0
    newest_ms: int = 0
    sent: set[int] = field(default_factory=set)
    # Only the newest segment has a handle, until it is sealed.
    handle: int | None = None
    shapes: set[bytes] = field(default_factory=set)

    @property
    def waiting(self) -> int:
        return self.scrapes - len(self.sent)

    @property
    def sent_path(self) -> Path:
        return self.path.with_suffix(".sent")

    def count(self, time_ms: int) -> None:
        self.scrapes += 1
        # What waits for the service's clock has no age yet.
        self.newest_ms = max(self.newest_ms, _NEVER if time_ms == NO_TIME else time_ms)


@dataclass(frozen=True, slots=True)
class _Waiting:
    scrape: SpooledScrape
    shape: bytes | None
    done: "Future[Entry]"


class Spool:
    """One directory. `append` may be called on any thread; the rest too, but it blocks for the disk."""

    def __init__(self, directory: Path, settings: SpoolSettings, disk: Disk, clock: Clock) -> None:
        """Reads what an earlier run left. Raises OSError where the directory cannot be used."""
        self._directory = directory
        self._settings = settings
        self._disk = disk
        self._clock = clock
        self._lock = threading.Lock()
        self._segments: dict[int, _Segment] = {}
        self._dropped = 0
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Its own name, too, must be there after a power cut; an earlier run may have ended before it was.
        disk.sync_directory(directory.parent)
        self._numbers = itertools.count(self._recover() + 1)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_for_ever, name="spool", daemon=True)
        self._writer.start()

    @property
    def waiting(self) -> int:
        """How many scrapes are on disk and not delivered."""
        with self._lock:
            return sum(segment.waiting for segment in self._segments.values())

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        with self._lock:
            return sum(segment.size for segment in self._segments.values())

    @property
    def dropped(self) -> int:
        """How many scrapes were dropped undelivered and not told to the service yet."""
        return self._dropped

    def append(self, scrape: SpooledScrape, shape: bytes | None) -> "Future[Entry]":
        """Keeps a scrape; `shape` is that of its split page. Fails with StoreUnavailable."""
        done: Future[Entry] = Future()
        self._queue.put(_Waiting(scrape, shape, done))
        return done

    def unsent(self, but: Container[int]) -> Iterator[Entry]:
        """What waits, oldest first, but for these numbers. Reads a segment at a time."""
        with self._lock:
            segments = sorted(self._segments.values(), key=lambda segment: segment.number)
        for segment in segments:
            if segment.waiting:
                yield from self._unsent_of(segment, but)

    def delivered(self, numbers: Sequence[int]) -> None:
        """These are with the service, or never will be: they need not be kept."""
        by_segment: dict[int, list[int]] = {}
        for seq in numbers:
            number, offset = seq >> _OFFSET_BITS, seq & ((1 << _OFFSET_BITS) - 1)
            by_segment.setdefault(number, []).append(offset)
        with self._lock:
            for number, offsets in by_segment.items():
                segment = self._segments.get(number)
                if segment is not None:
                    self._mark(segment, offsets)

    def expire(self, now_ms: int) -> None:
        """Drops segments whose newest scrape is too old. `now_ms` must be certain."""
        with self._lock:
            for segment in list(self._segments.values()):
                if (
                    segment.handle is None
                    and now_ms - segment.newest_ms > self._settings.age_ms_max
                ):
                    self._drop(segment, "too old")

    def told(self, dropped: int) -> None:
        """The service knows of so many dropped scrapes."""
        with self._lock:
            self._dropped -= dropped

    def close(self) -> None:
        """Writes what waits, and ends."""
        self._queue.put(None)
        self._writer.join()
        with self._lock:
            self._seal()

    # Reading.

    def _recover(self) -> int:
        """Learns what is on disk; returns the highest number in use."""
        # Marks outlive their segment if a crash comes between; a number is never used twice beside them.
        numbers = {
            int(path.stem)
            for path in self._directory.iterdir()
            if path.suffix in (".spool", ".sent") and path.stem.isdigit()
        }
        for number in sorted(numbers):
            segment = _Segment(number, self._path(number), opened_s=0.0)
            try:
                self._recover_segment(segment)
            except FileNotFoundError:
                self._remove(segment)
            except OSError as error:
                log.warning("spool.unreadable", file=segment.path.name, error=error.strerror)
        return max(numbers, default=0)

    def _recover_segment(self, segment: _Segment) -> None:
        data = self._disk.read(segment.path)
        segment.size = len(data)
        offsets = set()
        for frame in spool_format.frames(data):
            if frame.kind == Kind.SCRAPE:
                segment.count(frame.time_ms)
                offsets.add(frame.offset)
        if segment.sent_path.exists():
            marked = self._disk.read(segment.sent_path)
            segment.sent = spool_format.read_marks(segment.number, marked) & offsets
            # A torn mark would put all that follow it out of step.
            os.truncate(segment.sent_path, len(marked) - len(marked) % spool_format.MARK_BYTES)
        if segment.waiting:
            self._segments[segment.number] = segment
        else:
            self._remove(segment)

    def _unsent_of(self, segment: _Segment, but: Container[int]) -> Iterator[Entry]:
        with self._lock:
            size, sent = segment.size, set(segment.sent)
        try:
            data = self._disk.read(segment.path)[:size]
        except OSError:
            # It was dropped meanwhile, or the disk is in trouble: the next round shows which.
            return
        shapes: dict[bytes, bytes] = {}
        for frame in spool_format.frames(data):
            seq = segment.number << _OFFSET_BITS | frame.offset
            if frame.kind == Kind.SHAPE:
                with contextlib.suppress(BadInput):
                    shape = spool_format.read_shape(frame.payload)
                    shapes[shape_id(shape)] = shape
            elif frame.kind == Kind.SCRAPE and frame.offset not in sent and seq not in but:
                entry = self._read_entry(seq, frame.payload, shapes)
                if entry is not None:
                    yield entry

    def _read_entry(
        self, seq: int, payload: memoryview, shapes: dict[bytes, bytes]
    ) -> Entry | None:
        try:
            scrape = spool_format.read_scrape(payload)
        except BadInput as error:
            log.warning("spool.unreadable", error=str(error))
            self.delivered([seq])
            return None
        name = _shape_of(scrape)
        return Entry(seq, scrape, None if name is None else shapes.get(name))

    # Writing, on the writer's thread.

    def _write_for_ever(self) -> None:
        ended = False
        while not ended:
            taken = [self._queue.get()]
            while not self._queue.empty():
                taken.append(self._queue.get())
            ended = None in taken
            self._commit([each for each in taken if each is not None])

    def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            entries = self._write(batch)
        except OSError as error:
            reason = f"the spool cannot be written: {error.strerror}"
            for each in batch:
                each.done.set_exception(StoreUnavailable(reason))
        else:
            for each, entry in zip(batch, entries, strict=True):
                each.done.set_result(entry)

    def _write(self, batch: list[_Waiting]) -> list[Entry]:
        with self._lock:
            segment = self._segment()
            handle = segment.handle
            pieces, entries, shapes = _encoded(segment, batch)
            written = sum(map(len, pieces))
            self._make_room(written)
        assert handle is not None
        try:
            self._disk.write(handle, pieces)
            self._disk.sync(handle)
        except OSError:
            # What was written of it may or may not be there: nothing more goes behind it.
            with self._lock:
                self._seal()
            raise
        with self._lock:
            segment.size += written
            segment.shapes |= shapes
            for each in batch:
                segment.count(NO_TIME if each.scrape.boot_id else each.scrape.time_ms)
        return entries

    def _segment(self) -> _Segment:
        """The open segment, a new one if it is full or old."""
        for segment in self._segments.values():
            if segment.handle is None:
                continue
            age_s = self._clock.monotonic() - segment.opened_s
            full = segment.size >= self._settings.segment_bytes_max
            if not full and age_s < self._settings.segment_age_s_max:
                return segment
            self._seal()
            break
        return self._open()

    def _open(self) -> _Segment:
        number = next(self._numbers)
        path = self._path(number)
        header = spool_format.segment_header(number)
        handle = self._disk.create(path)
        try:
            self._disk.write(handle, [header])
            self._disk.sync_directory(self._directory)
        except OSError:
            self._disk.close(handle)
            self._disk.unlink(path)
            raise
        segment = _Segment(number, path, self._clock.monotonic(), size=len(header), handle=handle)
        self._segments[number] = segment
        return segment

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08}.spool"

    def _seal(self) -> None:
        for segment in list(self._segments.values()):
            if segment.handle is not None:
                self._disk.close(segment.handle)
                segment.handle = None
                segment.shapes.clear()
                if not segment.waiting:
                    self._forget(segment)

    # Dropping; the lock is held.

    def _mark(self, segment: _Segment, offsets: list[int]) -> None:
        segment.sent.update(offsets)
        if not segment.waiting and segment.handle is None:
            self._forget(segment)
            return
        try:
            with segment.sent_path.open("ab") as file:
                file.write(spool_format.marks(segment.number, offsets))
        except OSError as error:
            log.warning("spool.mark_failed", error=error.strerror)

    def _make_room(self, incoming: int) -> None:
        total = sum(segment.size for segment in self._segments.values())
        for segment in sorted(self._segments.values(), key=lambda segment: segment.number):
            if total + incoming <= self._settings.bytes_max:
                return
            if segment.handle is None:
                total -= segment.size
                self._drop(segment, "the spool is full")

    def _drop(self, segment: _Segment, why: str) -> None:
        if segment.waiting:
            self._dropped += segment.waiting
            log.warning("spool.dropped", scrapes=segment.waiting, why=why)
        self._forget(segment)

    def _forget(self, segment: _Segment) -> None:
        del self._segments[segment.number]
        self._remove(segment)

    def _remove(self, segment: _Segment) -> None:
        try:
            self._disk.unlink(segment.path)
            self._disk.unlink(segment.sent_path)
        except OSError as error:
            log.warning("spool.remove_failed", file=segment.path.name, error=error.strerror)


def _shape_of(scrape: SpooledScrape) -> bytes | None:
    """The name of its page's shape, where the page is split."""
    return scrape.outcome.shape_id if isinstance(scrape.outcome, SplitPage) else None


def _encoded(
    segment: _Segment, batch: Sequence[_Waiting]
) -> tuple[list[bytes], list[Entry], set[bytes]]:
    """The frames of a batch, its entries, and the names of the shapes that go with it."""
    pieces: list[bytes] = []
    entries: list[Entry] = []
    shapes: set[bytes] = set()
    offset = segment.size
    for each in batch:
        name = _shape_of(each.scrape)
        if each.shape is not None and name is not None and name not in segment.shapes | shapes:
            pair = [spool_format.shape_frame(each.shape)] * 2
            offset += sum(map(len, pair))
            pieces += pair
            shapes.add(name)
        entries.append(Entry(segment.number << _OFFSET_BITS | offset, each.scrape, each.shape))
        frame = spool_format.scrape_frame(each.scrape)
        offset += len(frame)
        pieces.append(frame)
    return pieces, entries, shapes
