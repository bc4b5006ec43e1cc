"""The fetcher against real sockets, well-behaved and hostile (threats S7, S8, S10, S11)."""

import asyncio
import contextlib
import gzip
import socket
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collect.exporters import free_port
from tests.collect.servers import bomb, chunked_gzip, endless, raw, response, serving

from meterhall import __version__
from meterhall.collect import addresses
from meterhall.collect.addresses import AddressPolicy
from meterhall.collect.fetch import (
    ACCEPT,
    Failure,
    FailureKind,
    Fetcher,
    FetchFailed,
    FetchSettings,
    Gunzip,
    Page,
)

PAGE = b"# TYPE a counter\na 1\n" * 100
ALLOWED = AddressPolicy(allow_loopback=True)
CAP = 1024 * 1024
SETTINGS = FetchSettings(page_bytes_max=CAP)


async def fetch_once(target, policy=ALLOWED, settings=SETTINGS, times=1):
    with ThreadPoolExecutor(1) as workers:
        fetcher = Fetcher(policy, settings, workers)
        try:
            for _ in range(times):
                async with fetcher.fetch(target) as outcome:
                    pass
            assert fetcher._memory.used == 0
            return outcome
        finally:
            await fetcher.close()


def fetched(script, target_of, settings=SETTINGS, times=1, **changes):
    async def run():
        async with serving(script) as port:
            return await fetch_once(target_of(port=port, **changes), settings=settings, times=times)

    return asyncio.run(run())


def test_the_request_is_that_of_prometheus(target_of):
    requests = []
    outcome = fetched(
        raw(response(PAGE, content_type="text/plain; version=0.0.4"), requests=requests),
        target_of,
        metrics_path="/probe?a=b c",
        timeout_ms=1500,
    )
    assert outcome == Page(PAGE, "text/plain; version=0.0.4")
    request_line, *header_lines = requests[0].decode().strip().split("\r\n")
    assert request_line == "GET /probe?a=b%20c HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in header_lines)
    assert headers.pop("Host").startswith("127.0.0.1:")
    assert headers == {
        "User-Agent": f"Meterhall/{__version__}",
        "Accept": ACCEPT,
        "Accept-Encoding": "gzip",
        "X-Prometheus-Scrape-Timeout-Seconds": "1.5",
    }


def test_connections_are_kept_and_cookies_are_not(target_of):
    connections, requests = [], []

    async def script(reader, writer):
        connections.append(writer)
        await raw(response(PAGE, "Set-Cookie: a=b; Path=/"), keep_open=True, requests=requests)(
            reader, writer
        )

    assert fetched(script, target_of, times=5) == Page(PAGE, "text/plain")
    assert len(connections) == 1
    assert len(requests) == 5
    assert not any(b"ookie" in request for request in requests)


def test_a_kept_connection_that_the_exporter_closed_is_no_failure(target_of):
    assert fetched(raw(response(PAGE)), target_of, times=3) == Page(PAGE, "text/plain")


