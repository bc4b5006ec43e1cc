"""The result cache against the evaluator itself: over random refreshes, with samples that come late."""

import secrets
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tsdb.stores import NOW, TENANT, StandingClock, append, open_store, series
from tests.web.prometheus.samples import T0, a_counter

from meterhall.model.tenant import Tenant
from meterhall.promql.durations import resolve
from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import ALL_FEATURES
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.result import GridResult
from meterhall.web.prometheus.result_cache import RangeQuestion, ResultCache

STEP = 15_000
BEGUN = NOW - 3_600_000
QUERIES = [
    "x",
    "x offset 1m",
    "x offset -1m",
    "rate(x[1m])",
    "sum by (i) (x)",
    "max_over_time(sum_over_time(x[30s])[2m:20s])",
    "x / on (i) y",
    "x and y",
    "count_over_time(x[45s]) * scalar(y)",
    "sum(timestamp(x))",
    "x or y",
    "x * start()",
]


class Asking:
    """One store, one cache, and how often the evaluator was asked for how much."""

    def __init__(self, directory, bytes_max=10**8):
        self.clock = StandingClock()
        self.store = open_store(directory, self.clock, out_of_order_window_ms=10**9)
        self.cache = ResultCache(bytes_max)
        self.evaluated = []

    def ask(self, text, start_ms, end_ms, step_ms=STEP, tenant=TENANT, *, cached=True):
        tree = parse_expr(text, ALL_FEATURES)
        expr = resolve(tree, start_ms, end_ms, step_ms)
        budget = Budget(QueryLimits(), self.clock, 60)
        reader = self.store.reader(tenant)

        def evaluate(first_ms, last_ms):
            self.evaluated.append((first_ms, last_ms))
            return Engine(EngineOptions(lookback_ms=60_000)).range(
                reader, expr, text, first_ms, last_ms, step_ms, budget
            )

        if not cached:
            return evaluate(start_ms, end_ms)
        question = RangeQuestion((tenant, text, step_ms, None), tree, start_ms, end_ms, step_ms)
        return self.cache.answer(question, self.store.changes(tenant), budget, evaluate)

    def push(self, name, *samples, tenant=TENANT, **labels):
        append(self.store.writer(tenant), series(name, **labels), *samples, wait=False)


@pytest.fixture
def asking(tmp_path):
    opened = Asking(tmp_path)
    yield opened
    opened.store.close()


def points(result):
    grid = result.value
    assert isinstance(grid, GridResult)
    return {
        (labels, int(time)): float(grid.values[row, column]).hex()
        for row, labels in enumerate(grid.labels)
        for column, time in enumerate(grid.times)
        if grid.present is None or grid.present[row, column]
    }


