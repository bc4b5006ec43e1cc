"""Both layouts of windows against plain loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meterhall.query.kernels.windows import Windows, aligned, positions, ragged

clocks = st.lists(st.integers(-50, 200), min_size=1, max_size=30, unique=True).map(
    lambda times: np.array(sorted(times), np.int64)
)
grids = st.tuples(st.integers(-20, 100), st.integers(1, 40), st.integers(1, 12)).map(
    lambda grid: grid[0] + grid[1] * np.arange(grid[2])
)


def inside(times, end, range_ms):
    return [k for k, time in enumerate(times.tolist()) if end - range_ms < time <= end]


def check(windows: Windows, clock_of, values_of, ends, range_ms) -> None:
    count = np.broadcast_to(windows.count, windows.shape)
    first, last = windows.first(), windows.last()
    sums = windows.reduce(np.add, windows.values)
    for row in range(windows.shape[0]):
        for step, end in enumerate(ends.tolist()):
            found = inside(clock_of(row), end, range_ms)
            assert count[row, step] == len(found)
            if found:
                expected = values_of(row)[found]
                assert first[row, step] == expected[0]
                assert last[row, step] == expected[-1]
                assert np.isclose(sums[row, step], expected.sum())


@settings(max_examples=60, deadline=None)
@given(clocks, grids, st.integers(1, 100), st.integers(1, 4))
def test_aligned_windows(times, ends, range_ms, series):
    values = np.random.default_rng(len(times)).random((series, len(times)))
    windows = aligned(times, values, ends, range_ms)
    check(windows, lambda _: times, lambda row: values[row], ends, range_ms)


@settings(max_examples=60, deadline=None)
@given(st.lists(clocks, min_size=1, max_size=4), grids, st.integers(1, 100))
def test_ragged_windows(clock_list, ends, range_ms):
    times = np.concatenate(clock_list)
    values = np.random.default_rng(len(times)).random(len(times))
    offsets = np.concatenate([[0], np.cumsum([len(clock) for clock in clock_list])])
    windows = ragged(times, values, offsets, ends, range_ms)

    def values_of(row):
        return values[offsets[row] : offsets[row + 1]]

    check(windows, lambda row: clock_list[row], values_of, ends, range_ms)


def test_positions_at_one_repeated_time():
    """A grid of stride 0 is what `@` makes of a range."""
    times, offsets = np.array([1, 5, 9]), np.array([0, 3])
    assert positions(times, offsets, np.array([5, 5, 5])).tolist() == [[2, 2, 2]]


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, st.integers(1, 30)), grids, st.integers(1, 60))
def test_pairs_counts_marks_inside_the_window(marks, ends, range_ms):
    times = np.arange(len(marks), dtype=np.int64) * 7
    windows = aligned(times, np.zeros((1, len(marks))), ends, range_ms)
    counted = np.broadcast_to(windows.pairs(marks[None, :]), windows.shape)
    for step, end in enumerate(ends.tolist()):
        found = inside(times, end, range_ms)
        if found:
            assert counted[0, step] == sum(marks[k] for k in found[1:])


def test_blocks_gather_every_window_once():
    times = np.arange(100, dtype=np.int64)
    values = np.arange(200.0).reshape(2, 100)
    windows = aligned(times, values, np.arange(10, 100, 10), 5)
    blocks = np.concatenate([block for _, block in windows.blocks()], axis=1)
    assert blocks.shape == (2, 9, 5)
    assert blocks[1, 0].tolist() == [106, 107, 108, 109, 110]
