"""Answers are cut and joined without losing, doubling or reordering anything."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meterhall.query.result import GridResult
from meterhall.query.splice import between, joined, memory_bytes, owned


@st.composite
def grids(draw, start_ms=1000, step_ms=15):
    names = sorted(draw(st.sets(st.sampled_from("abcdef"), max_size=5)))
    steps = draw(st.integers(1, 6))
    values = np.arange(float(len(names) * steps)).reshape(len(names), steps)
    present = draw(st.none() | arrays(np.bool_, (len(names), steps)))
    if present is not None and names:
        present[:, draw(st.integers(0, steps - 1))] = True
    labels = [(("i", name),) for name in names]
    return GridResult(labels, start_ms + step_ms * np.arange(steps), values, present)


def points(grid):
    assert list(grid.labels) == sorted(set(grid.labels))
    assert grid.present is None or grid.present.any(axis=1).all()
    return {
        (labels, int(time)): grid.values[row, column]
        for row, labels in enumerate(grid.labels)
        for column, time in enumerate(grid.times)
        if grid.present is None or grid.present[row, column]
    }


@given(grids(), st.integers(900, 1200), st.integers(900, 1200))
@settings(deadline=None)
def test_a_part_has_the_points_of_its_steps(grid, start_ms, end_ms):
    part = between(grid, start_ms, end_ms)
    expected = {at: value for at, value in points(grid).items() if start_ms <= at[1] <= end_ms}
    inside = [time for time in grid.times.tolist() if start_ms <= time <= end_ms]
    if part is None:
        assert not inside
    else:
        assert part.times.tolist() == inside
        assert points(part) == expected


@given(grids(), grids())
@settings(deadline=None)
def test_the_whole_has_the_points_of_both_parts(before, after):
    after = GridResult(after.labels, after.times + 1000, after.values, after.present)
    whole = joined(before, after)
    assert whole.times.tolist() == [*before.times.tolist(), *after.times.tolist()]
    assert points(whole) == points(before) | points(after)
    assert whole.present is None or not whole.present.all()


def test_what_is_kept_holds_no_larger_arrays():
    grid = GridResult(
        [(("i", "a"),)], np.arange(9), np.zeros((4, 9))[:1], np.ones((4, 9), bool)[:1]
    )
    mine = owned(grid)
    assert mine.values.base is None
    assert mine.present.base is None
    assert points(mine) == points(grid)
    assert memory_bytes(mine) > 9 * 17
