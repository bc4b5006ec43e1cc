"""What pushes and queries notice of a flush and a merge: one store, in this process, under a steady stream of both.

The store gets 10,000 series every 15 s, and upkeep only when it is told: after three hours, and then six times for two hours
at once, which it flushes (4.8 million samples), merges by two hours and by four (9.6 million, the longest here), and
writes the log anew. All the while one thread pushes a page of 500 series every 25 ms and waits until it is on disk, and
another reads the last quarter of an hour of 500 series every 25 ms, which is in memory all the while. Before and after it the
same is done without upkeep, so that what the machine does by itself is seen. Files are written by a process of their own, as
the service has them written; peak memory is this process' alone.
"""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from bench.system import BenchError
from bench.table import Table, figure
from meterhall.app.process import tune
from meterhall.model.labels import make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import RefArray, Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

_HOSTS, _SERIES = 20, 500
_STEP_MS = 15_000
_HOUR_MS = 3_600_000
_BEGIN_MS = 1_800_000_000_000 // (4 * _HOUR_MS) * 4 * _HOUR_MS
_PAUSE_S = 0.025
_QUIET_S = 15.0
# One upkeep takes a second or two, in which no percentile is worth its name.
_ROUNDS = 6
_TENANT = Tenant("kr", "bench")


@dataclass
class _DataClock:
    """As far as the samples have come."""

    time_ms: int = _BEGIN_MS

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic(self) -> float:
        return self.time_ms / 1000


@dataclass
class _Feed:
    """Pages of every host in turn, the next step after the last host's."""

    store: EmbeddedStore
    clock: _DataClock
    refs: list[RefArray] = field(default_factory=list)
    pages: int = 0

    def __post_init__(self) -> None:
        writer = self.store.writer(_TENANT)
        self.refs = [writer.intern(f"host-{host}", _labels(host)) for host in range(_HOSTS)]
        self._random = np.random.default_rng(1)
        self._values = [self._random.integers(0, 10**6, _SERIES) + 0.0 for _ in range(_HOSTS)]

    def push(self) -> None:
        """One page, on disk when it returns."""
        step, host = divmod(self.pages, _HOSTS)
        self.pages += 1
        self.clock.time_ms = _BEGIN_MS + step * _STEP_MS
        self._values[host] += self._random.integers(0, 500, _SERIES)
        row = Row(self.clock.time_ms, self.refs[host], self._values[host])
        said = self.store.writer(_TENANT).append([row])
        if said.forgotten or said.rejections:
            raise BenchError(f"the store refused a page: {said.rejections[:1]}")
        if self.pages % _HOSTS == 0:
            said.durable.result()

    def push_until(self, hours: float) -> None:
        while self.pages < hours * _HOUR_MS / _STEP_MS * _HOSTS:
            self.push()

    def push_durably(self) -> None:
        self.push()
        self.store.writer(_TENANT).append([]).durable.result()

    def query(self) -> None:
        """A quarter of an hour of one host's series."""
        host = self.pages % _HOSTS
        matchers = [Matcher(MatchOp.EQUAL, "instance", f"host-{host}")]
        now_ms = self.clock.time_ms
        selection = self.store.reader(_TENANT).select(matchers, now_ms - _HOUR_MS // 4, now_ms)
        read = sum(len(group.values) for group in selection.groups())
        if read != _SERIES:
            raise BenchError(f"a query found {read} series of {_SERIES}")


def run(work: Path) -> Table:
    """Milliseconds of a push and of a query, and peak memory, with and without upkeep."""
    tune()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    directory = work / "stalls"
    shutil.rmtree(directory, ignore_errors=True)
    clock = _DataClock()
    settings = StoreSettings(merged_span_ms=4 * _HOUR_MS, maintain_interval_s=1e6, apart=True)
    store = EmbeddedStore(directory, settings, clock)
    try:
        feed = _Feed(store, clock)
        feed.push_until(3.2)
        store.maintain()
        quiet, upkeep, afterwards = _Taken(), _Taken(), _Taken()
        quiet.beside(feed, lambda: time.sleep(_QUIET_S))
        for turn in range(_ROUNDS):
            feed.push_until(5.2 + 2 * turn)
            upkeep.beside(feed, store.maintain)
        afterwards.beside(feed, lambda: time.sleep(_QUIET_S))
        rows = [
            quiet.row("nothing else"),
            upkeep.row("a flush, merges, a checkpoint"),
            afterwards.row("nothing else, afterwards"),
        ]
    finally:
        store.close()
        shutil.rmtree(directory, ignore_errors=True)
    heads = ["beside", "s", "push p50", "p99", "max", "query p50", "p99 ", "max ", "peak MB"]
    return Table("Stalls: milliseconds of pushes and queries beside upkeep", heads, rows)


@dataclass
class _Taken:
    """Milliseconds that pushes and queries took, seconds in all, and the most memory meanwhile."""

    pushes: list[float] = field(default_factory=list)
    queries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0

    def beside(self, feed: _Feed, work: Callable[[], None]) -> None:
        """Pushes and queries while `work` is done. Raises BenchError where one of them fails."""
        done = threading.Event()
        failed: list[BaseException] = []

        def stream(act: Callable[[], None], into: list[float]) -> None:
            try:
                while not done.is_set():
                    begun = time.perf_counter()
                    act()
                    into.append((time.perf_counter() - begun) * 1e3)
                    done.wait(_PAUSE_S)
            except BaseException as error:
                failed.append(error)
                raise

        streams = [
            threading.Thread(target=stream, args=(feed.push_durably, self.pushes)),
            threading.Thread(target=stream, args=(feed.query, self.queries)),
        ]
        Path("/proc/self/clear_refs").write_text("5")
        begun = time.perf_counter()
        for each in streams:
            each.start()
        try:
            work()
        finally:
            self.seconds += time.perf_counter() - begun
            done.set()
            for each in streams:
                each.join()
        if failed:
            raise BenchError(f"a stream ended: {failed[0]!r}")
        self.peak_mb = max(self.peak_mb, _peak_mb())

    def row(self, title: str) -> list[str]:
        """One row of the table."""
        taken = [self.pushes, self.queries]
        percentiles = [
            figure(float(np.percentile(each, at))) for each in taken for at in (50, 99, 100)
        ]
        return [title, figure(self.seconds), *percentiles, figure(self.peak_mb)]


def _peak_mb() -> float:
    """Since the last `clear_refs`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def _labels(host: int) -> list[tuple[tuple[str, str], ...]]:
    return [
        make_labels(
            {"__name__": f"m{place % 100}", "i": str(place // 100), "instance": f"host-{host}"}
        )
        for place in range(_SERIES)
    ]
