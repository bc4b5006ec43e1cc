"""The rules of contract 5.7 and 6.2, and the port's promises, through a real store."""

import math

import numpy as np
import pytest
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.errors import BadInput
from meterhall.model.samples import (
    NAN,
    OUT_OF_BOUNDS,
    OUT_OF_ORDER,
    STALE,
    STALE_BITS,
    TOO_FAR_AHEAD,
    Row,
    rows_of,
)
from meterhall.model.tenant import Tenant

HOUR = 3_600_000
DAY = 24 * HOUR
UP = series("up")


def duplicate(time_ms, old, new):
    return (
        f"duplicate sample for timestamp {time_ms}; overrides not allowed: "
        f"existing {old}, new value {new}"
    )


@pytest.mark.parametrize(
    ("before", "sample", "reason", "stored"),
    [
        pytest.param([], (NOW, 1.0), None, {NOW: 1.0}, id="first"),
        pytest.param([(NOW, 1.0)], (NOW, 1.0), None, {NOW: 1.0}, id="repeated"),
        pytest.param([(NOW, NAN)], (NOW, NAN), None, {NOW: NAN}, id="repeated NaN"),
        pytest.param([(NOW, STALE)], (NOW, STALE), None, {NOW: STALE}, id="repeated marker"),
        pytest.param(
            [(NOW, 1.0)], (NOW, 2.0), duplicate(NOW, "1", "2"), {NOW: 1.0}, id="another value"
        ),
        pytest.param(
            [(NOW, 0.0)], (NOW, -0.0), duplicate(NOW, "0", "-0"), {NOW: 0.0}, id="minus zero"
        ),
        pytest.param(
            [(NOW, 1.0)], (NOW, STALE), duplicate(NOW, "1", "NaN"), {NOW: 1.0}, id="marker later"
        ),
        pytest.param(
            [(NOW, 1.0)],
            (NOW - 2 * HOUR, 5.0),
            None,
            {NOW - 2 * HOUR: 5.0, NOW: 1.0},
            id="late, at the window's edge",
        ),
        pytest.param(
            [(NOW, 1.0)], (NOW - 2 * HOUR - 1, 5.0), OUT_OF_ORDER, {NOW: 1.0}, id="too late"
        ),
        pytest.param(
            [(NOW - 9 * HOUR, 1.0), (NOW, 2.0)],
            (NOW - 9 * HOUR, 1.0),
            None,
            {NOW - 9 * HOUR: 1.0, NOW: 2.0},
            id="repeated long after",
        ),
        pytest.param(
            [(NOW - 5, 1.0), (NOW, 2.0)],
            (NOW - 5, 3.0),
            duplicate(NOW - 5, "1", "3"),
            {NOW - 5: 1.0, NOW: 2.0},
            id="another value, late",
        ),
        pytest.param(
            [], (NOW - 100 * 24 * HOUR, 1.0), None, {NOW - 100 * 24 * HOUR: 1.0}, id="back-fill"
        ),
        pytest.param([], (NOW - 366 * 24 * HOUR, 1.0), OUT_OF_BOUNDS, {}, id="past retention"),
        pytest.param([], (NOW + 600_000, 1.0), None, {NOW + 600_000: 1.0}, id="ten minutes ahead"),
        pytest.param([], (NOW + 600_001, 1.0), TOO_FAR_AHEAD, {}, id="further ahead"),
        pytest.param([], (NOW, math.inf), None, {NOW: math.inf}, id="infinity"),
    ],
)
def test_one_sample_after_others(tmp_path, before, sample, reason, stored):
    for reopened in (False, True):
        directory = tmp_path / str(reopened)
        store = open_store(directory)
        append(store.writer(TENANT), UP, *before)
        if reopened:
            store.close()
            store = open_store(directory)
        said = append(store.writer(TENANT), UP, sample)
        assert [each.reason for each in said.rejections] == ([reason] if reason else [])
        assert said.accepted == (reason is None)
        bits = {time: np.float64(value).view("u8") for time, value in stored.items()}
        assert dump(store) == ({UP: bits} if bits else {})
        store.close()
        store = open_store(directory)
        assert dump(store) == ({UP: bits} if bits else {})
        store.close()


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        pytest.param((NOW - 2 * HOUR - 1, 5.0), None, id="older than the window"),
        pytest.param((NOW - 364 * DAY, 5.0), None, id="just inside retention"),
        pytest.param((NOW - 9 * HOUR, 1.0), None, id="repeated"),
        pytest.param((NOW - 366 * DAY, 5.0), OUT_OF_BOUNDS, id="past retention"),
        pytest.param((NOW + 600_001, 5.0), TOO_FAR_AHEAD, id="too far ahead"),
        pytest.param(
            (NOW - 9 * HOUR, 5.0), duplicate(NOW - 9 * HOUR, "1", "5"), id="another value"
        ),
    ],
)
@pytest.mark.parametrize("flushed", [False, True])
def test_the_back_fill_right(tmp_path, sample, reason, flushed):
    held = [(NOW - 9 * HOUR, 1.0), (NOW, 2.0)]
    store = open_store(tmp_path)
    writer = store.writer(TENANT)
    append(writer, UP, *held)
    if flushed:
        store.flush(NOW + 1)
    old = append(writer, UP, (NOW - 10 * HOUR, 7.0))
    assert [each.reason for each in old.rejections] == [OUT_OF_ORDER]
    said = append(writer, UP, sample, any_age=True)
    assert [each.reason for each in said.rejections] == ([reason] if reason else [])
    assert said.accepted == (reason is None)
    stored = dict(held) if reason else dict([sample, *held])
    bits = {time: np.float64(value).view("u8") for time, value in sorted(stored.items())}
    assert dump(store) == {UP: bits}
    store.close()
    store = open_store(tmp_path)
    assert dump(store) == {UP: bits}
    store.close()


