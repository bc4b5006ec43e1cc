"""Replies of the Prometheus API as plain ASGI messages: whole, or piece by piece; gzip where it was asked for.

Made on a worker thread, sent on the event loop.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from isal import isal_zlib
from starlette.types import Send

Header = tuple[bytes, bytes]
Headers = list[Header]

JSON: Header = (b"content-type", b"application/json")
TEXT: Header = (b"content-type", b"text/plain; charset=utf-8")
NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
GZIPPED: Header = (b"content-encoding", b"gzip")
CLOSE: Header = (b"connection", b"close")

# An answer longer than this goes out in pieces while the rest is still being made.
STREAMED_BYTES_MIN = 1 << 20

# isal's level 1: 13 ms for 5 MB, and smaller than zlib's (stack measurements in docs/adr/0002).
_GZIP_LEVEL = 1
_GZIP_WINDOW = 31


@dataclass(slots=True)
class Reply:
    """`body`, then what `rest` yields. Without `rest`, the length is known and said."""

    status: int
    headers: Headers
    body: bytes = b""
    rest: Iterator[bytes] | None = None


def accepts_gzip(headers: Iterable[Header]) -> bool:
    """Whether Accept-Encoding holds the exact token `gzip`.

    Prometheus recognises no token with a quality, and so do we; deflate, br and zstd are never used,
    because clients disagree on the first and Grafana knows not the last.
    """
    for name, value in headers:
        if name == b"accept-encoding" and b"gzip" in map(bytes.strip, value.split(b",")):
            return True
    return False


def json_reply(
    answer: bytes | Iterator[bytes] | None,
    gzip: bool,
    check: Callable[[], None] = lambda: None,
) -> Reply:
    """A 200 with a JSON body, 204 without an answer; making and compressing it is done here and in `rest`.

    Raises what `check` raises, which is called after each piece that is made here.
    """
    if answer is None:
        return Reply(204, [])
    if isinstance(answer, bytes):
        return packed(200, [JSON], answer, gzip)
    pieces, size = [], 0
    for piece in answer:
        pieces.append(piece)
        size += len(piece)
        check()
        if size >= STREAMED_BYTES_MIN:
            break
    else:
        return packed(200, [JSON], b"".join(pieces), gzip)
    body = b"".join(pieces)
    if not gzip:
        return Reply(200, [JSON], body, answer)
    return Reply(200, [JSON, GZIPPED], b"", _gzipped(body, answer))


def packed(status: int, headers: Headers, body: bytes, gzip: bool) -> Reply:
    """A whole body, compressed if so wished."""
    if gzip and body:
        compressed = isal_zlib.compress(body, _GZIP_LEVEL, _GZIP_WINDOW)
        return Reply(status, [*headers, GZIPPED], compressed)
    return Reply(status, headers, body)


def _gzipped(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    stream = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    yield stream.compress(first)
    for piece in rest:
        yield stream.compress(piece)
    yield stream.flush()


async def send_reply(send: Send, reply: Reply, extra: Headers) -> None:
    """Sends status, headers and `body`; the end too, unless there is a `rest`."""
    headers = [*reply.headers, *extra]
    if reply.rest is None and reply.status != 204:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    more = reply.rest is not None
    await send({"type": "http.response.body", "body": reply.body, "more_body": more})
