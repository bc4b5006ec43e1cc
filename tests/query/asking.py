"""Asking the engine in one line: a few series, a query, what comes back as plain Python."""

import numpy as np
from tests.query.memory import MonotonicClock

from meterhall.model.labels import Labels, make_labels
from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import ALL_FEATURES
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.fixed import FixedReader
from meterhall.query.result import QueryResult, ScalarResult, VectorResult

NOW_MS = 600_000


def reader(**series: float) -> FixedReader:
    """Series `name__label_value…` with one sample at NOW_MS: `x__i_1__j_a=3.0`."""
    found = {}
    for spelled, value in series.items():
        name, *pairs = spelled.split("__")
        labels = {"__name__": name, **dict(pair.split("_", 1) for pair in pairs)}
        found[make_labels(labels)] = (np.array([NOW_MS]), np.array([value], np.float64))
    return FixedReader(found)


def ask(data: FixedReader, query: str) -> QueryResult:
    """The instant answer at NOW_MS, every experimental feature allowed."""
    budget = Budget(QueryLimits(), MonotonicClock(), 60)
    expr = parse_expr(query, ALL_FEATURES)
    return Engine(EngineOptions()).instant(data, expr, query, NOW_MS, budget)


def values(data: FixedReader, query: str) -> list[tuple[Labels, float]] | float:
    """A vector's elements in their order, or a scalar."""
    result = ask(data, query).value
    if isinstance(result, ScalarResult):
        return result.value
    assert isinstance(result, VectorResult)
    return list(zip(result.labels, result.values.tolist(), strict=True))
