"""One GET of an exporter's page, as Prometheus 3.x makes it, bounded in time, bytes and trust.

Nothing that an exporter answers can do more than fail its own collection: redirects are not followed, there
are no cookies, proxies or credentials, a body is cut at its decoded cap, the whole exchange ends at the
target's timeout, and every way to fail becomes a `Failure` with one line that quotes nothing of the body.

Bodies are inflated piece by piece while they come, and the inflater is told how much it may still yield. So
a bomb never holds more than the cap, is cut off as soon as it passes it, and no header of the exporter's
decides what we allocate. All pages together, until they are stored, stay below `all_pages_bytes_max`,
beyond which only small pages still pass (`PageMemory`).
"""

import asyncio
import errno
import http
import socket
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from isal import isal_zlib
from yarl import URL

from meterhall import __version__
from meterhall.collect.addresses import AddressRefused, Reach, target_url
from meterhall.model.target import Endpoint

# Contract 5.1, Prometheus 3.5 letter by letter.
ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,"
    "*/*;q=0.2"
)
GZIP_WINDOW_BITS: Final = 31
GZIP_MEMBERS_MAX: Final = 10_000
# The stubs of isal call its exception class an Exception instance.
_GZIP_ERRORS: Final = (cast("type[Exception]", isal_zlib.error), zlib.error, EOFError)


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Bounds of a fetch. Bytes count decoded pages, as Prometheus' body_size_limit does."""

    page_bytes_max: int = 10 * 1024 * 1024
    all_pages_bytes_max: int = 512 * 1024 * 1024
    small_page_bytes: int = 1024 * 1024
    # Pieces up to this size are inflated on the event loop: a hop to a thread would cost more.
    inline_gunzip_bytes_max: int = 16 * 1024
    keepalive_s: float = 180.0
    response_headers_max: int = 128


class FailureKind(StrEnum):
    """Why there is no page. The values name the outcome in our own metrics."""

    HTTP = "http_error"
    CONNECT = "connect_error"
    REFUSED = "address_refused"
    TIMEOUT = "timeout"
    UNREADABLE = "unreadable"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Page:
    """A body, decoded, and the Content-Type header as it came ("" if absent)."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Failure:
    """`reason` is one line without anything of the body; `http_status` is 0 unless kind is HTTP."""

    kind: FailureKind
    reason: str
    http_status: int = 0


class FetchFailed(Exception):
    """Carries a Failure from deep inside to `Fetcher.fetch`; nobody else sees it."""

    def __init__(self, kind: FailureKind, reason: str, http_status: int = 0) -> None:
        super().__init__(reason)
        self.failure = Failure(kind, reason, http_status)


class PageMemory:
    """Bytes of all pages in hand. Once they pass the budget, a page may not grow beyond `small`.

    So memory is bounded by the budget plus `small` for each concurrent fetch, and a few huge pages never
    make the ordinary ones fail. Used on the event loop only.
    """

    def __init__(self, budget: int, small: int) -> None:
        self.budget = budget
        self.small = small
        self.used = 0


class _Lease:
    """One page's share of the memory."""

    def __init__(self, memory: PageMemory) -> None:
        self._memory = memory
        self._held = 0

    def hold(self, page_bytes: int) -> None:
        """Sets the share. Raises FetchFailed where a growing page does not fit any more."""
        self._memory.used += page_bytes - self._held
        grows, self._held = page_bytes > self._held, page_bytes
        if grows and page_bytes > self._memory.small and self._memory.used > self._memory.budget:
            raise FetchFailed(FailureKind.LIMIT, "the server holds too many large pages now")


