"""The engine against the oracle: random small data, random well-typed trees, every step compared."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from tests.query.memory import MemoryReader, MonotonicClock, Series
from tests.query.oracle import INSTANTS, OVER_VALUES, RATES, OracleError, Undecided, World, evaluate

from meterhall.model.errors import QueryError
from meterhall.model.labels import make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import STALE
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Cardinality,
    MatrixSelector,
    NumberLiteral,
    Span,
    SubqueryExpr,
    UnaryExpr,
    VectorMatching,
    VectorSelector,
)
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.frame import SAME_LABELSET
from meterhall.query.result import GridResult

SPAN = Span(0, 1)
LOOKBACK_MS = 30_000
SUBQUERY_STEP_MS = 7_000
ENGINE = Engine(EngineOptions(LOOKBACK_MS, SUBQUERY_STEP_MS))
NAMES = ("a_total", "b")

values = st.one_of(
    st.integers(-3, 20).map(float),
    st.sampled_from([math.nan, math.inf, -math.inf, STALE, 0.1, 1e100, -1e100, 1.5e308, -0.0]),
    st.floats(-1e6, 1e6, allow_subnormal=False),
)


@st.composite
def series(draw: st.DrawFn) -> list[Series]:
    """Up to six series on up to three clocks, with holes."""
    clocks = draw(
        st.lists(
            st.lists(st.integers(0, 120), min_size=1, max_size=14, unique=True).map(sorted),
            min_size=1,
            max_size=3,
        )
    )
    found = {}
    for _ in range(draw(st.integers(0, 6))):
        labels = make_labels(
            {
                "__name__": draw(st.sampled_from(NAMES)),
                "i": draw(st.sampled_from("123")),
                "j": draw(st.sampled_from(["", "x", "y"])),
            }
        )
        clock = draw(st.sampled_from(clocks))
        kept = [t for t in clock if draw(st.integers(0, 9)) > 0]
        found[labels] = Series(labels, [(t * 1000, draw(values)) for t in kept])
    return list(found.values())


def number(value: float) -> NumberLiteral:
    return NumberLiteral(SPAN, value)


def at_and_offset(draw: st.DrawFn) -> dict[str, int | None]:
    return {
        "at_ms": draw(st.sampled_from([None, None, None, 40_000])),
        "offset_ms": draw(st.sampled_from([0, 0, 0, 10_000, -5_000])),
    }


@st.composite
def selectors(draw: st.DrawFn) -> VectorSelector:
    matcher = draw(
        st.sampled_from(
            [
                Matcher(MatchOp.EQUAL, "__name__", "a_total"),
                Matcher(MatchOp.EQUAL, "__name__", "b"),
                Matcher(MatchOp.REGEX, "__name__", "a_total|b"),
                Matcher(MatchOp.NOT_EQUAL, "j", "x"),
            ]
        )
    )
    return VectorSelector(SPAN, "", (matcher,), **at_and_offset(draw))


@st.composite
def ranges(draw: st.DrawFn, depth: int) -> MatrixSelector | SubqueryExpr:
    range_ms = draw(st.sampled_from([5_000, 20_000, 60_000, 61_001]))
    if depth <= 0 or draw(st.booleans()):
        return MatrixSelector(SPAN, draw(selectors()), range_ms)
    step_ms = draw(st.sampled_from([0, 5_000, 11_000]))
    inner = draw(vectors(depth - 1))
    return SubqueryExpr(SPAN, inner, range_ms, step_ms, **at_and_offset(draw))


def scalars(depth: int) -> st.SearchStrategy:
    plain = st.sampled_from([0.0, 1.0, 2.0, 0.5, -1.0, math.nan, math.inf]).map(number)
    if depth <= 0:
        return plain
    return st.one_of(
        plain,
        st.just(Call(SPAN, "time", ())),
        vectors(depth - 1).map(lambda node: Call(SPAN, "scalar", (node,))),
    )


@st.composite
def vectors(draw: st.DrawFn, depth: int):
    if depth <= 0:
        return draw(selectors())
    kind = draw(st.sampled_from(["range", "range", "call", "aggregate", "binary", "scalar", "-"]))
    if kind == "range":
        name = draw(st.sampled_from([*OVER_VALUES, *RATES, *INSTANTS, "quantile_over_time"]))
        operand = draw(ranges(depth - 1))
        first = (draw(scalars(depth - 1)),) if name == "quantile_over_time" else ()
        return Call(SPAN, name, (*first, operand))
    if kind == "call":
        name = draw(st.sampled_from(["abs", "ceil", "sgn", "timestamp", "absent"]))
        operand = draw(vectors(depth - 1))
        if name == "absent" and isinstance(operand, VectorSelector):
            return operand
        return Call(SPAN, name, (operand,))
    if kind == "aggregate":
        return draw(aggregations(depth))
    if kind == "scalar":
        return draw(with_scalar(depth))
    if kind == "-":
        return UnaryExpr(SPAN, "-", draw(vectors(depth - 1)))
    return draw(operations(depth))


@st.composite
def aggregations(draw: st.DrawFn, depth: int) -> AggregateExpr:
    op = draw(
        st.sampled_from(
            ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile", "topk"]
        )
    )
    parameter = draw(scalars(depth - 1)) if op in ("quantile", "topk") else None
    grouping = draw(st.sampled_from([(), ("i",), ("j",), ("i", "j"), ("__name__",)]))
    return AggregateExpr(
        SPAN, op, draw(vectors(depth - 1)), parameter, grouping, draw(st.booleans())
    )


ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISON = ["==", "!=", "<", "<=", ">", ">="]


@st.composite
def with_scalar(draw: st.DrawFn, depth: int) -> BinaryExpr:
    op = draw(st.sampled_from(ARITHMETIC + COMPARISON))
    sides = [draw(vectors(depth - 1)), draw(scalars(depth - 1))]
    if draw(st.booleans()):
        sides.reverse()
    return BinaryExpr(SPAN, op, *sides, None, op in COMPARISON and draw(st.booleans()))


@st.composite
def operations(draw: st.DrawFn, depth: int) -> BinaryExpr:
    op = draw(st.sampled_from([*ARITHMETIC, *COMPARISON, "and", "or", "unless"]))
    on, labels = draw(
        st.sampled_from(
            [(False, ()), (True, ("i",)), (True, ("i", "j")), (False, ("j",)), (True, ())]
        )
    )
    if op in ("and", "or", "unless"):
        card = Cardinality.MANY_TO_MANY
    else:
        card = draw(st.sampled_from([c for c in Cardinality if c != "many-to-many"]))
    include = ()
    if card in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY):
        include = draw(st.sampled_from([(), ("j",) if "j" not in labels or not on else ()]))
    matching = VectorMatching(card, on, labels, include)
    return_bool = op in COMPARISON and draw(st.booleans())
    left, right = draw(vectors(depth - 1)), draw(vectors(depth - 1))
    return BinaryExpr(SPAN, op, left, right, matching, return_bool)


def close(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if left == right:
        return True
    return abs(left - right) <= 1e-9 * max(abs(left), abs(right)) + 1e-9


def by_engine(data: list[Series], node, grid: tuple[int, int, int], *, shared: bool):
    budget = Budget(QueryLimits(), MonotonicClock(), 60)
    reader = MemoryReader(data, shared=shared)
    result = ENGINE.range(reader, node, "x" * 10, *grid, budget).value
    assert isinstance(result, GridResult)
    assert list(result.labels) == sorted(result.labels)
    present = np.ones(result.values.shape, bool) if result.present is None else result.present
    return [
        {
            labels: result.values[row, step]
            for row, labels in enumerate(result.labels)
            if present[row, step]
        }
        for step in range(len(result.times))
    ]


def refused(data: list[Series], node, grid: tuple[int, int, int], *, shared: bool) -> str:
    try:
        by_engine(data, node, grid, shared=shared)
    except QueryError as error:
        return str(error)
    return ""


def check(data: list[Series], node, grid: tuple[int, int, int], *, shared: bool) -> None:
    world = World(data, LOOKBACK_MS, SUBQUERY_STEP_MS)
    start, end, step = grid
    try:
        expected = [dict(evaluate(world, node, now)) for now in range(start, end + 1, step)]
    except Undecided:
        reject()
    except OracleError:
        with pytest.raises(QueryError):
            by_engine(data, node, grid, shared=shared)
        return
    refusal = refused(data, node, grid, shared=shared)
    if refusal == SAME_LABELSET or (refusal and "SubqueryExpr" in repr(node)):
        # Prometheus refuses equal label sets of a range function even where they never meet, and
        # fails for inner steps that no window of a subquery needs.
        return
    assert not refusal
    found = by_engine(data, node, grid, shared=shared)
    for want, got in zip(expected, found, strict=True):
        assert want.keys() == got.keys()
        for labels, value in want.items():
            assert close(value, got[labels]), (labels, value, got[labels])


GRIDS = st.sampled_from(
    [(30_000, 90_000, 10_000), (0, 120_000, 15_000), (31_234, 31_234, 1_000), (7, 99_999, 33_333)]
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(series(), vectors(3), GRIDS, st.booleans())
def test_engine_agrees_with_the_oracle(data, node, grid, shared):
    with np.errstate(all="ignore"):
        check(data, node, grid, shared=shared)
