"""The bytes of the write-ahead log: frames, and the kinds of record in them.

Drawn in docs/formats/wal.md. Sans-I/O: bytes in, values out. A frame is found again after damage by its
magic, so that a bad one costs only itself. A segment says where the one before it ended, and a checkpoint says at
both ends what it is, so that a cut between two frames is seen too. All integers are little-endian.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from meterhall.model.labels import Labels
from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import (
    decode_matrix,
    decode_numbers,
    encode_matrix,
    encode_numbers,
)

SEGMENT_MAGIC = b"MHWAL\x00\x00\x02"
# magic, number; number and bytes of the segment before; CRC-32 of all these
_SEGMENT_HEADER = struct.Struct("<8sQQQI")
SEGMENT_HEADER_BYTES = _SEGMENT_HEADER.size
# Version 1, which is only read, had no more than magic and number.
_MAGIC_1 = b"MHWAL\x00\x00\x01"
_HEADER_1 = struct.Struct("<8sQ")

FRAME_MAGIC = b"\xa7MHf"
# magic, payload length, CRC-32 of (length, kind, payload), kind
_FRAME = struct.Struct("<4sIII")
FRAME_HEADER_BYTES = _FRAME.size
# What a disk writes as one.
_SECTOR_BYTES = 512

_DEFINE = struct.Struct("<qIIII")
_SAMPLES = struct.Struct("<II")
# group; numbers of rows, columns and pages; bytes of times and columns
_SEALED = struct.Struct("<qIIIII")
# `first` of a row whose columns are not one ascending run: they are listed instead.
LISTED = 0xFFFFFFFF
_ROW = np.dtype([("group", "<i8"), ("time", "<i8"), ("first", "<u4"), ("count", "<u4")])


class Kind(IntEnum):
    """What a frame holds."""

    DEFINE = 1
    SAMPLES = 2
    SEALED = 3
    CHECKPOINT = 4
    DEFINE_DEFLATED = 5


DEFINITIONS = (Kind.DEFINE, Kind.DEFINE_DEFLATED)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's number and its bytes."""

    number: int
    bytes: int = 0


# What the first segment of a log, and a checkpoint, name as the one before.
NO_SEGMENT = Segment(0)


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame: where it began, and its payload as a view of the segment."""

    offset: int
    kind: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that belong to no sound frame; none at all where the end of a checkpoint is missing.

    `torn` where they may be the beginning of a last write.
    """

    offset: int
    length: int
    torn: bool

    @property
    def reason(self) -> str:
        """What is wrong."""
        if self.length:
            return f"{self.length} bytes are no sound frame"
        return "the checkpoint's end is missing"


@dataclass(frozen=True, slots=True)
class Definition:
    """Columns of a group, each with its series' labels. Column numbers are never reused."""

    tenant: Owner
    group: int
    clock: str
    columns: Sequence[int]
    labels: Sequence[Labels]


@dataclass(frozen=True, slots=True, eq=False)
class GroupRow:
    """Samples of one instant in one group: columns `first … first+count-1`, or those listed."""

    group: int
    time_ms: int
    first: int
    columns: NDArray[np.uint32] | None
    values: ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class SealedRows:
    """Many rows of a group: `values[place]` are those of the column `columns[place]`, ABSENT where it has none.

    A column is -1 where the series is gone.
    """

    group: int
    times: TimestampArray
    columns: NDArray[np.int64]
    values: ValueArray

    def rows(self) -> Iterator[GroupRow]:
        """The same samples, row by row."""
        present = (self.values.view(np.uint64) != ABSENT_BITS) & (self.columns >= 0)[:, None]
        for at, time_ms in enumerate(self.times.tolist()):
            places = np.flatnonzero(present[:, at])
            if len(places):
                columns = self.columns[places].astype(np.uint32)
                yield GroupRow(self.group, time_ms, 0, columns, self.values[places, at])


def segment_header(number: int, before: Segment = NO_SEGMENT) -> bytes:
    """The first bytes of a segment. `before` is final, and on disk in all its length."""
    head = _SEGMENT_HEADER.pack(SEGMENT_MAGIC, number, before.number, before.bytes, 0)[:-4]
    return head + struct.pack("<I", isal_zlib.crc32(head))


def segment_before(data: memoryview, number: int) -> Segment | None:
    """The segment that this one follows; None where the header is not sound. Its frames can be read all the same."""
    if bytes(data[: _HEADER_1.size]) == _HEADER_1.pack(_MAGIC_1, number):
        return NO_SEGMENT
    if len(data) < SEGMENT_HEADER_BYTES:
        return None
    _, _, *before, _ = _SEGMENT_HEADER.unpack_from(data)
    told = Segment(*before)
    sound = bytes(data[:SEGMENT_HEADER_BYTES]) == segment_header(number, told)
    return told if sound else None


def is_checkpoint(data: memoryview) -> bool:
    """Whether a segment says that it holds all that is wanted of the segments below it: at either end."""
    return _marks_checkpoint(data, _header_bytes(data)) or _marks_checkpoint(
        data, len(data) - FRAME_HEADER_BYTES
    )


