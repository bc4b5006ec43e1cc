"""Queries of death are refused or stopped (threats S13); the budget counts what is held."""

import threading
import time

import numpy as np
import pytest
from tests.query.memory import MonotonicClock
from tests.query.ways import ARRAYS, MACHINE, evaluated_by

from meterhall.model.errors import Overloaded, QueryCanceled, QueryError, QueryTimeout
from meterhall.promql.parser import parse_expr
from meterhall.query.budget import TOO_MANY_SAMPLES, Budget, QueryLimits, SharedMemory
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.fixed import FixedReader

ENGINE = Engine(EngineOptions())
HOUR_MS = 3_600_000


class StoppedClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds


def reader(series: int = 200, samples: int = 240) -> FixedReader:
    times = np.arange(samples, dtype=np.int64) * 15_000
    rng = np.random.default_rng(1)
    return FixedReader(
        {
            (("__name__", "x"), ("g", str(i % 10)), ("i", str(i))): (times, rng.random(samples))
            for i in range(series)
        }
    )


def budget(**limits: int) -> Budget:
    return Budget(QueryLimits(**limits), MonotonicClock(), 60)


def test_check_raises_once_the_deadline_passed():
    clock = StoppedClock()
    account = Budget(QueryLimits(), clock, 2.0)
    account.check()
    clock.seconds = 2.0
    with pytest.raises(QueryTimeout, match=r"^query timed out in expression evaluation$"):
        account.check()


def test_check_raises_after_cancel_from_another_thread():
    account = budget()
    thread = threading.Thread(target=account.cancel)
    thread.start()
    thread.join()
    with pytest.raises(QueryCanceled, match=r"^query was canceled in expression evaluation$"):
        account.check()


def test_hold_and_settle_count_what_is_in_memory():
    account = budget(samples_max=10)
    account.hold(6)
    account.settle(0, 2)
    assert (account.samples_held, account.samples_peak) == (2, 8)
    with pytest.raises(QueryError, match="too many samples"):
        account.hold(9)


@pytest.mark.parametrize(
    "query",
    [
        '{__name__=~".+"}[5y:1s]',
        'count_over_time({__name__=~".+"}[5y:1s])',
        "count_over_time(vector(1)[5y:10ms])",
        "sum(count_over_time(x[5y:1s]))",
        "max_over_time(count_over_time(x[1h:1m])[5y:1s])",
        "max_over_time(count_over_time(x[5y:1s])[1h:1m])",
        "max_over_time((max_over_time((max_over_time(x[60d:1s]))[60d:1s]))[60d:1s])",
    ],
)
def test_too_much_is_refused_before_it_is_made(query):
    account = budget()
    with pytest.raises(QueryError) as refusal:
        ENGINE.instant(reader(), parse_expr(query), query, HOUR_MS, account)
    assert str(refusal.value) == TOO_MANY_SAMPLES
    assert account.samples_peak < 1_000_000


@pytest.mark.parametrize(
    ("query", "samples_max"),
    [
        ("x", 199),
        ("x[10m]", 1_000),
        ("sum(x)", 199),
        ('count_values("v", x)', 250),
        ("max_over_time(x[10m:1s])", 20_000),
    ],
)
def test_samples_max_holds_at_every_node(query, samples_max):
    expr = parse_expr(query)
    with pytest.raises(QueryError, match=r"^query processing would load too many samples"):
        ENGINE.instant(reader(), expr, query, HOUR_MS - 15_000, budget(samples_max=samples_max))
    ENGINE.instant(reader(), expr, query, HOUR_MS - 15_000, budget(samples_max=1_000_000))


def test_a_many_to_many_blow_up_is_refused():
    """Every pair of series shares the empty signature, but the pairs are never built."""
    query = "x * on() group_left() x"
    with pytest.raises(QueryError):
        ENGINE.instant(reader(2_000, 2), parse_expr(query), query, 15_000, budget())


def test_nested_subqueries_cost_one_pass_a_level():
    query = "x"
    for _ in range(6):
        query = f"max_over_time(({query})[1h:1m])"
    result = ENGINE.instant(reader(20), parse_expr(query), query, HOUR_MS, budget())
    assert len(result.value.labels) == 20


