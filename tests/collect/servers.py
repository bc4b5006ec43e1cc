"""Exporters for tests: a raw-socket server that answers each connection as a script says."""

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(script: Script, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serves the script, on loopback if not told otherwise, and yields the port."""
    tasks: set[asyncio.Task] = set()

    async def connection(reader, writer):
        task = asyncio.current_task()
        tasks.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connection, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def raw(answer: bytes, *, keep_open: bool = False, requests: list[bytes] | None = None) -> Script:
    """Answers every request with these bytes; closes the connection after the first unless told."""

    async def script(reader, writer):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(request)
            writer.write(answer)
            await writer.drain()
            if not keep_open:
                return

    async def tolerant(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            await script(reader, writer)

    return tolerant


def response(
    body: bytes, *headers: str, status: str = "200 OK", content_type: str = "text/plain"
) -> bytes:
    """A whole HTTP/1.1 answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def endless(head: bytes, piece: bytes, pause_s: float = 0.0) -> Script:
    """Sends the head and then the same piece for ever."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return script


ZEROS = bytes(16 * 1024 * 1024)


def bomb(decoded_bytes: int) -> Script:
    """A gzip body that inflates to `decoded_bytes` of zeros, made while it is sent."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n"
            b"Connection: close\r\n\r\n"
        )
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        for _ in range(decoded_bytes // len(ZEROS)):
            writer.write(packer.compress(ZEROS))
            await writer.drain()
            # drain() only yields when the buffer is full; the reader lives on the same loop.
            await asyncio.sleep(0)
        writer.write(packer.flush())
        await writer.drain()

    return script


def chunked_gzip(body: bytes) -> bytes:
    """A chunked, compressed answer, as Go's servers send large pages."""
    packed = gzip.compress(body)
    half = len(packed) // 2
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (packed[:half], packed[half:])
    )
    return head + chunks + b"0\r\n\r\n"