def test_proxies_of_the_environment_are_not_used(target_of, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetched(raw(response(PAGE)), target_of) == Page(PAGE, "text/plain")


HTTP = FailureKind.HTTP
LIMIT = FailureKind.LIMIT
UNREADABLE = FailureKind.UNREADABLE
CONNECT = FailureKind.CONNECT
TOO_LARGE = Failure(LIMIT, f"the page is larger than {CAP} bytes")
CUT = Failure(UNREADABLE, "the body ends too early or is not valid HTTP")
GZIP_HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        # Good, in every way that HTTP allows.
        (response(PAGE, content_type=""), Page(PAGE, "")),
        (response(b""), Page(b"", "text/plain")),
        (HEAD + PAGE, Page(PAGE, "text/plain")),
        (chunked_gzip(PAGE), Page(PAGE, "text/plain; version=0.0.4")),
        (response(gzip.compress(PAGE), "Content-Encoding: gzip"), Page(PAGE, "text/plain")),
        (response(gzip.compress(PAGE), "Content-Encoding: GZIP"), Page(PAGE, "text/plain")),
        (response(PAGE, "Content-Encoding: identity"), Page(PAGE, "text/plain")),
        (
            response(gzip.compress(PAGE) + gzip.compress(PAGE), "Content-Encoding: gzip"),
            Page(PAGE + PAGE, "text/plain"),
        ),
        (response(b"x" * CAP), Page(b"x" * CAP, "text/plain")),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(PAGE), Page(PAGE, "text/plain")),
        # Not to be parsed here: rubbish, NUL and endless lines are the parser's business.
        (response(b"\0rubbish\xff"), Page(b"\0rubbish\xff", "text/plain")),
        # Statuses. The exporter's own phrase is not repeated.
        (response(PAGE, status="404 Not Found"), Failure(HTTP, "404 Not Found", 404)),
        (response(PAGE, status="404 secret"), Failure(HTTP, "404 Not Found", 404)),
        (response(PAGE, status="503 x"), Failure(HTTP, "503 Service Unavailable", 503)),
        (response(PAGE, status="500 x"), Failure(HTTP, "500 Internal Server Error", 500)),
        (response(PAGE, status="799 x"), Failure(HTTP, "799", 799)),
        (response(PAGE, status="206 x"), Failure(HTTP, "206 Partial Content", 206)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Failure(HTTP, "204 No Content", 204)),
        # Redirects are errors, wherever they lead.
        *(
            (
                response(b"", f"Location: {to}", status=f"{status} Moved"),
                Failure(HTTP, f"{status} {phrase}", status),
            )
            for status, phrase in [
                (301, "Moved Permanently"),
                (302, "Found"),
                (307, "Temporary Redirect"),
                (308, "Permanent Redirect"),
            ]
            for to in ("http://169.254.169.254/", "file:///etc/passwd", "/metrics", "//evil/")
        ),
        # Encodings that are not undone.
        (
            response(gzip.compress(gzip.compress(PAGE)), "Content-Encoding: gzip, gzip"),
            Failure(UNREADABLE, "Content-Encoding is applied twice"),
        ),
        (
            response(PAGE, "Content-Encoding: gzip", "Content-Encoding: gzip"),
            Failure(UNREADABLE, "Content-Encoding is applied twice"),
        ),
        (
            response(PAGE, "Content-Encoding: br"),
            Failure(UNREADABLE, "unknown Content-Encoding"),
        ),
        (
            response(gzip.compress(PAGE)[:-1], "Content-Encoding: gzip"),
            Failure(UNREADABLE, "the gzip body ends too early"),
        ),
        (
            response(b"", "Content-Encoding: gzip"),
            Failure(UNREADABLE, "the gzip body ends too early"),
        ),
        (
            response(gzip.compress(PAGE)[:-8] + bytes(8), "Content-Encoding: gzip"),
            Failure(UNREADABLE, "the gzip body is damaged"),
        ),
        (
            response(PAGE, "Content-Encoding: gzip"),
            Failure(UNREADABLE, "the gzip body is damaged"),
        ),
        # Sizes: by the header before a byte is read, else by counting, and after inflating.
        (response(b"x" * (CAP + 1)), TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", TOO_LARGE),
        (HEAD + b"x" * (CAP + 1), TOO_LARGE),
        (GZIP_HEAD + gzip.compress(b"x" * (CAP + 1)), TOO_LARGE),
        (GZIP_HEAD + gzip.compress(b"x" * CAP) + gzip.compress(b"y"), TOO_LARGE),
        # Lengths that lie, and things that are not HTTP.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", CUT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", CUT),
        (b"", Failure(CONNECT, "connection closed without an answer")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Failure(UNREADABLE, "the answer is not valid HTTP")),
        (b"\x15\x03\x01\x00\x02\x02\x46", Failure(UNREADABLE, "the answer is not valid HTTP")),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
            Failure(UNREADABLE, "the answer is not valid HTTP"),
        ),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
            Failure(UNREADABLE, "the answer is not valid HTTP"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            Failure(UNREADABLE, "the answer is not valid HTTP"),
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_answers(answer, outcome, target_of):
    assert fetched(raw(answer), target_of) == outcome


NEVER = Failure(FailureKind.TIMEOUT, "timed out after 0.3 s")


@pytest.mark.parametrize(
    "script",
    [
        endless(b"", b"", 0.05),
        endless(b"HTTP/1.1 200 OK\r\n", b"", 0.05),
        endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", 0.05),
        endless(HEAD, b"x", 0.05),
        endless(HEAD, b"", 0.05),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    ],
    ids=["silent", "head", "length", "slow", "never closes", "slow chunks", "continues"],
)
def test_slow_answers_end_at_the_timeout(script, target_of):
    assert fetched(script, target_of, timeout_ms=300) == NEVER


@pytest.mark.parametrize(
    "script",
    [
        endless(HEAD, b"x" * 65536),
        endless(HEAD, b"a 1\n" * 10_000),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\na 1\n\r\n" * 1000),
    ],
    ids=["one line", "lines", "chunks"],
)
def test_endless_bodies_end_at_the_cap(script, target_of):
    outcome = fetched(script, target_of, timeout_ms=20_000)
    assert outcome == TOO_LARGE


def test_endless_gzip_that_yields_nothing_ends_too(target_of):
    empty = endless(GZIP_HEAD, gzip.compress(b"") * 1000)
    outcome = fetched(empty, target_of, timeout_ms=20_000)
    assert outcome == Failure(LIMIT, "the gzip body has over 10000 members")


def test_a_bomb_is_refused_within_twice_the_cap_of_memory(target_of):
    cap = 10 * 1024 * 1024
    settings = FetchSettings(page_bytes_max=cap)
    tracemalloc.start()
    try:
        # 10 MB of gzip stand for 10 GB; the sender stops when the fetcher hangs up at its cap.
        outcome = fetched(bomb(10 * 1024**3), target_of, settings=settings, timeout_ms=60_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome == Failure(LIMIT, f"the page is larger than {cap} bytes")
    assert peak < 2 * cap


def inflated(raw_bytes, piece_bytes, limit=CAP):
    gunzip = Gunzip(limit)
    pieces = [
        gunzip.feed(raw_bytes[at : at + piece_bytes])
        for at in range(0, len(raw_bytes), piece_bytes)
    ]
    gunzip.finish()
    return b"".join(pieces)


def test_gunzip_stops_at_its_limit():
    with pytest.raises(FetchFailed) as caught:
        inflated(gzip.compress(bytes(10**8)), 10**6)
    assert caught.value.failure == TOO_LARGE


def test_gzip_in_gzip_is_undone_once():
    inner = gzip.compress(bytes(10**8))
    assert inflated(gzip.compress(inner), 10**6) == inner


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(1, 300))
def test_gunzip_does_not_depend_on_how_the_body_is_cut(members, piece_bytes):
    packed = b"".join(gzip.compress(member) for member in members)
    assert inflated(packed, piece_bytes) == b"".join(members)


@given(st.binary(max_size=300), st.integers(1, 100), st.integers(0, 40), st.integers(0, 255))
def test_damaged_gzip_raises_nothing_but_its_error(body, piece_bytes, at, value):
    packed = bytearray(gzip.compress(body))
    packed[min(at, len(packed) - 1)] = value
    with contextlib.suppress(FetchFailed):
        inflated(bytes(packed), piece_bytes, limit=10_000)


def test_many_large_pages_at_once_are_bounded_and_small_ones_pass(target_of):
    settings = FetchSettings(
        page_bytes_max=CAP, all_pages_bytes_max=2 * CAP, small_page_bytes=CAP // 8
    )

    async def run():
        with ThreadPoolExecutor(1) as workers:
            fetcher = Fetcher(ALLOWED, settings, workers)
            async with (
                serving(raw(response(b"x" * CAP))) as large,
                serving(raw(response(PAGE))) as small,
            ):
                async with contextlib.AsyncExitStack() as held:
                    outcomes = [
                        await held.enter_async_context(fetcher.fetch(target_of(port=port)))
                        for port in (large, large, large, small)
                    ]
                async with fetcher.fetch(target_of(port=large)) as again:
                    outcomes.append(again)
            await fetcher.close()
            return outcomes

    outcomes = asyncio.run(run())
    assert [type(outcome) for outcome in outcomes] == [Page, Page, Failure, Page, Page]
    assert outcomes[2] == Failure(LIMIT, "the server holds too many large pages now")


def test_a_closed_port_refuses(target_of):
    outcome = asyncio.run(fetch_once(target_of(port=free_port())))
    assert outcome == Failure(CONNECT, "connection refused")


def test_a_reset_connection(target_of):
    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    assert fetched(script, target_of).kind is CONNECT


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (socket.EAI_NONAME, "name not found"),
        (socket.EAI_NODATA, "name not found"),
        (socket.EAI_AGAIN, "the name cannot be resolved now"),
        (socket.EAI_FAIL, "the name cannot be resolved now"),
    ],
)
def test_names_that_do_not_resolve(code, reason, target_of, monkeypatch):
    def getaddrinfo(host, port, **kwargs):
        raise socket.gaierror(code, "in the words of the C library")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)
    outcome = asyncio.run(fetch_once(target_of(address="gone.example")))
    assert outcome == Failure(CONNECT, reason)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("169.254.169.254", "address refused: cloud metadata"),
        ("::ffff:169.254.169.254", "address refused: cloud metadata"),
        ("127.0.0.1", "address refused: loopback"),
        ("localhost", "address refused: loopback"),
        ("2852039166", "the host is neither an IP address nor a name"),
        ("user@host", "the host is neither an IP address nor a name"),
    ],
)
def test_refused_addresses_are_never_connected_to(address, reason, target_of):
    async def run():
        touched = []

        async def script(reader, writer):
            touched.append(writer)

        async with serving(script) as port:
            outcome = await fetch_once(target_of(address=address, port=port), AddressPolicy())
        return outcome, touched

    assert asyncio.run(run()) == (Failure(FailureKind.REFUSED, reason), [])