class Chain:
    """Whether each segment is as long as the next one says. It is shown them in order."""

    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}
        self._checkpoint = 0

    def follow(self, number: int, data: memoryview) -> tuple[Segment, int] | None:
        """The segment before as it is, and how many bytes it lacks; None where all is well.

        What is below a checkpoint, nobody reads; the end of a checkpoint is found missing by `frames`.
        """
        self._bytes[number] = len(data)
        if is_checkpoint(data):
            self._checkpoint = number
        told = segment_before(data, number) or NO_SEGMENT
        held = self._bytes.get(told.number, told.bytes)
        if told.number <= self._checkpoint or held >= told.bytes:
            return None
        return Segment(told.number, held), told.bytes - held

    def is_stump(self, number: int, data: memoryview) -> bool:
        """Whether the last segment was cut before its first frame: what stands alone began as a checkpoint.

        So did not the first of all, nor one that follows a snapshot without a log: the latter may be taken for a
        stump if its very first write was torn.
        """
        alone = number > 1 and self._bytes.keys() <= {number}
        return alone and not any(isinstance(piece, Frame) for piece in frames(data))


def frame(kind: Kind, payload: bytes) -> bytes:
    """A payload with its header."""
    return _FRAME.pack(FRAME_MAGIC, len(payload), _crc(len(payload), kind, payload), kind) + payload


def frames(data: memoryview) -> Iterator[Frame | Damage]:
    """Walks a segment. Every byte after the segment header is in exactly one Frame or Damage."""
    begin = position = min(_header_bytes(data), len(data))
    found: Frame | None = None
    while position < len(data):
        found = _frame_at(data, position)
        if found is not None:
            yield found
            position += FRAME_HEADER_BYTES + len(found.payload)
            continue
        following = _next_frame(data, position + 1)
        torn = following == len(data) and _may_be_torn(data, position)
        yield Damage(position, following - position, torn)
        position = following
    # A last frame that is damaged was told already.
    ended = found is None or (found.kind == Kind.CHECKPOINT and found.offset > begin)
    if begin == SEGMENT_HEADER_BYTES and _marks_checkpoint(data, begin) and not ended:
        yield Damage(len(data), 0, torn=False)


def encode_definition(definition: Definition) -> bytes:
    """Payload of a DEFINE record."""
    tenant = definition.tenant
    heads = (tenant.region, tenant.project, definition.clock)
    pairs = [*chain.from_iterable(chain.from_iterable(definition.labels))]
    strings = dict.fromkeys(chain(heads, pairs))
    number = {text: place for place, text in enumerate(strings)}.__getitem__
    texts = [text.encode() for text in strings]
    return b"".join(
        (
            _DEFINE.pack(definition.group, *map(number, heads), len(texts)),
            np.fromiter(map(len, texts), "<u4", len(texts)).tobytes(),
            struct.pack("<I", len(definition.labels)),
            np.asarray(definition.columns, "<u4").tobytes(),
            np.fromiter(map(len, definition.labels), "<u4", len(definition.labels)).tobytes(),
            np.fromiter(map(number, pairs), "<u4", len(pairs)).tobytes(),
            *texts,
        )
    )


def definition_frames(definition: Definition) -> list[bytes]:
    """A definition twice: one bad spot in the log must not cost the samples that rest on it."""
    piece = frame(Kind.DEFINE_DEFLATED, isal_zlib.compress(encode_definition(definition), 1))
    return [piece, piece]


def decode_definition(kind: int, payload: memoryview) -> Definition:
    """The definition in a payload, of one of DEFINITIONS, whose checksum was right."""
    if kind == Kind.DEFINE_DEFLATED:
        payload = memoryview(isal_zlib.decompress(payload))
    group, region, project, clock, text_count = _DEFINE.unpack_from(payload)
    position = _DEFINE.size
    lengths, position = _numbers(payload, position, text_count)
    (count,) = struct.unpack_from("<I", payload, position)
    columns, position = _numbers(payload, position + 4, count)
    widths, position = _numbers(payload, position, count)
    pairs, position = _numbers(payload, position, 2 * int(widths.sum()))
    ends = (np.cumsum(lengths, dtype=np.int64) + position).tolist()
    texts = [
        str(payload[begin:end], "utf-8")
        for begin, end in zip([position, *ends[:-1]], ends, strict=True)
    ]
    words = [texts[number] for number in pairs.tolist()]
    flat = list(zip(words[::2], words[1::2], strict=True))
    stops = np.cumsum(widths, dtype=np.int64).tolist()
    labels = [tuple(flat[begin:end]) for begin, end in zip([0, *stops[:-1]], stops, strict=True)]
    tenant = Owner(texts[region], texts[project])
    return Definition(tenant, group, texts[clock], columns.tolist(), labels)


