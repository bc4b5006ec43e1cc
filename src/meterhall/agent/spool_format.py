"""The bytes of the spool: frames of a segment, and the marks of what has been delivered.

Drawn in docs/formats/spool.md. Sans-I/O: bytes in, values out. A frame is found again after damage by its
magic, so that a bad byte costs the frame that it is in and no other. All integers are little-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from meterhall.model.errors import BadInput
from meterhall.wire import zstd
from meterhall.wire.agent_report import FailedScrape, SplitPage, TimeMs, WholePage

SEGMENT_MAGIC: Final = b"MHSPL\x00\x00\x01"
_SEGMENT_HEADER = struct.Struct("<8sQ")
FRAME_MAGIC: Final = b"\xa7MHs"
# magic, payload length, CRC-32 of (length, kind, time, payload), kind, time
_FRAME = struct.Struct("<4sIIIq")
_CHECKED = struct.Struct("<IIq")
# offset of a frame, CRC-32 of (segment number, offset)
_MARK = struct.Struct("<II")
_MARKED = struct.Struct("<QI")
MARK_BYTES: Final = _MARK.size
# `time` of a frame whose scrape waits for the service's clock, and of a shape.
NO_TIME: Final = -1
# Above a page of 10 MiB by far; what declares more is damage.
_PAYLOAD_BYTES_MAX: Final = 64 << 20
_DECODED_BYTES_MAX: Final = 256 << 20


class Kind(IntEnum):
    """What a frame holds."""

    SCRAPE = 1
    SHAPE = 2


class SpooledScrape(Struct, array_like=True, frozen=True):
    """One collection as it is kept; the outcome of a split page names its shape.

    Where the time is not certain, `boot_id` and `boot_ms` say when it was on the clock that counts from the
    machine's start, and the time that will be sent follows from them (`timekeeping`).
    """

    target_id: str
    time_ms: TimeMs
    duration_s: Annotated[float, Meta(ge=0)]
    outcome: FailedScrape | WholePage | SplitPage
    boot_id: str | None = None
    boot_ms: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame, and where it begins."""

    offset: int
    kind: int
    time_ms: int
    payload: memoryview


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(SpooledScrape)


def segment_header(number: int) -> bytes:
    """The bytes that begin a segment."""
    return _SEGMENT_HEADER.pack(SEGMENT_MAGIC, number)


def scrape_frame(scrape: SpooledScrape) -> bytes:
    """A scrape on disk. The frame tells its time, so that a start needs to read no payload."""
    time_ms = scrape.time_ms if scrape.boot_id is None else NO_TIME
    return _frame(Kind.SCRAPE, time_ms, zstd.compress(_ENCODER.encode(scrape)))


def shape_frame(shape: bytes) -> bytes:
    """A shape on disk; its name is its hash."""
    return _frame(Kind.SHAPE, NO_TIME, zstd.compress(shape))


def read_scrape(payload: memoryview) -> SpooledScrape:
    """The scrape of a frame. Raises BadInput where another version, or a fault of ours, wrote it."""
    packed = zstd.decompress(bytes(payload), _DECODED_BYTES_MAX)
    try:
        return _DECODER.decode(packed)
    except msgspec.DecodeError as error:
        raise BadInput(f"a spooled scrape cannot be read: {error}") from None


def read_shape(payload: memoryview) -> bytes:
    """The shape of a frame. Raises BadInput."""
    return bytes(zstd.decompress(bytes(payload), _DECODED_BYTES_MAX))


def frames(segment: bytes) -> Iterator[Frame]:
    """All sound frames in order; what lies between them is damage, or torn by a crash."""
    view = memoryview(segment)
    at = segment.find(FRAME_MAGIC)
    while at >= 0:
        frame = _frame_at(view, at)
        if frame is None:
            at = segment.find(FRAME_MAGIC, at + 1)
        else:
            yield frame
            at = segment.find(FRAME_MAGIC, at + _FRAME.size + len(frame.payload))


def marks(number: int, offsets: list[int]) -> bytes:
    """Says that these frames of a segment were delivered."""
    return b"".join(_MARK.pack(offset, _mark_crc(number, offset)) for offset in offsets)


def read_marks(number: int, data: bytes) -> set[int]:
    """Offsets of delivered frames. A damaged mark counts for nothing: its scrape is sent again."""
    whole = len(data) - len(data) % MARK_BYTES
    return {
        offset
        for offset, crc in _MARK.iter_unpack(data[:whole])
        if crc == _mark_crc(number, offset)
    }


def _frame(kind: Kind, time_ms: int, payload: bytes) -> bytes:
    crc = _frame_crc(kind, time_ms, payload)
    return _FRAME.pack(FRAME_MAGIC, len(payload), crc, kind, time_ms) + payload


def _frame_at(view: memoryview, at: int) -> Frame | None:
    if len(view) - at < _FRAME.size:
        return None
    _, length, crc, kind, time_ms = _FRAME.unpack_from(view, at)
    begin = at + _FRAME.size
    if length > min(_PAYLOAD_BYTES_MAX, len(view) - begin):
        return None
    payload = view[begin : begin + length]
    return Frame(at, kind, time_ms, payload) if _frame_crc(kind, time_ms, payload) == crc else None


def _frame_crc(kind: int, time_ms: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), kind, time_ms)))


def _mark_crc(number: int, offset: int) -> int:
    return zlib.crc32(_MARKED.pack(number, offset))