def test_a_name_that_answers_differently_the_second_time_gains_nothing(target_of, monkeypatch):
    """Rebinding: the first lookup is fine, every later one is the metadata service."""
    lookups = []

    def getaddrinfo(host, port, **kwargs):
        address = "169.254.169.254" if lookups else "127.0.0.1"
        lookups.append(address)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)

    async def run():
        async with serving(raw(response(PAGE, "Connection: close"))) as port:
            target = target_of(address="rebind.example", port=port)
            with ThreadPoolExecutor(1) as workers:
                fetcher = Fetcher(ALLOWED, SETTINGS, workers)
                outcomes = []
                for _ in range(2):
                    async with fetcher.fetch(target) as outcome:
                        outcomes.append(outcome)
                await fetcher.close()
                return outcomes

    first, second = asyncio.run(run())
    assert first == Page(PAGE, "text/plain")
    assert second == Failure(FailureKind.REFUSED, "address refused: cloud metadata")
    # One lookup a connection: what was checked is what was connected to.
    assert lookups == ["127.0.0.1", "169.254.169.254"]


def test_slow_targets_do_not_delay_others(target_of):
    async def run():
        with ThreadPoolExecutor(1) as workers:
            fetcher = Fetcher(ALLOWED, SETTINGS, workers)
            async with (
                serving(endless(HEAD, b"x", 0.05)) as slow,
                serving(raw(response(PAGE), keep_open=True)) as quick,
            ):

                async def one(target):
                    async with fetcher.fetch(target) as outcome:
                        return outcome, time.monotonic()

                slow_ones = [
                    asyncio.create_task(one(target_of(port=slow, timeout_ms=2_000)))
                    for _ in range(50)
                ]
                await asyncio.sleep(0)
                outcome, quick_done = await one(target_of(port=quick))
                slow_done = [done for _, done in await asyncio.gather(*slow_ones)]
            await fetcher.close()
            return outcome, quick_done, slow_done

    outcome, quick_done, slow_done = asyncio.run(run())
    assert outcome == Page(PAGE, "text/plain")
    assert quick_done < min(slow_done)