def encode_samples(rows: Sequence[GroupRow]) -> bytes:
    """Payload of a SAMPLES record."""
    heads = np.empty(len(rows), _ROW)
    listed: list[bytes] = []
    values: list[bytes] = []
    for index, row in enumerate(rows):
        first = row.first
        if row.columns is not None:
            first = LISTED
            listed.append(row.columns.astype("<u4", copy=False).tobytes())
        heads[index] = (row.group, row.time_ms, first, len(row.values))
        values.append(row.values.astype("<f8", copy=False).tobytes())
    listed_bytes = b"".join(listed)
    return b"".join(
        (_SAMPLES.pack(len(rows), len(listed_bytes) // 4), heads.tobytes(), listed_bytes, *values)
    )


def decode_samples(payload: memoryview) -> list[GroupRow]:
    """The rows in a payload whose checksum was right. Arrays are views of it."""
    count, listed_count = _SAMPLES.unpack_from(payload)
    position = _SAMPLES.size
    heads = np.frombuffer(payload, _ROW, count, position)
    listed, position = _numbers(payload, position + heads.nbytes, listed_count)
    values = np.frombuffer(payload, "<f8", offset=position)
    rows: list[GroupRow] = []
    value_at = listed_at = 0
    for group, time_ms, first, width in heads.tolist():
        columns = None
        if first == LISTED:
            columns = listed[listed_at : listed_at + width]
            listed_at += width
        rows.append(GroupRow(group, time_ms, first, columns, values[value_at : value_at + width]))
        value_at += width
    return rows


def encode_sealed(rows: SealedRows) -> bytes:
    """Payload of a SEALED record."""
    times, columns = encode_numbers(rows.times), encode_numbers(rows.columns)
    pages = encode_matrix(rows.values)
    counts = len(rows.times), len(rows.columns), len(pages)
    return b"".join(
        (
            _SEALED.pack(rows.group, *counts, len(times), len(columns)),
            np.fromiter(map(len, pages), "<u4", len(pages)).tobytes(),
            times,
            columns,
            *pages,
        )
    )


def decode_sealed(payload: memoryview) -> SealedRows:
    """The rows in a payload whose checksum was right."""
    group, row_count, column_count, page_count, time_bytes, column_bytes = _SEALED.unpack_from(
        payload
    )
    lengths, position = _numbers(payload, _SEALED.size, page_count)
    times = decode_numbers(payload[position : position + time_bytes], row_count)
    position += time_bytes
    columns = decode_numbers(payload[position : position + column_bytes], column_count)
    ends = (np.cumsum(lengths, dtype=np.int64) + position + column_bytes).tolist()
    begins = [position + column_bytes, *ends[:-1]]
    pages = [payload[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return SealedRows(group, times, columns, decode_matrix(pages, column_count, row_count))


def _crc(length: int, kind: int, payload: bytes | memoryview) -> int:
    return isal_zlib.crc32(payload, isal_zlib.crc32(struct.pack("<II", length, kind)))


def _header_bytes(data: memoryview) -> int:
    """Where the frames begin, be the header sound or not."""
    first = _HEADER_1.size
    old = data[: len(_MAGIC_1)] == _MAGIC_1 or _frame_at(data, first) is not None
    return first if old else SEGMENT_HEADER_BYTES


def _marks_checkpoint(data: memoryview, position: int) -> bool:
    found = _frame_at(data, position) if position > 0 else None
    return found is not None and found.kind == Kind.CHECKPOINT


def _frame_at(data: memoryview, position: int) -> Frame | None:
    if position + FRAME_HEADER_BYTES > len(data):
        return None
    magic, length, crc, kind = _FRAME.unpack_from(data, position)
    begin = position + FRAME_HEADER_BYTES
    if magic != FRAME_MAGIC or begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    if _crc(length, kind, payload) != crc:
        return None
    return Frame(position, kind, payload)


def _may_be_torn(data: memoryview, position: int) -> bool:
    """Whether the bytes up to the end are what a crash leaves of a write: its beginning, then zeros.

    A frame that is all there and wrong is none; nor is one that is right but for its length.
    """
    written = _without_zero_sectors(data, position)
    if written[: len(FRAME_MAGIC)] != FRAME_MAGIC[: len(written)]:
        return False
    if len(written) < FRAME_HEADER_BYTES:
        return True
    _, length, crc, kind = _FRAME.unpack_from(written)
    payload = written[FRAME_HEADER_BYTES:]
    size = len(payload)
    return bool(length > size and _crc(size, kind, payload) != crc)


def _without_zero_sectors(data: memoryview, position: int) -> memoryview:
    """The bytes from `position` on, less whole sectors of zeros at the end: never written, after a power cut."""
    end = len(data)
    while end > position:
        sector = max(position, (end - 1) // _SECTOR_BYTES * _SECTOR_BYTES)
        if data[sector:end] != bytes(end - sector):
            break
        end = sector
    return data[position:end]


def _next_frame(data: memoryview, position: int) -> int:
    """Where the next sound frame begins at or after `position`; the end where there is none."""
    whole = data.obj
    while True:
        position = whole.find(FRAME_MAGIC, position)  # type: ignore[attr-defined]  # bytes or mmap
        if position < 0:
            return len(data)
        if _frame_at(data, position) is not None:
            return position
        position += 1


def _numbers(payload: memoryview, position: int, count: int) -> tuple[NDArray[np.uint32], int]:
    return np.frombuffer(payload, "<u4", count, position), position + 4 * count
