"""Requests a second of one cheap query, at one and at eight connections.

The load comes from wrk, or where that can't be had from an asyncio client in a process of its own, which
takes a little more of the machine; both keep each connection busy with one request at a time.
"""

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import uvloop

from bench import peers
from bench.dataset import instance, make
from bench.remote_write import encode, send
from bench.system import HOST, BenchError, System, only
from bench.table import Table, figure, times_better
from meterhall.app.clock import SystemClock

CONNECTIONS = (1, 8)
SECONDS = 5
_KNOWN_SECONDS_MAX = 15.0


@dataclass(frozen=True)
class Rate:
    """What one run came to."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def run(systems: list[System], work: Path) -> Table:
    """The query is the newest value of one series that is being collected."""
    query = f'up{{instance="{instance(0)}"}}'
    for system in systems:
        _push_recent(system, work / "requests-recent")
    rows: list[list[str]] = []
    for connections in CONNECTIONS:
        rates: list[Rate] = []
        for system in systems:
            _wait_until_known(system, query)
            path = f"{system.prefix}/api/v1/query?{urlencode({'query': query})}"
            with only(system, systems):
                _generate(system, path, connections, 1)
                rates.append(_generate(system, path, connections, SECONDS))
        ours = rates[0]
        for system, rate in zip(systems, rates, strict=True):
            against = times_better(ours.requests_per_s, rate.requests_per_s, more_is_better=True)
            figures = map(figure, (rate.requests_per_s, rate.p50_ms, rate.p99_ms))
            rows.append([system.name, str(connections), *figures, against, str(rate.failed)])
    heads = ["system", "connections", "requests/s", "p50 ms", "p99 ms", "we are", "failed"]
    return Table("A cheap instant query over HTTP", heads, rows)


def _push_recent(system: System, file: Path) -> None:
    """One host's series over the last quarter of an hour, as if it were being collected."""
    data = make(1, 0.25)
    late_ms = SystemClock().now_ms() - int(data.times_ms.max())
    encode(replace(data, times_ms=data.times_ms + late_ms), file)
    sent = send(file, HOST, system.port, system.write_path, system.headers)
    if sent.refused:
        raise BenchError(f"{system.name} refused a push: {sent.refused}")


def _wait_until_known(system: System, query: str) -> None:
    """VictoriaMetrics shows samples after some seconds in which it runs."""
    deadline = time.monotonic() + _KNOWN_SECONDS_MAX
    while not system.instant(query):
        if time.monotonic() > deadline:
            raise BenchError(f"{system.name} does not know {query}")
        time.sleep(0.1)


def _generate(system: System, path: str, connections: int, seconds: int) -> Rate:
    try:
        program, environment = peers.wrk()
    except BenchError as error:
        print(f"without wrk ({error}): measuring with our own client", flush=True)
        return _with_own_client(system, path, connections, seconds)
    headers = [f"-H{name}: {value}" for name, value in system.headers.items()]
    url = f"http://{HOST}:{system.port}{path}"
    command = [str(program), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return parse_wrk(done.stdout)


def parse_wrk(said: str) -> Rate:
    """The figures of wrk's report with --latency."""
    found: dict[str, str] = {}
    failed = 0
    for line in said.splitlines():
        words = line.split()
        if words and words[0] in ("50%", "99%", "Requests/sec:"):
            found[words[0]] = words[1]
        elif line.strip().startswith("Non-2xx"):
            failed = int(words[-1])
    rate = float(found["Requests/sec:"])
    return Rate(rate, _milliseconds(found["50%"]), _milliseconds(found["99%"]), failed)


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(f"no time: {text!r}")


def _with_own_client(system: System, path: str, connections: int, seconds: int) -> Rate:
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}:{system.port}"]
    lines += [f"{name}: {value}" for name, value in system.headers.items()]
    request = "\r\n".join([*lines, "", ""])
    arguments = [str(system.port), str(connections), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.http_load", *arguments],
        input=request,
        capture_output=True,
        text=True,
        check=True,
    )
    count, failed, p50_s, p99_s, took = map(float, done.stdout.split())
    return Rate(count / took, p50_s * 1000, p99_s * 1000, int(failed))


class _Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, latencies: list[float]) -> None:
        self._request = request
        self._latencies = latencies
        self._received = b""
        self._sent_at = 0.0
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not _is_whole(self._received):
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self.failed += not self._received.startswith(b"HTTP/1.1 200")
        self._ask()

    def _ask(self) -> None:
        self._received = b""
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def _is_whole(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    if after:
        return len(body) >= int(after.split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")


async def _load(port: int, connections: int, seconds: float, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    clients = [_Client(request, latencies) for _ in range(connections)]
    begun = time.perf_counter()
    waiting = iter(clients)
    for _ in clients:
        await loop.create_connection(lambda: next(waiting), HOST, port)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begun
    latencies.sort()
    p50, p99 = (latencies[int((len(latencies) - 1) * quantile)] for quantile in (0.5, 0.99))
    print(len(latencies), sum(client.failed for client in clients), p50, p99, took)


if __name__ == "__main__":
    _port, _connections, _seconds = map(int, sys.argv[1:])
    uvloop.run(_load(_port, _connections, _seconds, sys.stdin.read().encode()))
