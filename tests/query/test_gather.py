"""However a store lays its series out, the answer is the same to the bit."""

import numpy as np
import pytest
from tests.query.memory import MemoryReader, MonotonicClock, Series
from tests.query.ways import WAYS, evaluated_by

from meterhall.model.samples import STALE
from meterhall.promql.parser import parse_expr
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.frame import Steps

QUERIES = [
    "x",
    "timestamp(x)",
    "x offset 45s",
    "x @ 400",
    "rate(x[1m])",
    "irate(x[1m])",
    "sum_over_time(x[1m])",
    "avg_over_time(x[2m])",
    "max_over_time(x[1m])",
    "stddev_over_time(x[1m])",
    "quantile_over_time(0.3, x[1m])",
    "changes(x[5m])",
    "deriv(x[1m])",
    "last_over_time(x[1m] @ 300)",
    "max_over_time(rate(x[1m])[2m:20s])",
    "sum by (g) (rate(x[1m]))",
]


def series(holes: float, stale: float) -> list[Series]:
    """Twelve series on one clock; shares of their samples are missing or markers."""
    rng = np.random.default_rng(3)
    found = []
    for index in range(12):
        values = np.cumsum(rng.integers(0, 9, 60)).astype(float)
        values[30:] -= values[30] * (index % 2)
        samples = []
        for k, value in enumerate(values.tolist()):
            if rng.random() >= holes:
                samples.append((k * 10_007, STALE if rng.random() < stale else value))
        labels = (("__name__", "x"), ("g", str(index % 3)), ("i", str(index)))
        found.append(Series(labels, samples))
    return found


def answer(data: list[Series], query: str, step_ms: int, *, shared: bool):
    budget = Budget(QueryLimits(), MonotonicClock(), 60)
    reader = MemoryReader(data, shared=shared)
    engine = Engine(EngineOptions(lookback_ms=60_000))
    return engine.range(reader, parse_expr(query), query, 0, 660_000, step_ms, budget).value


def masks(*grids):
    """Where each has points."""
    return [
        np.ones(grid.values.shape, bool) if grid.present is None else grid.present for grid in grids
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(("holes", "stale"), [(0, 0), (0.1, 0), (0, 0.1), (0.2, 0.2)])
# Of twenty seconds, the ranges are multiples.
@pytest.mark.parametrize("step_ms", [17_000, 20_000])
def test_layouts_agree(query, holes, stale, step_ms, way):
    data = series(holes, stale)
    with evaluated_by(way):
        together, apart = (answer(data, query, step_ms, shared=shared) for shared in (True, False))
    assert together.labels == apart.labels
    assert together.labels
    here, there = masks(together, apart)
    np.testing.assert_array_equal(here, there)
    # Means in a group may come from running sums and else from single ones: the last bit may differ.
    np.testing.assert_allclose(
        together.values[here], apart.values[here], rtol=1e-15 if "avg" in query else 0
    )


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(("holes", "stale"), [(0, 0), (0.1, 0.1)])
def test_ways_agree(query, holes, stale):
    data, answers = series(holes, stale), []
    for way in WAYS:
        with evaluated_by(way):
            answers.append(answer(data, query, 17_000, shared=True))
    arrays, machine = answers
    assert arrays.labels == machine.labels
    here, there = masks(arrays, machine)
    np.testing.assert_array_equal(here, there)
    np.testing.assert_allclose(
        machine.values[here], arrays.values[here], rtol=1e-15 if "avg" in query else 0
    )


def test_steps_know_their_end():
    steps = Steps(10, 5, 4)
    assert (steps.end_ms, steps.times().tolist()) == (25, [10, 15, 20, 25])
