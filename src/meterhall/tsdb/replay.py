"""Reading the log again at start: definitions first, then samples.

Two passes, so that a series that has come back after a rest is known by its newest definition. A segment
that is a checkpoint holds all that is wanted of those below it, which a crash may have left there.
Damage never fails the start: a torn tail of the last segment is cut, anything else is copied to
`quarantine/`, named in the service's log and counted; it costs only its own samples. Definitions are
written twice in a row, so that no single bad spot costs the samples that rest on them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.wal import Segment
from meterhall.tsdb.wal_format import (
    DEFINITIONS,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Damage,
    Definition,
    GroupRow,
    Kind,
    SealedRows,
    decode_definition,
    decode_samples,
    decode_sealed,
    frames,
    header_is_sound,
    is_checkpoint,
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


def replay(directory: Path, disk: Disk) -> Replayed:
    """Reads all segments once: checks every frame, takes the definitions, notes the samples.

    Raises nothing for damage; a segment that cannot be read at all is passed over and counted.
    """
    result = Replayed(disk)
    paths = filenames.segment_paths(directory)
    for number, path in paths:
        last = number == paths[-1][0]
        try:
            data = disk.read(path)
        except OSError as error:
            _note(path, 0, 0, f"cannot be read: {error.strerror}")
            result.segments.append(Segment(number))
            continue
        _read_segment(result, _Source(directory, path, disk, last), number, memoryview(data))
    return result


@dataclass(frozen=True, slots=True)
class _Source:
    directory: Path
    path: Path
    disk: Disk
    last: bool


def _read_segment(result: Replayed, source: _Source, number: int, data: memoryview) -> None:
    segment = Segment(number, len(data))
    places: list[tuple[int, int, int]] = []
    if is_checkpoint(data):
        source = replace(source, last=False)
        result.definitions.clear()
        result.records.clear()
    result.segments.append(segment)
    result.records.append(_Records(source.path, segment, places))
    torn = source.last and len(data) < SEGMENT_HEADER_BYTES
    if not header_is_sound(data, number) and not torn:
        _note(source.path, 0, SEGMENT_HEADER_BYTES, "segment header is damaged")
    before = memoryview(b"")
    for piece in frames(data):
        if isinstance(piece, Damage):
            _damaged(source, data, piece)
        elif piece.kind in DEFINITIONS:
            # Definitions are written twice in a row; the second is only needed where the first is bad.
            if piece.payload != before:
                result.definitions.append(decode_definition(piece.kind, piece.payload))
            before = piece.payload
        elif piece.kind in (Kind.SAMPLES, Kind.SEALED):
            begin = piece.offset + FRAME_HEADER_BYTES
            places.append((piece.kind, begin, begin + len(piece.payload)))
        elif piece.kind != Kind.CHECKPOINT:
            _note(source.path, piece.offset, len(piece.payload), f"record kind {piece.kind}")


def _damaged(source: _Source, data: memoryview, damage: Damage) -> None:
    """Cuts a torn tail; sets anything else aside."""
    if damage.at_end and source.last:
        _log.warning(
            "wal.tail_cut", file=source.path.name, offset=damage.offset, bytes=damage.length
        )
        _try(lambda: source.disk.cut(source.path, damage.offset))
        return
    _note(source.path, damage.offset, damage.length, "checksum or frame is wrong")
    name = f"{source.path.name}.{damage.offset}"
    target = source.directory / filenames.QUARANTINE_DIRECTORY / name
    piece = bytes(data[damage.offset : damage.offset + damage.length])
    if not target.exists():
        _try(lambda: source.disk.publish(target, filenames.temporary(target), [piece]))


def _note(path: Path, offset: int, length: int, reason: str) -> None:
    QUARANTINED.inc()
    _log.error("wal.quarantined", file=path.name, offset=offset, bytes=length, reason=reason)


def _try(action: Callable[[], None]) -> None:
    """Housekeeping that must not stop the start, for instance on a full disk."""
    try:
        action()
    except OSError as error:
        _log.warning("wal.housekeeping_failed", reason=error.strerror)
