"""Reading the log again at start: definitions first, then samples.

Two passes, so that a series that has come back after a rest is known by its newest definition. A segment
that is a checkpoint holds all that is wanted of those below it, which a crash may have left there.
Damage never fails the start: a torn tail of the last segment is cut, anything else goes to quarantine; it costs
only its own samples. Definitions are written twice in a row, so that no single bad spot costs the samples that
rest on them.

What a kill left unsynced at the end of the last segment was read, so it is synced before anybody is told of it: who
sends such a sample again hears that it is there already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.quarantine import Quarantine
from meterhall.tsdb.wal_format import (
    DEFINITIONS,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Chain,
    Damage,
    Definition,
    GroupRow,
    Kind,
    SealedRows,
    Segment,
    decode_definition,
    decode_samples,
    decode_sealed,
    frames,
    is_checkpoint,
    segment_before,
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Records:
    """Where the sound payloads with samples are in one segment: kind, begin, end."""

    path: Path
    segment: Segment
    places: Sequence[tuple[int, int, int]]


@dataclass(slots=True)
class Replayed:
    """What the log held, as far as it was read: definitions now, samples when `rows` is iterated."""

    disk: Disk
    segments: list[Segment] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    records: list[_Records] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[int, Sequence[GroupRow] | SealedRows]]:
        """Segment numbers and rows, record by record.

        Reads each segment a second time, so that one of them is in memory and not the whole log.
        """
        for records in self.records:
            data = memoryview(self.disk.read(records.path))
            for kind, begin, end in records.places:
                decode = decode_samples if kind == Kind.SAMPLES else decode_sealed
                yield records.segment.number, decode(data[begin:end])


def replay(directory: Path, disk: Disk, quarantine: Quarantine) -> Replayed:
    """Reads all segments once: checks every frame, takes the definitions, notes the samples.

    Raises nothing for damage; a segment that cannot be read at all is passed over and counted.
    """
    result = Replayed(disk)
    chain = Chain()
    paths = filenames.segment_paths(directory)
    for number, path in paths:
        try:
            data = memoryview(disk.read(path))
        except OSError as error:
            quarantine.copy(path.name, 0, b"", f"cannot be read: {error.strerror}")
            result.segments.append(Segment(number))
            continue
        if cut := chain.follow(number, data):
            before, missing = cut
            name = filenames.segment_name(before.number)
            quarantine.copy(name, before.bytes, b"", f"{missing} bytes are missing")
        last = number == paths[-1][0]
        stump = last and chain.is_stump(number, data)
        _Reading(result, quarantine, path, number).read(data, last=last, stump=stump)
    return result


@dataclass(frozen=True, slots=True)
class _Reading:
    """Of one segment."""

    result: Replayed
    quarantine: Quarantine
    path: Path
    number: int

    def read(self, data: memoryview, *, last: bool, stump: bool) -> None:
        """Notes what is sound and sets aside what is not."""
        result = self.result
        if stump or segment_before(data, self.number) is None:
            if last and not stump and len(data) < SEGMENT_HEADER_BYTES:
                self._settle(0)
                return
            reason = "segment header is damaged, or no frame is left"
            self._set_aside(data, 0, SEGMENT_HEADER_BYTES, reason)
        checkpoint = is_checkpoint(data)
        if checkpoint:
            result.definitions.clear()
            result.records.clear()
        places: list[tuple[int, int, int]] = []
        end = self._walk(data, places, open_end=last and not stump and not checkpoint)
        segment = Segment(self.number, end)
        result.segments.append(segment)
        result.records.append(_Records(self.path, segment, places))
        if last and not stump:
            self._settle(end)

    def _walk(self, data: memoryview, places: list[tuple[int, int, int]], *, open_end: bool) -> int:
        """Returns where the segment ends, less what a crash tore where the end is open."""
        before = memoryview(b"")
        for piece in frames(data):
            if isinstance(piece, Damage):
                if piece.torn and open_end:
                    _log.warning(
                        "wal.tail_cut",
                        file=self.path.name,
                        offset=piece.offset,
                        bytes=piece.length,
                    )
                    return piece.offset
                self._set_aside(data, piece.offset, piece.length, piece.reason)
            elif piece.kind in DEFINITIONS:
                # The second of the two is only needed where the first is bad.
                if piece.payload != before:
                    self.result.definitions.append(decode_definition(piece.kind, piece.payload))
                before = piece.payload
            elif piece.kind in (Kind.SAMPLES, Kind.SEALED):
                begin = piece.offset + FRAME_HEADER_BYTES
                places.append((piece.kind, begin, begin + len(piece.payload)))
            elif piece.kind != Kind.CHECKPOINT:
                size = FRAME_HEADER_BYTES + len(piece.payload)
                self._set_aside(data, piece.offset, size, f"record kind {piece.kind}")
        return len(data)

    def _set_aside(self, data: memoryview, offset: int, length: int, reason: str) -> None:
        self.quarantine.copy(self.path.name, offset, bytes(data[offset : offset + length]), reason)

    def _settle(self, size: int) -> None:
        """Makes the last segment durable as it was read; one that never got its header is no segment."""
        disk = self.result.disk
        try:
            if size:
                disk.cut(self.path, size)
            else:
                disk.unlink(self.path)
            disk.sync_directory(self.path.parent)
        except OSError as error:
            # For instance on a full disk; that must not stop the start.
            _log.warning("wal.housekeeping_failed", reason=error.strerror)
