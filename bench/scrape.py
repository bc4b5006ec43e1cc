"""What collecting costs: ten pages of 10,000 series every second for half a minute, one system after the other."""

import gzip
import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.dataset import DataSet
from bench.exposition import fleet_page
from bench.server import Meterhall
from bench.system import HOST, BenchError, System, free_port
from bench.table import Table, figure, times_better

PAGES = 10
_VERSIONS = 10
_WARM_SECONDS = 8.0
_SECONDS = 30.0

Maker = Callable[[Path, tuple[str, ...]], System]


def run(data: DataSet, makers: list[Maker], work: Path) -> Table:
    """`makers` make a system under a directory, to collect the given HOST:PORT/PATH; ours first."""
    directory = work / "pages"
    directory.mkdir(parents=True, exist_ok=True)
    samples = 0
    for version in range(_VERSIONS):
        page = fleet_page(data, version)
        samples = sum(not line.startswith(b"#") for line in page.splitlines())
        (directory / f"{version}.txt").write_bytes(page)
        (directory / f"{version}.gz").write_bytes(gzip.compress(page, 6))
    costs: dict[str, tuple[float, float, float]] = {}
    for make in makers:
        with _page_server(directory) as port:
            targets = tuple(f"{HOST}:{port}/pages/{number}" for number in range(PAGES))
            system = make(work, targets)
            try:
                costs[system.name] = _cost(system, targets, port, samples)
            finally:
                system.stop()
    ours = next(iter(costs.values()))[1]
    rows = [
        [name, figure(rate), figure(cpu), figure(memory), times_better(ours, cpu)]
        for name, (rate, cpu, memory) in costs.items()
    ]
    heads = ["system", "pages/s", "CPU s per million samples", "memory after, MB", "we are"]
    title = f"Collecting {PAGES} pages of {samples:,} series every second"
    return Table(title, heads, rows, ["Pages are gzipped for who accepts that."])


def _cost(
    system: System, targets: tuple[str, ...], port: int, samples: int
) -> tuple[float, float, float]:
    """Pages a second, processor seconds for a million samples, and megabytes at the end."""
    system.clean()
    system.start()
    if isinstance(system, Meterhall):
        system.collect(targets)
    time.sleep(_WARM_SECONDS)
    pages, cpu, begun = _served(port), system.cpu_seconds(), time.perf_counter()
    time.sleep(_SECONDS)
    cpu = system.cpu_seconds() - cpu
    pages, took = _served(port) - pages, time.perf_counter() - begun
    up = system.instant("count(up{job=~'page-.*'} == 1)")
    if not pages or not up or int(up[0]["value"][1]) != PAGES:
        raise BenchError(f"{system.name} did not collect: {pages} pages, up: {up}")
    return pages / took, cpu / (pages * samples) * 1e6, system.memory().now_mb


def _served(port: int) -> int:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", "/count")
    return int(connection.getresponse().read())


@contextmanager
def _page_server(directory: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "bench.page_server", str(port), str(directory)]
    server = subprocess.Popen(command)
    try:
        while True:
            try:
                _served(port)
                break
            except OSError:
                if server.poll() is not None:
                    raise BenchError("the page server does not start") from None
                time.sleep(0.05)
        yield port
    finally:
        server.kill()
        server.wait()
