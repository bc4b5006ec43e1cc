"""When the head tells newest samples at once; that it tells them right is checked in test_store."""

import threading

import pytest
from tests.tsdb.stores import NOW, TENANT, append, open_store, series

from meterhall.model.matcher import Matcher, MatchOp

A, B = series("m", host="a"), series("m", host="b")
ONLY_A = [Matcher(MatchOp.EQUAL, "__name__", "m"), Matcher(MatchOp.EQUAL, "host", "a")]
BOTH = ONLY_A[:1]
START, END = NOW - 300_000, NOW


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path)
    writer = opened.writer(TENANT)
    for labels in (A, B):
        append(writer, labels, *((NOW - 60_000 + step * 15_000, float(step)) for step in range(4)))
    yield opened
    opened.close()


def newest(store, matchers, start_ms=START, end_ms=END, series_max=2):
    return store.reader(TENANT).newest(matchers, start_ms, end_ms, series_max)


@pytest.mark.parametrize(
    ("matchers", "told"),
    [
        (ONLY_A, [(A, NOW - 15_000, 3.0)]),
        (BOTH, [(A, NOW - 15_000, 3.0), (B, NOW - 15_000, 3.0)]),
        ([*BOTH, Matcher(MatchOp.EQUAL, "host", "c")], []),
        ([*BOTH, Matcher(MatchOp.EQUAL, "rack", "")], None),
        ([*BOTH, Matcher(MatchOp.NOT_EQUAL, "host", "b")], None),
        ([*BOTH, Matcher(MatchOp.REGEX, "host", "a")], None),
        ([], None),
    ],
)
def test_matchers_that_are_lookups(store, matchers, told):
    assert newest(store, matchers) == told


@pytest.mark.parametrize(
    ("end_ms", "told"),
    [
        (NOW - 14_999, [(A, NOW - 15_000, 3.0)]),
        (NOW - 15_001, [(A, NOW - 30_000, 2.0)]),
        (NOW + 10_000_000, [(A, NOW - 15_000, 3.0)]),
        (NOW - 60_001, None),
    ],
)
def test_the_end_is_included(store, end_ms, told):
    assert newest(store, ONLY_A, end_ms=end_ms) == told


def test_a_series_without_a_sample_in_the_range_is_left_out(store):
    assert newest(store, ONLY_A, start_ms=NOW - 14_999) == []


def test_more_series_than_allowed_are_not_told(store):
    assert newest(store, BOTH, series_max=1) is None


def test_nobody_waits_for_the_lock(store):
    held, done = threading.Event(), threading.Event()
    reader = store.reader(TENANT)

    def hold():
        with reader.head.lock:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(10)
        assert newest(store, ONLY_A) is None
    finally:
        done.set()
        thread.join()
    assert newest(store, ONLY_A)


def test_a_late_sample_is_not_overlooked(store):
    writer = store.writer(TENANT)
    append(writer, A, (NOW - 20_000, 9.0))
    assert newest(store, ONLY_A) == [(A, NOW - 15_000, 3.0)]
    assert newest(store, ONLY_A, end_ms=NOW - 16_000) is None


def test_blocks_in_the_range_are_not_told(store):
    store.flush(NOW)
    assert newest(store, ONLY_A) is None
    append(store.writer(TENANT), A, (NOW + 1_000, 5.0))
    assert newest(store, ONLY_A, start_ms=NOW, end_ms=NOW + 1_000) == [(A, NOW + 1_000, 5.0)]
