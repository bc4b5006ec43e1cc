"""What a host's agent reports: batches of whole scrapes, as docs/formats/agent.md draws them.

A batch is one zstd frame around msgpack. The frame must declare its decoded size, which is checked before
anything is allocated.

A page that only repeats its names travels as *shape* and *words*. Of every line that is no comment and has
a blank behind something else, what follows its last blank is a word; everything else, that blank included, is the shape. The split
loses nothing (`join_page(*split_page(page)) == page` for any bytes), and how many words belong to a shape
follows from the shape alone. So the shape needs to travel once, and then its name: a hash.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from meterhall.model.errors import BadInput
from meterhall.wire import zstd

SHAPE_ID_BYTES: Final = 16
SCRAPES_MAX: Final = 10_000

# collect.fetch.FailureKind; a value that neither side knows is refused.
FailureKindText = Literal[
    "http_error", "connect_error", "address_refused", "timeout", "unreadable", "limit"
]
ShapeId = Annotated[bytes, Meta(min_length=SHAPE_ID_BYTES, max_length=SHAPE_ID_BYTES)]
ContentType = Annotated[str, Meta(max_length=1024)]
# Years 1970 to 9999; a time is milliseconds since the Unix epoch.
TimeMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]


class FailedScrape(Struct, array_like=True, frozen=True, tag="f"):
    """No page. `reason` is one line without anything of the body; `http_status` is 0 unless there was one."""

    kind: FailureKindText
    reason: Annotated[str, Meta(max_length=1024)]
    http_status: Annotated[int, Meta(ge=0, le=999)]


class WholePage(Struct, array_like=True, frozen=True, tag="b"):
    """A page as it came, decoded."""

    content_type: ContentType
    body: bytes


class SplitPage(Struct, array_like=True, frozen=True, tag="p"):
    """A page as words, and its shape by name; `shape` is None where the service should know it."""

    content_type: ContentType
    shape_id: ShapeId
    words: bytes
    shape: bytes | None


class Scrape(Struct, array_like=True, frozen=True):
    """One collection. `seq` is the agent's own number for it, by which the answer names it."""

    seq: Annotated[int, Meta(ge=0)]
    target_id: Annotated[str, Meta(min_length=1, max_length=64)]
    time_ms: TimeMs
    duration_s: Annotated[float, Meta(ge=0, le=86_400)]
    outcome: FailedScrape | WholePage | SplitPage


class Batch(Struct, array_like=True, frozen=True):
    """Scrapes, and how many others the agent had to drop since its last batch that was answered."""

    scrapes: Annotated[list[Scrape], Meta(max_length=SCRAPES_MAX)]
    dropped: Annotated[int, Meta(ge=0)] = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Batch)


def encode_batch(scrapes: Sequence[Scrape], dropped: int = 0) -> bytes:
    """The body of a report: one zstd frame that declares its decoded size."""
    return zstd.compress(_ENCODER.encode(Batch(list(scrapes), dropped)))


def decode_batch(body: bytes, bytes_max: int) -> Batch:
    """The batch, of at most `bytes_max` decoded bytes.

    Raises TooLarge for a larger declaration, before anything is allocated, and BadInput for anything else
    that is no batch.
    """
    packed = zstd.decompress(body, bytes_max)
    try:
        return _DECODER.decode(packed)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"the report cannot be read: {error}") from None


def split_page(page: bytes) -> tuple[bytes, bytes]:
    """Shape and words of any bytes; the words are joined by line feeds."""
    rests, words = [], []
    for line in page.split(b"\n"):
        word_at = line.rfind(b" ") + 1
        if _has_place(line[:word_at]):
            rests.append(line[:word_at])
            words.append(line[word_at:])
        else:
            rests.append(line)
    return b"\n".join(rests), b"\n".join(words)


def join_page(shape: bytes, words: bytes) -> bytes:
    """The page that was split. Raises BadInput unless there are as many words as the shape has places."""
    lines = shape.split(b"\n")
    places = [at for at, line in enumerate(lines) if line.endswith(b" ") and _has_place(line)]
    texts = words.split(b"\n") if places or words else []
    if len(texts) != len(places):
        raise BadInput(f"{len(texts)} words for a shape that has place for {len(places)}")
    for at, text in zip(places, texts, strict=True):
        lines[at] += text
    return b"\n".join(lines)


def shape_id(shape: bytes) -> bytes:
    """A shape's name: the first 16 bytes of its SHA-256."""
    return hashlib.sha256(shape).digest()[:SHAPE_ID_BYTES]


def _has_place(rest: bytes) -> bool:
    """Whether a word may follow: behind blanks alone, it could make the line a comment."""
    return rest.lstrip(b" \t")[:1] not in (b"", b"#")
