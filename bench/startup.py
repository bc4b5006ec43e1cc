"""Time from exec to the first 200 of /-/ready: with nothing stored, and after kill -9 with the data set."""

import statistics
import time

from bench.dataset import instance
from bench.fleet import START_MS
from bench.system import BenchError, System, only
from bench.table import Table, figure, times_better

_ROUNDS = 3
# VictoriaMetrics writes what is in memory every five seconds; killed earlier it has nothing to start with.
_BEFORE_KILL_SECONDS = 8.0


def empty(system: System) -> float:
    """Median of some starts on a fresh directory; the system is stopped after it."""
    times: list[float] = []
    for _ in range(_ROUNDS):
        system.clean()
        times.append(system.start())
        system.stop()
    return statistics.median(times)


def after_kill(system: System, systems: list[System], hours: float) -> tuple[float, float]:
    """Seconds until ready, and until the first answer, of a loaded system that is killed."""
    query, time_s = f'up{{instance="{instance(0)}"}}', START_MS // 1000 + int(hours * 3600) - 15
    with only(system, systems):
        time.sleep(_BEFORE_KILL_SECONDS)
        system.kill()
        ready = system.start()
        begun = time.perf_counter()
        if not system.instant(query, time_s):
            raise BenchError(f"{system.name} lost {query} by kill -9")
        return ready, ready + time.perf_counter() - begun


def run(times: dict[str, tuple[float, float, float]]) -> Table:
    """`times`: empty, ready and answering after kill -9, of each system; ours is the first."""
    ours = next(iter(times.values()))
    titles = ("empty, ready", "after kill -9, ready", "after kill -9, first answer")
    rows = []
    for at, title in enumerate(titles):
        figures = [of[at] for of in times.values()]
        ratios = [times_better(ours[at], value) for value in figures[1:]]
        rows.append([title, *map(figure, figures), *ratios])
    heads = ["seconds", *times, *(f"vs {name}" for name in list(times)[1:])]
    return Table("Start", heads, rows)
