"""When a store has all samples of a few series, or lists of labels, at hand; that it tells samples right is checked in test_store."""

import pytest
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import STALE
from meterhall.tsdb import at_hand, head_at_hand

A, B = series("m", host="a"), series("m", host="b")
ONLY_A = [Matcher(MatchOp.EQUAL, "__name__", "m"), Matcher(MatchOp.EQUAL, "host", "a")]
BOTH = ONLY_A[:1]
START, END = NOW - 300_000, NOW + 300_000
ROWS = 4


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path, raw_rows_max=8, seal_rows=ROWS)
    writer = opened.writer(TENANT)
    for labels in (A, B):
        append(writer, labels, *rows(NOW - 60_000, ROWS))
    yield opened
    opened.close()


def rows(start_ms, count):
    return [(start_ms + step * 15_000, float(step)) for step in range(count)]


def held(store, matchers=ONLY_A, start_ms=START, end_ms=END, series_max=2):
    found = store.reader(TENANT).at_hand(matchers, start_ms, end_ms, series_max)
    if found is None:
        return None
    return {
        labels: list(zip(times.tolist(), values.tolist(), strict=True))
        for labels, times, values in found
    }


def test_both_ends_of_the_range_are_included(store):
    assert held(store, BOTH) == {A: rows(NOW - 60_000, 4), B: rows(NOW - 60_000, 4)}
    inside = held(store, start_ms=NOW - 45_000, end_ms=NOW - 30_000)
    assert inside == {A: [(NOW - 45_000, 1.0), (NOW - 30_000, 2.0)]}
    assert held(store, start_ms=NOW - 44_999, end_ms=NOW - 30_001) == {}


def test_a_series_that_has_nothing_there_is_left_out(store):
    append(store.writer(TENANT), A, (NOW, 9.0))
    assert held(store, BOTH, start_ms=NOW) == {A: [(NOW, 9.0)]}
    assert held(store, BOTH, start_ms=NOW + 1) == {}


def test_a_marker_is_told_and_an_absent_cell_is_not(store):
    append(store.writer(TENANT), B, (NOW, STALE))
    assert len(held(store, BOTH)[B]) == ROWS + 1
    assert len(held(store, BOTH)[A]) == ROWS


@pytest.mark.parametrize(
    "matchers",
    [
        [],
        [*BOTH, Matcher(MatchOp.EQUAL, "rack", "")],
        [*BOTH, Matcher(MatchOp.NOT_EQUAL, "host", "b")],
        [*BOTH, Matcher(MatchOp.REGEX, "host", "a")],
    ],
)
def test_what_takes_searching_is_not_told(store, matchers):
    assert held(store, matchers) is None


def test_too_many_series_or_samples_are_not_told(store, monkeypatch):
    assert held(store, BOTH, series_max=1) is None
    monkeypatch.setattr(at_hand, "_SAMPLES_MAX", 2 * ROWS - 1)
    assert held(store, BOTH) is None
    assert held(store)


@pytest.mark.parametrize("flushed", [False, True])
def test_many_parts_are_not_told(store, monkeypatch, flushed):
    if flushed:
        store.flush(NOW)
        dump(store, matchers=BOTH)
    monkeypatch.setattr(at_hand, "_PARTS_MAX", 2)
    assert len(held(store, BOTH)) == 2
    monkeypatch.setattr(at_hand, "_PARTS_MAX", 1)
    assert held(store, BOTH) is None


def test_a_late_sample_in_the_range_is_not_told(store):
    append(store.writer(TENANT), A, (NOW - 50_000, 7.0))
    assert held(store) is None
    assert held(store, start_ms=NOW - 49_999) == {A: rows(NOW - 60_000, 4)[1:]}


def test_sealed_rows_are_told(store):
    append(store.writer(TENANT), A, *rows(NOW, 8))
    assert held(store) == {A: rows(NOW - 60_000, 4) + rows(NOW, 8)}
    assert len(held(store, start_ms=NOW + 60_000)[A]) == 4


def test_blocks_are_told_once_they_are_in_memory(store):
    store.flush(NOW)
    assert held(store, BOTH) is None
    dump(store, matchers=BOTH)
    assert held(store, BOTH) == {A: rows(NOW - 60_000, 4), B: rows(NOW - 60_000, 4)}
    append(store.writer(TENANT), A, (NOW, 5.0))
    assert held(store, BOTH)[A] == [*rows(NOW - 60_000, 4), (NOW, 5.0)]


def test_what_lies_in_two_places_at_once_is_not_told(store):
    """A late sample whose time is between those of a block."""
    store.flush(NOW)
    dump(store, matchers=BOTH)
    append(store.writer(TENANT), A, (NOW - 50_000, 7.0))
    store.flush(NOW)
    found = dump(store, matchers=BOTH)
    assert len(found[A]) == ROWS + 1
    assert held(store) is None
    assert held(store, start_ms=NOW - 49_999)[A] == rows(NOW - 60_000, 4)[1:]


def test_of_a_block_with_a_deletion_nothing_is_told(store):
    store.flush(NOW)
    dump(store, matchers=BOTH)
    assert held(store, BOTH)
    store.delete(TENANT, BOTH, NOW - 45_000, NOW - 45_000)
    assert held(store, BOTH) is None


def lists(store, start_ms=START, end_ms=END):
    reader = store.reader(TENANT)
    names = reader.label_names_at_hand(start_ms, end_ms)
    return names, reader.label_values_at_hand("host", start_ms, end_ms)


NAMES, HOSTS = ["__name__", "host"], ["a", "b"]


def test_lists_of_labels(store, monkeypatch):
    assert lists(store) == (NAMES, HOSTS)
    assert lists(store, end_ms=NOW - 60_001) == ([], [])
    monkeypatch.setattr(at_hand, "_TEXTS_MAX", 1)
    assert lists(store) == (None, None)


def test_lists_of_head_and_blocks_together(store):
    store.flush(NOW)
    assert lists(store) == (None, None)
    dump(store, matchers=BOTH)
    assert lists(store) == (NAMES, HOSTS)
    append(store.writer(TENANT), series("m", rack="1"), (NOW, 5.0))
    assert lists(store) == ([*NAMES, "rack"], HOSTS)
    # Of a block that a deletion touches, only looking through it tells what is left.
    store.delete(TENANT, BOTH, NOW - 45_000, NOW - 45_000)
    assert lists(store) == (None, None)


def test_many_groups_are_not_looked_through(store, monkeypatch):
    append(store.writer(TENANT), series("m", host="c"), (NOW, 5.0), clock="another")
    monkeypatch.setattr(head_at_hand, "_GROUPS_MAX", 2)
    assert lists(store) == (NAMES, [*HOSTS, "c"])
    monkeypatch.setattr(head_at_hand, "_GROUPS_MAX", 1)
    assert lists(store) == (None, None)
