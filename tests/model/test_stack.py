"""Stacks hold what the groups held, whatever was put together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.samples import ABSENT, STALE, SeriesGroup, is_absent, is_stale
from meterhall.model.stack import PAD_MS, SeriesStack, stacked

CELLS = st.sampled_from([0.0, 1.5, -3.0, float("nan"), STALE, ABSENT])


@st.composite
def groups(draw) -> list[SeriesGroup]:
    found, row = [], 0
    for _ in range(draw(st.integers(0, 5))):
        series = draw(st.integers(1, 4))
        times = sorted(draw(st.sets(st.integers(-50, 500), max_size=150)))
        cells = st.lists(CELLS, min_size=series * len(times), max_size=series * len(times))
        values = np.array(draw(cells), np.float64).reshape(series, len(times))
        full = not (is_stale(values) | is_absent(values)).any()
        rows = np.arange(row, row + series)
        found.append(SeriesGroup(rows, np.array(times, np.int64), values, bool(full)))
        row += series
    return found


def cells_of_group(group: SeriesGroup) -> dict[tuple[int, int], int]:
    """Bits of every cell that holds something, by series and time."""
    bits = group.values.view(np.uint64)
    return {
        (row, time): int(bits[i, k])
        for i, row in enumerate(group.rows.tolist())
        for k, time in enumerate(group.times.tolist())
    }


def cells_of_stack(stack: SeriesStack) -> dict[tuple[int, int], int]:
    found = {}
    for i, row in enumerate(stack.rows.tolist()):
        clock = int(stack.clock_of[i])
        length = int(stack.lengths[clock])
        bits = stack.values[i, :length].copy().view(np.uint64).tolist()
        found.update(
            {(row, t): bits[k] for k, t in enumerate(stack.times[clock, :length].tolist())}
        )
    return found


@given(groups())
def test_every_cell_of_every_group_is_in_one_stack(given_groups):
    expected = {}
    for group in given_groups:
        expected |= cells_of_group(group)
    found, series = {}, 0
    for stack in stacked(given_groups):
        found |= cells_of_stack(stack)
        series += len(stack.rows)
        padding = np.arange(stack.times.shape[1]) >= stack.lengths[:, None]
        assert (stack.times[padding] == PAD_MS).all()
        assert not np.isnan(stack.values[padding[stack.clock_of]]).any()
        assert (np.diff(stack.clock_of) >= 0).all()
    assert found == expected
    assert series == sum(len(group.rows) for group in given_groups if len(group.times))


@given(groups())
def test_a_split_parts_series_with_holes_from_those_without(given_groups):
    for stack in stacked(given_groups):
        whole, holed = stack.split()
        parts = [part for part in (whole, holed) if part is not None]
        assert sum((cells_of_stack(part) == {} for part in parts), 0) == 0
        joined = {}
        for part in parts:
            joined |= cells_of_stack(part)
        assert joined == cells_of_stack(stack)
        for part, wanted in ((whole, False), (holed, True)):
            if part is not None:
                special = is_stale(part.values.copy()) | is_absent(part.values.copy())
                assert (special.any(axis=1) == wanted).all()


def test_clocks_of_very_different_lengths_are_stacked_apart():
    short, long = np.arange(3), np.arange(1000)
    made = [
        SeriesGroup(np.array([row]), times, np.zeros((1, len(times))), full=True)
        for row, times in enumerate((short, long, short))
    ]
    assert [stack.values.shape for stack in stacked(made)] == [(1, 3), (1, 1000), (1, 3)]


def test_clocks_come_with_the_range_of_their_series():
    made = [
        SeriesGroup(np.arange(first, first + 2), np.arange(4), np.zeros((2, 4)), full=True)
        for first in (0, 2)
    ]
    (stack,) = stacked(made)
    assert list(stack.clocks()) == [(0, 0, 2), (1, 2, 4)]