def test_refs_are_stable_and_each_series_has_one(tmp_path):
    store = open_store(tmp_path)
    writer = store.writer(TENANT)
    first = writer.intern("a", [UP, series("x"), UP])
    again = writer.intern("b", [series("y"), series("x"), UP])
    assert first[0] == first[2] == again[2]
    assert first[1] == again[1]
    assert len({*first.tolist(), *again.tolist()}) == 3
    store.close()


def test_a_row_over_several_groups_and_a_partial_row(tmp_path):
    store = open_store(tmp_path)
    writer = store.writer(TENANT)
    left = writer.intern("a", [series("m", i=str(i)) for i in range(3)])
    right = writer.intern("b", [series("n", i=str(i)) for i in range(3)])
    both = np.concatenate((left, right))
    writer.append([Row(NOW, both[::2], np.array([1.0, 2.0, 3.0]))]).durable.result(5)
    writer.append([Row(NOW, both[1::2], np.array([4.0, 5.0, 6.0]))]).durable.result(5)
    values = {labels: list(samples) for labels, samples in dump(store).items()}
    assert values == {series(name, i=str(i)): [NOW] for name in ("m", "n") for i in range(3)}
    store.close()


def test_series_of_one_clock_come_as_one_matrix(tmp_path):
    store = open_store(tmp_path)
    writer = store.writer(TENANT)
    refs = writer.intern("a", [series("m", i=str(i)) for i in range(5)])
    for step in range(20):
        writer.append([Row(NOW + step, refs, np.arange(5.0) + step)])
    (group,) = store.reader(TENANT).select([], NOW, NOW + 100).groups()
    assert group.values.shape == (5, 20)
    assert group.full
    assert not group.values.view("u8").__eq__(STALE_BITS).any()
    store.close()


def test_an_unknown_ref_is_forgotten(tmp_path):
    store = open_store(tmp_path)
    writer = store.writer(TENANT)
    (ref,) = writer.intern("a", [UP])
    said = writer.append([rows_of(NOW, [ref, ref + 1, 7 << 24], [1.0, 2.0, 3.0])])
    assert sorted(said.forgotten) == sorted([int(ref) + 1, 7 << 24])
    assert said.accepted == 1
    store.close()


def test_tenants_never_meet(tmp_path):
    store = open_store(tmp_path)
    tenants = [Tenant("kr", "a"), Tenant("kr", "b"), Tenant("jp", "a")]
    for number, tenant in enumerate(tenants):
        append(store.writer(tenant), UP, (NOW, float(number)))
    store.close()
    store = open_store(tmp_path)
    for number, tenant in enumerate(tenants):
        assert dump(store, tenant) == {UP: {NOW: np.float64(number).view("u8")}}
        assert store.head_stats(tenant, 5).series == 1
    assert dump(store, Tenant("jp", "b")) == {}
    store.close()


@pytest.mark.parametrize(
    "text",
    ["", "..", "../x", "a/b", "%2e", "a\x00", "x" * 65, "\uff4b\uff52", "a\n", "\u202ea", "a b"],
)
def test_an_identifier_that_nobody_issued_is_refused(tmp_path, text):
    store = open_store(tmp_path)
    for tenant in (Tenant(text, "p"), Tenant("kr", text)):
        with pytest.raises(BadInput):
            store.reader(tenant)
        with pytest.raises(BadInput):
            store.writer(tenant)
    store.close()


def test_head_stats(tmp_path):
    store = open_store(tmp_path)
    writer = store.writer(TENANT)
    for labels in (series("a", x="1"), series("a", x="2"), series("b", x="1")):
        append(writer, labels, (NOW, 1.0), (NOW + 5, 1.0))
    stats = store.head_stats(TENANT, 2)
    assert (stats.series, stats.label_pairs) == (3, 4)
    assert (stats.min_time_ms, stats.max_time_ms) == (NOW, NOW + 5)
    assert stats.series_by_metric == [("a", 2), ("b", 1)]
    assert stats.values_by_label == [("__name__", 2), ("x", 2)]
    assert stats.series_by_pair == [("__name__=a", 2), ("x=1", 2)]
    store.close()