class Fetcher:
    """Fetches pages over kept-alive connections. Make it, use it and close it on one event loop."""

    def __init__(self, reach: Reach, settings: FetchSettings, workers: Executor) -> None:
        self._settings = settings
        self._workers = workers
        self._memory = PageMemory(settings.all_pages_bytes_max, settings.small_page_bytes)
        connector = aiohttp.TCPConnector(
            resolver=reach.resolver(),
            use_dns_cache=False,
            family=socket.AF_UNSPEC,
            socket_factory=reach.open_socket,
            # The collector bounds how many fetches run; a limit here would only hide waiting.
            limit=0,
            keepalive_timeout=settings.keepalive_s,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            max_headers=settings.response_headers_max,
        )

    @asynccontextmanager
    async def fetch(self, target: Endpoint) -> AsyncIterator[Page | Failure]:
        """One collection's page, or why there is none; the page counts as held until the block ends.

        Raises nothing of its own (only CancelledError passes).
        """
        lease = _Lease(self._memory)
        try:
            yield await self._outcome(target, lease)
        finally:
            lease.hold(0)

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def _outcome(self, target: Endpoint, lease: _Lease) -> Page | Failure:
        timeout_s = target.timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                return await self._get(target, timeout_s, lease)
        except FetchFailed as failed:
            return failed.failure
        except AddressRefused as refused:
            return Failure(FailureKind.REFUSED, str(refused))
        except TimeoutError as error:
            # The kernel's own ETIMEDOUT is a TimeoutError too; either way nothing came in time.
            waited = "connection timed out" if error.errno else f"timed out after {timeout_s:g} s"
            return Failure(FailureKind.TIMEOUT, waited)
        except (aiohttp.ClientError, OSError, HttpProcessingError, ValueError) as error:
            return _transport_failure(error)

    async def _get(self, target: Endpoint, timeout_s: float, lease: _Lease) -> Page:
        url = target_url(target.address, target.port, target.metrics_path)
        headers = {
            "User-Agent": f"Meterhall/{__version__}",
            "Accept": ACCEPT,
            "Accept-Encoding": "gzip",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{timeout_s:g}",
        }
        async with self._session.get(
            URL(url, encoded=True), headers=headers, allow_redirects=False
        ) as response:
            if response.status != http.HTTPStatus.OK:
                raise FetchFailed(FailureKind.HTTP, _status_line(response.status), response.status)
            body = await self._body(response, lease)
            return Page(body, response.headers.get("Content-Type", ""))

    async def _body(self, response: aiohttp.ClientResponse, lease: _Lease) -> bytes:
        limit = self._settings.page_bytes_max
        gzipped = _is_gzip(response.headers.getall("Content-Encoding", []))
        if response.content_length is not None and response.content_length > limit:
            raise _over_limit(limit)
        gunzip = Gunzip(limit) if gzipped else None
        read = 0
        # One buffer and not a list: of a body that trickles in, each byte would cost an object.
        body = bytearray()
        async for raw in response.content.iter_any():
            read += len(raw)
            body += raw if gunzip is None else await self._inflated(gunzip, raw)
            lease.hold(len(body))
            # The wire is counted as well: a gzip body can go on for ever and yield nothing.
            if max(read, len(body)) > limit:
                raise _over_limit(limit)
        if gunzip is not None:
            gunzip.finish()
        return bytes(body)

    async def _inflated(self, gunzip: "Gunzip", raw: bytes) -> bytes:
        if len(raw) <= self._settings.inline_gunzip_bytes_max:
            return gunzip.feed(raw)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, gunzip.feed, raw)


class Gunzip:
    """Inflates a gzip body of one or more members, fed in pieces, to at most `limit` bytes.

    Raises FetchFailed: LIMIT above the limit, UNREADABLE for anything that is not whole gzip.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = limit + 1
        self._members = 0
        self._inflater: Any = None

    def feed(self, raw: bytes) -> bytes:
        """What this piece of the body inflates to."""
        pieces: list[bytes] = []
        while raw:
            if self._inflater is None:
                self._members += 1
                if self._members > GZIP_MEMBERS_MAX:
                    many = f"the gzip body has over {GZIP_MEMBERS_MAX} members"
                    raise FetchFailed(FailureKind.LIMIT, many)
                self._inflater = isal_zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
            try:
                piece = self._inflater.decompress(raw, self._room)
            except _GZIP_ERRORS as error:
                raise FetchFailed(FailureKind.UNREADABLE, "the gzip body is damaged") from error
            pieces.append(piece)
            self._room -= len(piece)
            if self._room <= 0:
                raise _over_limit(self._limit)
            raw = b""
            if self._inflater.eof:
                raw, self._inflater = self._inflater.unused_data, None
        return b"".join(pieces)

    def finish(self) -> None:
        """The body has ended: it must have been whole."""
        if self._inflater is not None or self._members == 0:
            raise FetchFailed(FailureKind.UNREADABLE, "the gzip body ends too early")


def _is_gzip(encodings: list[str]) -> bool:
    codings = [coding.strip().lower() for line in encodings for coding in line.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return False
    if codings in (["gzip"], ["x-gzip"]):
        return True
    raise FetchFailed(
        FailureKind.UNREADABLE,
        "Content-Encoding is applied twice" if len(codings) > 1 else "unknown Content-Encoding",
    )


def _over_limit(limit: int) -> FetchFailed:
    return FetchFailed(FailureKind.LIMIT, f"the page is larger than {limit} bytes")


def _status_line(status: int) -> str:
    """`404 Not Found`: the standard phrase, because the exporter's own could be any text."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


_ERRNO_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.EHOSTDOWN: "host is down",
    errno.EADDRNOTAVAIL: "no local address or port is free",
    errno.EMFILE: "the server has too many open files",
    errno.ENFILE: "the server has too many open files",
}


# Not every system tells a name without addresses from one that does not exist.
_NO_SUCH_NAME: Final = frozenset(
    (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
)


def _transport_failure(error: Exception) -> Failure:
    """Whatever went wrong below HTTP, in our own words: the libraries' texts quote the wire."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            known = error.os_error.errno in _NO_SUCH_NAME
            reason = "name not found" if known else "the name cannot be resolved now"
            return Failure(FailureKind.CONNECT, reason)
        case aiohttp.ServerDisconnectedError():
            return Failure(FailureKind.CONNECT, "connection closed without an answer")
        case aiohttp.ClientPayloadError():
            return Failure(FailureKind.UNREADABLE, "the body ends too early or is not valid HTTP")
        case OSError():
            reason = _ERRNO_REASONS.get(error.errno or 0, "connection failed")
            return Failure(FailureKind.CONNECT, reason)
        case _:
            return Failure(FailureKind.UNREADABLE, "the answer is not valid HTTP")
