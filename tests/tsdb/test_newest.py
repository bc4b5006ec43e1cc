"""When the head tells newest samples at once; that it tells them right is checked in test_store."""

import threading

import pytest
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.matcher import Matcher, MatchOp

A, B = series("m", host="a"), series("m", host="b")
ONLY_A = [Matcher(MatchOp.EQUAL, "__name__", "m"), Matcher(MatchOp.EQUAL, "host", "a")]
BOTH = ONLY_A[:1]
START, END = NOW - 300_000, NOW


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path, raw_rows_max=64, seal_rows=40)
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
        (NOW - 60_001, []),
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


def test_blocks_are_told_once_they_are_in_memory(store):
    store.flush(NOW)
    assert newest(store, BOTH) is None
    assert len(dump(store, matchers=BOTH)) == 2
    assert sorted(newest(store, BOTH)) == [(A, NOW - 15_000, 3.0), (B, NOW - 15_000, 3.0)]
    assert newest(store, BOTH, series_max=1) is None
    append(store.writer(TENANT), A, (NOW + 1_000, 5.0))
    told = newest(store, BOTH, end_ms=NOW + 1_000)
    assert sorted(told) == [(A, NOW + 1_000, 5.0), (B, NOW - 15_000, 3.0)]


def test_series_of_head_and_blocks_count_together(store):
    store.flush(NOW)
    append(store.writer(TENANT), series("m", host="c"), (NOW, 5.0))
    assert len(dump(store, matchers=BOTH)) == 3
    assert newest(store, BOTH) is None
    assert len(newest(store, BOTH, series_max=3)) == 3


@pytest.mark.parametrize(("absent", "told"), [(7, True), (8, False)])
def test_only_a_few_absent_cells_are_passed(store, absent, told):
    """Rows of b alone leave absent cells of a on the same clock."""
    writer = store.writer(TENANT)
    append(writer, A, (NOW, 9.0))
    append(writer, B, *((NOW + step, 1.0) for step in range(1, absent + 1)))
    found = newest(store, ONLY_A, end_ms=NOW + 100)
    assert found == ([(A, NOW, 9.0)] if told else None)


def test_many_series_are_told_of_the_head_alone(store):
    writer = store.writer(TENANT)
    names = [Matcher(MatchOp.EQUAL, "__name__", "many")]
    for number in range(20):
        append(writer, series("many", host=str(number)), (NOW, float(number)), clock=str(number))
    assert sorted(value for _, _, value in newest(store, names, series_max=20)) == list(range(20))
    assert newest(store, names, series_max=19) is None
    store.flush(NOW + 3_600_000)
    assert len(dump(store, matchers=names)) == 20
    assert newest(store, names, series_max=20) is None
