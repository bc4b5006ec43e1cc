"""Answers of two systems: what counts as the same."""

import orjson
import pytest
from bench.answers import difference


def vector(*entries):
    result = [{"metric": labels, "value": [time, value]} for labels, time, value in entries]
    return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def matrix(*entries):
    result = [{"metric": labels, "values": points} for labels, points in entries]
    return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def listed(*items):
    return orjson.dumps({"status": "success", "data": list(items)})


SAME = [
    (vector(({"a": "1"}, 5, "1")), vector(({"a": "1"}, 5, "1.0"))),
    (vector(({"a": "1"}, 5, "0.1")), vector(({"a": "1"}, 5, "0.10000000000000002"))),
    (vector(({"a": "1"}, 5, "NaN")), vector(({"a": "1"}, 5, "NaN"))),
    (
        vector(({"a": "1"}, 5, "1"), ({"b": "1"}, 5, "2")),
        vector(({"b": "1"}, 5, "2"), ({"a": "1"}, 5, "1")),
    ),
    (matrix(({}, [[1, "+Inf"], [2, "-Inf"]])), matrix(({}, [[1, "+Inf"], [2, "-Inf"]]))),
    (listed("a", "b"), listed("b", "a")),
    (listed({"x": "1", "y": "2"}), listed({"y": "2", "x": "1"})),
    (listed(), listed()),
    (matrix(), matrix()),
]

DIFFERENT = [
    (vector(({"a": "1"}, 5, "1")), vector(({"a": "1"}, 5, "1.00000001")), "1 for 1.00000001 at 5"),
    (vector(({"a": "1"}, 5, "1")), vector(({"a": "2"}, 5, "1")), "1 too many, 1 missing"),
    (vector(({"a": "1"}, 5, "0")), vector(({"a": "1"}, 5, "1e-300")), "0 for 1e-300"),
    (vector(({"a": "1"}, 5, "NaN")), vector(({"a": "1"}, 5, "1")), "NaN for 1"),
    (matrix(({}, [[1, "1"]])), matrix(({}, [[2, "1"]])), "point at 1 for 2"),
    (matrix(({}, [[1, "1"]])), matrix(({}, [[1, "1"], [2, "1"]])), "1 points for 2"),
    (matrix(({}, [[1, "+Inf"]])), matrix(({}, [[1, "-Inf"]])), "+Inf for -Inf"),
    (listed("a"), listed("a", "b"), "1 missing, such as b"),
    (listed(), listed({"x": "1"}), "1 missing"),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_same(ours, theirs):
    assert difference(ours, theirs) is None


@pytest.mark.parametrize(("ours", "theirs", "said"), DIFFERENT)
def test_different(ours, theirs, said):
    assert said in (difference(ours, theirs) or "")