# Whole numbers, whose sums are exact in any order. On a step, or beside one.
sample = st.tuples(
    st.sampled_from("xy"), st.sampled_from("ab"), st.integers(0, 30), st.sampled_from([0, 7])
)
event = st.one_of(
    st.tuples(st.just("push"), st.lists(sample, min_size=1, max_size=3)),
    st.tuples(st.just("ask"), st.integers(0, 6), st.integers(12, 30), st.sampled_from([0, 0, 7])),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    opened = Asking(tmp_path_factory.mktemp("store"))
    yield opened
    opened.store.close()


@pytest.mark.parametrize("query", QUERIES)
@given(early=st.sets(sample), events=st.lists(event, min_size=2, max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_cached_answer_is_the_evaluators(shared, query, early, events):
    # Each example is a project of its own.
    tenant = Tenant("kr", secrets.token_hex(8))
    held = set()
    for kind, *what in [("push", sorted(early)), ("ask", 0, 30, 0), *events, ("ask", 0, 30, 0)]:
        if kind == "push":
            for name, i, slot, beside in set(what[0]) - held:
                time_ms = BEGUN + slot * STEP + beside
                shared.push(name, (time_ms, float(len(held))), i=i, tenant=tenant)
                held.add((name, i, slot, beside))
        else:
            start, end = (BEGUN + slot * STEP + what[2] for slot in what[:2])
            known, truth = (
                shared.ask(query, start, end, tenant=tenant, cached=way) for way in (True, False)
            )
            assert points(known) == points(truth)
            assert (known.warnings, known.infos) == (truth.warnings, truth.infos)
            assert known.value.times.tolist() == truth.value.times.tolist()


def test_what_a_flush_moves_is_still_known(asking):
    text, end = "count_over_time(x[1m])", BEGUN + 19 * STEP
    asking.push("x", *((BEGUN + slot * STEP, float(slot)) for slot in range(20)), i="a")
    before = asking.ask(text, BEGUN, end)
    assert asking.store.flush(BEGUN + 10 * STEP) == 10
    asking.evaluated.clear()
    assert points(asking.ask(text, BEGUN, end)) == points(before)
    assert asking.evaluated == []
    asking.push("x", (BEGUN + 5 * STEP + 1, 50.0), i="a")
    again = asking.ask(text, BEGUN, end)
    assert points(again) == points(asking.ask(text, BEGUN, end, cached=False))
    assert points(again) != points(before)


def test_a_refresh_costs_only_the_new_steps(asking):
    for slot in range(100):
        asking.push("x", (BEGUN + slot * STEP, float(slot)), i="a")
    start, end = BEGUN, BEGUN + 99 * STEP
    asking.ask("x", start, end)
    asking.push("x", (end + STEP, 100.0), i="a")
    asking.evaluated.clear()
    refreshed = asking.ask("x", start + STEP, end + STEP)
    assert asking.evaluated == [(end + STEP, end + STEP)]
    assert points(refreshed) == points(asking.ask("x", start + STEP, end + STEP, cached=False))
    asking.evaluated.clear()
    asking.ask("x", start + 5 * STEP, end)
    assert asking.evaluated == []


@pytest.mark.parametrize(
    ("text", "beside", "evaluated_from"),
    [
        ("x", 1, 51),
        ("x", 0, 50),
        ("x offset 1m", 0, 54),
        ("x offset -1m", 0, 46),
        ("x offset 1m + x offset -1m", 1, 47),
        ("sum_over_time(x[5m:15s] offset -30s)", 0, 48),
    ],
)
def test_a_late_sample_takes_the_steps_that_may_see_it(asking, text, beside, evaluated_from):
    for slot in range(100):
        asking.push("x", (BEGUN + slot * STEP + 3, float(slot)), i="a")
    end = BEGUN + 99 * STEP
    asking.ask(text, BEGUN, end)
    asking.push("x", (BEGUN + 50 * STEP + beside, -1.0), i="a")
    asking.evaluated.clear()
    again = asking.ask(text, BEGUN, end)
    assert asking.evaluated == [(BEGUN + evaluated_from * STEP, end)]
    assert points(again) == points(asking.ask(text, BEGUN, end, cached=False))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        # Before the kept answer, off its grid, another step, another text.
        (("x", 5, 20, STEP), ("x", 4, 20, STEP)),
        (("x", 5, 20, STEP), ("x", 5.5, 20, STEP)),
        (("x", 5, 20, STEP), ("x", 5, 20, 2 * STEP)),
        (("x", 5, 20, STEP), ("x ", 5, 20, STEP)),
        (("x", 5, 20, STEP), ("x", 21, 25, STEP)),
    ],
)
def test_another_question_is_evaluated(asking, first, then):
    for slot in range(30):
        asking.push("x", (BEGUN + slot * STEP, float(slot)), i="a")
    for text, start, end, step in (first, then):
        asking.evaluated.clear()
        start_ms, end_ms = BEGUN + int(start * STEP), BEGUN + end * STEP
        asking.ask(text, start_ms, end_ms, step)
        assert asking.evaluated == [(start_ms, end_ms)]


def test_tenants_have_entries_of_their_own(asking):
    other = Tenant("kr", "p2")
    asking.push("x", (BEGUN, 1.0), i="a")
    asking.push("x", (BEGUN, 2.0), i="a", tenant=other)
    ours = asking.ask("x", BEGUN, BEGUN)
    theirs = asking.ask("x", BEGUN, BEGUN, tenant=other)
    assert list(points(ours).values()) == [(1.0).hex()]
    assert list(points(theirs).values()) == [(2.0).hex()]
    assert len(asking.evaluated) == 2
    # A neighbour's late sample is none of ours.
    asking.push("x", (BEGUN - 1, 3.0), i="a", tenant=other)
    asking.ask("x", BEGUN, BEGUN)
    assert len(asking.evaluated) == 2


def test_an_answer_with_annotations_is_not_kept(asking):
    asking.push("x", (BEGUN, 1.0), (BEGUN + STEP, 2.0), i="a")
    text = "rate(x[1m])"
    for _ in range(2):
        result = asking.ask(text, BEGUN, BEGUN + 2 * STEP)
        assert result.infos
    assert len(asking.evaluated) == 2


def test_bytes_are_bounded_and_the_longest_unused_goes_first(tmp_path):
    asking = Asking(tmp_path, bytes_max=16_000)
    asking.push("x", (BEGUN, 1.0), i="a")
    for offset in (1, 2, 3):
        asking.ask(f"x offset {offset}ms", BEGUN, BEGUN + 99 * STEP)
    entries = asking.cache._entries
    size = asking.cache._bytes // len(entries)
    for offset in range(4, 40):
        asking.ask("x offset 1ms", BEGUN, BEGUN + 99 * STEP)
        asking.ask(f"x offset {offset}ms", BEGUN, BEGUN + 99 * STEP)
        assert asking.cache._bytes <= 16_000
        assert asking.cache._bytes == sum([size] * len(entries))
    assert (TENANT, "x offset 1ms", STEP, None) in entries
    assert (TENANT, "x offset 2ms", STEP, None) not in entries
    # What would take more than its share is not kept at all.
    asking.ask("x offset 50ms", BEGUN, BEGUN + 900 * STEP)
    assert (TENANT, "x offset 50ms", STEP, None) not in entries
    asking.store.close()


def test_limits_hold_for_steps_that_are_not_evaluated(asking):
    asking.push("x", (BEGUN, 1.0), i="a")
    asking.ask("x", BEGUN, BEGUN + 3 * STEP)
    with pytest.raises(Exception, match="too many samples"):
        _with_limit(asking, 2)


def _with_limit(asking, samples_max):
    budget = Budget(replace(QueryLimits(), samples_max=samples_max), asking.clock, 60)
    tree = parse_expr("x", ALL_FEATURES)
    question = RangeQuestion((TENANT, "x", STEP, None), tree, BEGUN, BEGUN + 3 * STEP, STEP)
    changes = asking.store.changes(TENANT)
    return asking.cache.answer(question, changes, budget, lambda _, __: pytest.fail("evaluated"))


def test_over_http_it_is_gone_past_and_a_revoked_key_gets_nothing(serve):
    server = serve()
    cache = ResultCache(10**7)
    object.__setattr__(server.backend, "results", cache)
    server.push([a_counter("m", {"i": "1"})])
    # A selector alone would be answered sooner than the cache is asked.
    asked = {"query": "-m", "start": T0, "end": T0 + 600, "step": 15}
    first = server.get("query_range", **asked)
    assert len(cache._entries) == 1
    entry = next(iter(cache._entries.values()))
    # A mark that only the cache can have.
    entry.grid.values[:] = 42.0
    marked = server.get("query_range", **asked)
    assert marked.data["result"][0]["values"][0][1] == "42"
    for parameters in ({"nocache": "1"}, {"stats": "all"}, {"lookback_delta": "4m"}):
        answer = server.get("query_range", **asked, **parameters)
        assert answer.data["result"] == first.data["result"]
    assert server.get("query_range", key="b", **asked).data["result"] == []
    status = server.call("GET", "/prometheus/api/v1/query_range?query=m", key=None).status
    assert status == 401
    assert np.all(entry.grid.values == 42.0)
