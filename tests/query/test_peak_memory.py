"""No query takes more than three times its own samples, as float64, and its answer: on a real store, head and blocks."""

import tracemalloc

import numpy as np
import pytest
from tests.query.memory import MonotonicClock
from tests.query.ways import MACHINE, evaluated_by
from tests.tsdb.stores import TENANT, StandingClock, open_store, series

from meterhall.model.samples import Row
from meterhall.promql.parser import parse_expr
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions

STEP_MS = 15_000
START_MS = 1_795_305_600_000
TARGETS, WIDTH, SCRAPES = 20, 100, 480
END_MS = START_MS + SCRAPES * STEP_MS
# What does not grow with the data: parsed labels, page buffers, kernels' own arrays.
FIXED_BYTES = 3 << 17
# Series that share their clock with no other: every window's edges are theirs alone.
LONE = 300


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = open_store(
        tmp_path_factory.mktemp("store"),
        StandingClock(END_MS),
        raw_rows_max=64,
        seal_rows=40,
        block_span_ms=30 * 60_000,
        merged_span_ms=24 * 3_600_000,
    )
    writer = opened.writer(TENANT)
    refs = [
        writer.intern(f"t{target}", [series("m", i=str(target), j=str(at)) for at in range(WIDTH)])
        for target in range(TARGETS)
    ]
    lone = [writer.intern(f"l{at}", [series("lone", i=str(at))]) for at in range(LONE)]
    values = np.cumsum(np.random.default_rng(1).integers(0, 50, (SCRAPES, WIDTH)), axis=0) * 1.0
    for scrape in range(SCRAPES):
        start_ms = START_MS + scrape * STEP_MS
        rows = [Row(start_ms + 7 * at, ref, values[scrape] + at) for at, ref in enumerate(refs)]
        rows += [Row(start_ms + 5 * at, ref, values[scrape, :1]) for at, ref in enumerate(lone)]
        writer.append(rows)
    opened.maintain()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "query",
    [
        "m",
        "rate(m[5m])",
        "sum by (j) (rate(m[5m]))",
        "avg_over_time(m[1h])",
        "max_over_time(m[1h])",
        "quantile_over_time(0.9, m[1h])",
        "m / on (i, j) m",
        "max_over_time(rate(m[5m])[30m:1m])",
        "topk(3, m)",
        "sum(rate(lone[5m]))",
        "lone",
    ],
)
@pytest.mark.parametrize("step_ms", [15_000, 60_000, 300_000])
def test_peak(store, query, step_ms):
    expr = parse_expr(query, frozenset())

    def ask():
        budget = Budget(QueryLimits(), MonotonicClock(), 60)
        reader = store.reader(TENANT)
        found = Engine(EngineOptions()).range(
            reader, expr, query, START_MS, END_MS, step_ms, budget
        )
        return budget.samples_read, found

    with evaluated_by(MACHINE):
        ask()
        tracemalloc.start()
        try:
            samples, answer = ask()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert samples >= SCRAPES * (LONE if "lone" in query else TARGETS * WIDTH)
    assert peak <= 3 * 8 * samples + answer.value.values.nbytes + FIXED_BYTES
