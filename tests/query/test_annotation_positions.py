"""Warnings and infos with their positions, against those of a real Prometheus 3.5.3 over the same samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from meterhall.model.labels import make_labels
from meterhall.promql.durations import resolve
from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import ALL_FEATURES
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.fixed import FixedReader

TIME_MS = 1_700_000_040_000
ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "annotations.jsonl").read_text().splitlines()
]


class StillClock:
    def now_ms(self):
        return 0

    def monotonic(self):
        return 0.0


def samples(*values):
    times = 1_700_000_000_000 + 15_000 * np.arange(len(values), dtype=np.int64)
    return times, np.array(values, np.float64)


READER = FixedReader(
    {
        make_labels({"__name__": "g", "a": "1"}): samples(1, 2, 3, 2.5),
        make_labels({"__name__": "g", "a": "2"}): samples(1, 2, 3),
        make_labels({"__name__": "c_total", "a": "1"}): samples(1, 2, 3),
    }
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["query"])
def test_annotations_are_those_of_prometheus(row):
    query = row["query"]
    expr = resolve(parse_expr(query, ALL_FEATURES), TIME_MS, TIME_MS, 0)
    budget = Budget(QueryLimits(), StillClock(), 1.0)
    result = Engine(EngineOptions()).instant(READER, expr, query, TIME_MS, budget)
    assert sorted(result.warnings) == row["warnings"]
    assert sorted(result.infos) == row["infos"]
