"""One group: sealing, widening, sparse rows, dropping columns, and views that outlive changes."""

import numpy as np
import pytest
from tests.tsdb.stores import settings

from meterhall.model.samples import ABSENT_BITS
from meterhall.tsdb.group import Group

EVER = (-(2**62), 2**62)


def made(width=5, **changes):
    group = Group(1, "c", settings(**changes))
    group.add(range(width))
    return group


def put(group, time_ms, slots=None):
    slots = np.arange(group.width) if slots is None else np.asarray(slots)
    group.put(time_ms, slots, slots * 1000.0 + time_ms)


def cells(group_or_view, width=None):
    """{(slot, time)}, after checking every value."""
    view = group_or_view
    if isinstance(view, Group):
        view = view.view(np.arange(view.width), *EVER)
    times, values = view.read(np.arange(len(view.slots)))
    assert (np.diff(times) > 0).all()
    found = set()
    for row, slot in enumerate(view.slots.tolist()):
        for time, value in zip(times.tolist(), values[row], strict=True):
            if value.view("u8") != ABSENT_BITS:
                assert value == slot * 1000.0 + time
                found.add((slot, time))
    assert view.times_max >= len(times)
    if len(view.slots):
        assert strip_cells(view) == found
    return found


def strip_cells(view):
    """The same out of strips, which come in order of time."""
    found = []
    lowest, highest = int(view.slots.min()), int(view.slots.max())
    for times, values, taken in view.strips(view.slots, lowest, highest):
        assert len(times)
        lines = values if taken is None else values[:, taken].T
        for at, time in enumerate(times.tolist()):
            bits = lines[:, at].copy().view("u8")
            found += [(time, slot) for slot in view.slots[bits != ABSENT_BITS].tolist()]
    assert len(set(found)) == len(found)
    assert [time for time, _ in found] == sorted(time for time, _ in found)
    return {(slot, time) for time, slot in found}


def test_a_fast_clock_leaves_few_pieces():
    group = made(width=3, seal_rows=4, raw_rows_max=6)
    for time_ms in range(1500):
        put(group, time_ms)
    # One page each: 4 pieces of 324 rows, then at most two each of 108, 36, 12 and 4; and the raw rows.
    assert group.chunks <= 4 + 2 * 4 + 1
    assert cells(group) == {(slot, time) for slot in range(3) for time in range(1500)}


def test_rows_are_sealed_and_read_back():
    group = made(width=70)
    for time_ms in range(30):
        put(group, time_ms)
    assert cells(group) == {(slot, time) for slot in range(70) for time in range(30)}
    assert group.chunks > 2
    assert group.samples == 70 * 30
    for time_ms in (0, 13, 29):
        assert group.existing(time_ms, np.array([69])).tolist() == [69000.0 + time_ms]
    assert group.existing(30, np.array([0])).view("u8").tolist() == [ABSENT_BITS]


def test_series_that_come_later_have_no_past():
    group = made(width=2)
    for time_ms in range(12):
        if time_ms % 5 == 4:
            group.add([group.width])
        put(group, time_ms)
    assert cells(group) == {
        (slot, time)
        for slot in range(4)
        for time in range(12)
        if slot < 2 or time >= (slot - 1) * 5 - 1
    }


def test_late_partial_and_sparse_rows_fill_their_cells():
    group = made(width=1000, raw_rows_max=20, seal_rows=10)
    expected = set()
    for time_ms in range(0, 300, 10):
        for slots, late in (([3], 0), (range(0, 1000, 2), 0), ([1, 5], 45), ([999], 3)):
            if time_ms % 20 == 0 or len(slots) < 500:
                put(group, time_ms - late, slots)
                expected.update((slot, time_ms - late) for slot in slots)
    assert cells(group) == expected


def test_a_view_keeps_what_it_saw():
    group = made(width=3)
    for time_ms in range(10):
        put(group, time_ms, [0, 1])
    view = group.view(np.array([0, 1]), 2, 8)
    expected = cells(view)
    assert expected == {(slot, time) for slot in (0, 1) for time in range(2, 9)}
    for time_ms in range(10, 40):
        put(group, time_ms, [0, 1])
    group.add([9, 10, 11])
    group.begin_flush(30)
    group.end_flush()
    group.drop(np.array([2]))
    assert cells(view) == expected


@pytest.mark.parametrize("published", [True, False])
def test_flush_shows_the_past_and_late_arrivals_stay(published):
    group = made(width=3)
    for time_ms in range(25):
        put(group, time_ms, [0, 1])
    put(group, 3, [2])
    view = group.begin_flush(20)
    shown = cells(view)
    assert shown == {(slot, time) for slot in (0, 1) for time in range(20)} | {(2, 3)}
    put(group, 7, [2])
    put(group, 25)
    after = {(2, 7)} | {(slot, time) for slot in (0, 1) for time in range(20, 25)}
    after |= {(slot, 25) for slot in range(3)}
    assert cells(group) == shown | after
    if published:
        group.end_flush()
        assert cells(group) == after
    else:
        group.abort_flush()
        assert cells(group) == shown | after


def test_who_is_behind_is_not_late():
    """A flush that ends after a group's newest row leaves room on top of the matrix, also before its end."""
    group = made(width=3)
    for time_ms in range(10):
        put(group, time_ms)
    group.begin_flush(1_000)
    put(group, 10)
    put(group, 11, [0, 2])
    assert group.late_bytes == 0
    group.end_flush()
    put(group, 12)
    assert group.late_bytes == 0
    assert group.idle_slots(1_000).tolist() == []
    assert cells(group) == {(slot, 10) for slot in range(3)} | {(0, 11), (2, 11)} | {
        (slot, 12) for slot in range(3)
    }


def test_dropped_columns_are_never_used_again():
    group = made(width=4)
    for time_ms in range(20):
        put(group, time_ms, [0, 2] if time_ms > 15 else range(4))
    group.begin_flush(16)
    group.end_flush()
    idle = group.idle_slots(16)
    assert idle.tolist() == [1, 3]
    group.drop(idle)
    assert group.slots(np.arange(5)).tolist() == [0, -1, 1, -1, -1]
    assert group.add([7]) == 4
    assert group.slots(np.arange(5)).tolist() == [0, -1, 1, -1, 2]
    assert group.existing(18, np.arange(3)).tolist()[:2] == [18.0, 2018.0]
