"""Where the time of our slowest queries goes: the store that was loaded, opened in this process, and cProfile."""

import cProfile
import time
from pathlib import Path
from typing import Any

from bench.queries import Query
from bench.server import REGION
from bench.table import Table, figure
from meterhall.app.clock import SystemClock
from meterhall.compiled.loading import LOADER
from meterhall.model.tenant import Tenant
from meterhall.promql.parser import parse_expr
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.result import QueryResult
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore
from meterhall.web.encode import Notes, encode_query

_SLOWEST = 5
_RUNS = 5
_FUNCTIONS = 4
_SOURCE = "meterhall/"
_HUNDRED_YEARS_MS = 100 * 365 * 86_400_000
_TIMEOUT_S = 120.0


def run(store: Path, project: str, asked: list[Query]) -> Table:
    """Of the slowest queries, the functions whose own time, and that of what they call outside of our code, is longest."""
    LOADER.wait()
    settings = StoreSettings(retention_ms=_HUNDRED_YEARS_MS, maintain_interval_s=_TIMEOUT_S)
    opened = EmbeddedStore(store, settings, SystemClock())
    try:
        evaluated = [query for query in asked if dict(query.parameters).get("query")]
        taken = {query.id: _seconds(opened, project, query) for query in evaluated}
        slowest = sorted(evaluated, key=lambda query: -taken[query.id])[:_SLOWEST]
        rows = [
            [
                *(query.id, query.title, query.step, figure(taken[query.id] * 1000)),
                _places(opened, project, query),
            ]
            for query in slowest
        ]
    finally:
        opened.close()
    title = "The slowest queries, and where their time goes"
    note = (
        "In process, one thread's processor time, the profiler's own cost included in the shares."
    )
    return Table(title, ["id", "question", "step", "ms", "functions"], rows, [note])


def _seconds(store: EmbeddedStore, project: str, query: Query) -> float:
    """The best of some runs, after an unmeasured one."""
    _answer(store, project, query)
    times = []
    for _ in range(_RUNS):
        begun = time.thread_time()
        _answer(store, project, query)
        times.append(time.thread_time() - begun)
    return min(times)


def _answer(store: EmbeddedStore, project: str, query: Query) -> bytes:
    values = dict(query.parameters)
    expr = parse_expr(values["query"], frozenset())
    found = _evaluated(store.reader(Tenant(REGION, project)), expr, values)
    return b"".join(encode_query(found.value, Notes(found.warnings, found.infos)))


def _evaluated(reader: Any, expr: Any, values: dict[str, str]) -> QueryResult:
    budget = Budget(QueryLimits(), SystemClock(), _TIMEOUT_S)
    engine, text = Engine(EngineOptions()), values["query"]
    if "time" in values:
        return engine.instant(reader, expr, text, int(values["time"]) * 1000, budget)
    start, end, step = (int(values[name]) * 1000 for name in ("start", "end", "step"))
    return engine.range(reader, expr, text, start, end, step, budget)


def _places(store: EmbeddedStore, project: str, query: Query) -> str:
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    for _ in range(_RUNS):
        _answer(store, project, query)
    profile.disable()
    own: dict[str, float] = {}
    whole = 0.0
    for entry in profile.getstats():
        whole += entry.inlinetime
        name = _name(entry.code)
        if name is not None:
            outside = [each.inlinetime for each in entry.calls or () if _name(each.code) is None]
            own[name] = own.get(name, 0.0) + entry.inlinetime + sum(outside)
    longest = sorted(own.items(), key=lambda item: -item[1])[:_FUNCTIONS]
    return ", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in longest)


def _name(code: Any) -> str | None:
    """Of a function of ours; None for any other."""
    file = getattr(code, "co_filename", "")
    if _SOURCE not in file:
        return None
    return f"{file.rpartition(_SOURCE)[2].removesuffix('.py')}.{code.co_name}"