@pytest.mark.parametrize(
    "query",
    [
        " or ".join(f'x{{i="{i % 200}"}}' for i in range(2_000)),
        "1" + " + 1" * 5_000,
        "-" * 90 + "x",
        "(" * 90 + "x" + ")" * 90,
        "abs(" * 90 + "x" + ")" * 90,
        "sum_over_time(" * 60 + "x" + "[1m:1m])" * 60,
    ],
    ids=["or", "plus", "minus", "parentheses", "calls", "subqueries"],
)
def test_deep_trees_are_evaluated_or_refused(query):
    """Long left chains do not recurse; what the parser lets pass in depth does not crash."""
    result = ENGINE.instant(reader(200, 2), parse_expr(query), query, 15_000, budget())
    assert result.samples_peak


def test_work_stops_soon_after_cancel():
    """A heavy query in another thread ends well before it would have finished."""
    big = reader(3_000, 1_000)
    query = "sum(stddev_over_time(x[1h])) + sum(deriv(x[1h])) + sum(quantile_over_time(0.5, x[1h]))"
    expr = parse_expr(query)
    account = budget()
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            ENGINE.range(big, expr, query, 0, 4 * HOUR_MS, 15_000, account)
        except QueryCanceled as stop:
            outcome.append(stop)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 10
    while not account.samples_read and time.monotonic() < deadline:
        time.sleep(0.01)
    account.cancel()
    thread.join(30)
    assert not thread.is_alive()
    assert outcome


class CountedClock(MonotonicClock):
    """A clock that knows how often it was read: once a check."""

    def __init__(self) -> None:
        self.readings = 0

    def monotonic(self) -> float:
        self.readings += 1
        return super().monotonic()


@pytest.mark.parametrize(
    "query",
    [
        "quantile_over_time(0.5, x[1h])",
        "mad_over_time(x[1h])",
        "stddev_over_time(x[1h])",
        "deriv(x[1h])",
        "predict_linear(x[1h], 60)",
        "double_exponential_smoothing(x[1h], 0.5, 0.5)",
    ],
)
def test_one_tile_of_long_windows_is_checked_on_the_way(query):
    """A timeout stops the work inside a tile: 128 series by 11,000 steps by 240 samples take seconds."""

    def readings(text: str) -> int:
        clock = CountedClock()
        expr = parse_expr(text, frozenset({"promql-experimental-functions"}))
        account = Budget(QueryLimits(), clock, 60)
        with evaluated_by(ARRAYS):
            ENGINE.range(reader(64), expr, text, HOUR_MS, HOUR_MS + 550_000, 1_000, account)
        return clock.readings

    assert readings(query) >= readings("count_over_time(x[1h])") + 5


@pytest.mark.parametrize(
    "query",
    [
        "rate(x[1h])",
        "max_over_time(x[1h])",
        "sum_over_time(x[1h])",
        "quantile_over_time(0.5, x[1h])",
    ],
)
def test_machine_code_is_left_on_the_way(query):
    """A call of a kernel can't be stopped, so that it gets only so many series."""

    def readings(step_ms: int) -> int:
        clock = CountedClock()
        account = Budget(QueryLimits(), clock, 60)
        with evaluated_by(MACHINE):
            expr = parse_expr(query)
            ENGINE.range(reader(64), expr, query, HOUR_MS, HOUR_MS + 550_000, step_ms, account)
        return clock.readings

    assert readings(100) >= readings(10_000) + 4


def test_queries_share_memory_and_give_it_back():
    memory = SharedMemory(1_000)
    first, second = (Budget(QueryLimits(), MonotonicClock(), 60, memory) for _ in range(2))
    first.reserve(10, 10)
    first.reserve(5, 5)
    with pytest.raises(Overloaded, match="too much memory"):
        second.reserve(5, 10)
    first.close()
    second.reserve(5, 10)


def test_a_many_to_many_match_is_refused_without_making_its_pairs():
    """A million pairs, each given a thousand labels, would take minutes."""
    names = ",".join(f"l{number}" for number in range(1_000))
    query = f"x * on() group_left({names}) x"
    account = Budget(QueryLimits(), MonotonicClock(), 5)
    with pytest.raises(QueryError, match="many-to-many matching not allowed"):
        ENGINE.instant(reader(1_000, 2), parse_expr(query), query, 15_000, account)


def test_making_the_labels_of_pairs_is_checked_on_the_way():
    names = ",".join(f"l{number}" for number in range(1_000))
    query = f"x * on(i) group_left({names}) x"
    clock = CountedClock()
    ENGINE.instant(
        reader(1_000, 2), parse_expr(query), query, 15_000, Budget(QueryLimits(), clock, 60)
    )
    plain = CountedClock()
    query = "x * on(i) x"
    ENGINE.instant(
        reader(10, 2), parse_expr(query), query, 15_000, Budget(QueryLimits(), plain, 60)
    )
    assert clock.readings > plain.readings + 2
