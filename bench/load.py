"""The data set pushed into every system over remote write, and what that costs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.dataset import make
from bench.remote_write import Sent, encode, send
from bench.system import HOST, BenchError, Memory, System, only
from bench.table import Table, figure, times_better

_NOTE = (
    "Processor seconds include the background work until the system is quiet. An acknowledgement "
    "means on disk for us, in the log but not synced for Prometheus, in memory for VictoriaMetrics. "
    "Prometheus' bytes are of its blocks alone, without log and head. Memory at most is the sum over our "
    "two processes, each at its own highest."
)


@dataclass(frozen=True)
class Loading:
    """Of one system."""

    sent: Sent
    cpu_seconds: float
    memory: Memory
    bytes_per_sample: float

    @property
    def rate(self) -> float:
        return self.sent.samples / self.sent.seconds

    @property
    def cpu_per_million(self) -> float:
        return self.cpu_seconds / self.sent.samples * 1e6


def requests_file(work: Path, hosts: int, hours: float) -> Path:
    """The data set of that size as requests; made once and kept."""
    file = work / f"requests-{hosts}x{hours:g}"
    if not file.exists():
        print(f"making the data set: {hosts} hosts, {hours:g} hours", flush=True)
        work.mkdir(parents=True, exist_ok=True)
        encode(make(hosts, hours), file)
    return file


def load(system: System, systems: list[System], file: Path) -> Loading:
    """Starts the system anew with that data in it. It goes on running."""
    system.clean()
    system.start()
    with only(system, systems):
        system.forget_peak()
        before = system.cpu_seconds()
        sent = send(file, HOST, system.port, system.write_path, system.headers)
        if sent.refused:
            raise BenchError(f"{system.name} refused a push: {sent.refused}")
        # A process that has helped meanwhile may be gone when all is quiet, and its peak with it.
        loading = system.memory()
        system.wait_until_quiet()
        cpu, quiet = system.cpu_seconds() - before, system.memory()
        memory = Memory(quiet.now_mb, max(loading.peak_mb, quiet.peak_mb))
        system.settle()
        system.wait_until_quiet()
    return Loading(sent, cpu, memory, system.bytes_per_sample(sent.samples))


@dataclass(frozen=True)
class _Row:
    title: str
    read: Callable[[Loading], float]
    more_is_better: bool = False


_ROWS = (
    _Row("samples/s, one connection", lambda one: one.rate, more_is_better=True),
    _Row("CPU seconds per million samples", lambda one: one.cpu_per_million),
    _Row("request p50, ms", lambda one: one.sent.latency_ms(0.5)),
    _Row("request p99, ms", lambda one: one.sent.latency_ms(0.99)),
    _Row("memory after, MB", lambda one: one.memory.now_mb),
    _Row("memory at most, MB", lambda one: one.memory.peak_mb),
    _Row("bytes a sample on disk, settled", lambda one: one.bytes_per_sample),
)


def run(loadings: dict[str, Loading]) -> Table:
    """A row a figure, a column a system; ours is the first."""
    ours, *_ = loadings.values()
    rows = []
    for row in _ROWS:
        figures = [row.read(loading) for loading in loadings.values()]
        against = [
            times_better(figures[0], theirs, more_is_better=row.more_is_better)
            for theirs in figures[1:]
        ]
        rows.append([row.title, *map(figure, figures), *against])
    heads = ["", *loadings, *(f"vs {name}" for name in list(loadings)[1:])]
    title = f"Remote write of {ours.sent.samples:,} samples, 2,000 series a request"
    return Table(title, heads, rows, [_NOTE])
