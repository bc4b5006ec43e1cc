"""Both ways of writing points against a slow, obvious one, and against each other by the hundred thousand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.web.spellings import any_values, many_values, reference_points

from meterhall.compiled.loading import LOADER
from meterhall.web.points import CompiledPoints, PlainPoints

LOADER.wait()
WAYS = {"plain": PlainPoints(), "compiled": CompiledPoints(LOADER.kernels("points"))}
every_way = pytest.mark.parametrize("way", WAYS)

any_times = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1), st.integers(-10_000, 10_000), st.just(1795445635413)
)


@every_way
@given(values=any_values, first=any_times.filter(lambda first: first < 2**62))
@settings(max_examples=300, deadline=None)
def test_a_row_of_samples(way, values, first):
    times = first + np.arange(len(values)) * 251
    expected = "head" + reference_points(times.tolist(), values.tolist())[1:-1]
    assert WAYS[way].samples([(b"head", times, values)]) == expected.encode()


def test_both_ways_write_the_same_of_many_values():
    values = many_values()
    times = np.random.default_rng(3).integers(-(2**62), 2**62, len(values))
    plain, compiled = (way.samples([(b"", times, values)]) for way in WAYS.values())
    assert plain == compiled
    twice = np.repeat(values, 2)[None, :]
    steps = np.arange(twice.size) * 15_000 + 413
    plain, compiled = (way.grid(steps)([b""], twice, None) for way in WAYS.values())
    assert plain == compiled


@every_way
@pytest.mark.parametrize("times", [[0], [-1], [2**63 - 1, -(2**63) + 1], [500, 1000], [999, 1000]])
def test_any_times(way, times):
    values = np.arange(float(len(times)))
    expected = reference_points(times, values.tolist())[1:-1].encode()
    assert WAYS[way].grid(np.array(times))([b""], values[None, :], None) == expected
    assert WAYS[way].samples([(b"", np.array(times), values)]) == expected


@st.composite
def grids(draw):
    series, steps = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    start, step = draw(st.integers(-5000, 5000)), draw(st.sampled_from([1, 500, 1000, 15_000]))
    few = st.sampled_from([0.0, -0.0, 1.5, float("nan"), 1e300]) | st.floats(width=64)
    values = draw(arrays(np.float64, (series, steps), elements=few))
    present = draw(st.none() | arrays(np.bool_, (series, steps)))
    if present is not None:
        present[:, draw(st.integers(0, steps - 1))] = True
    heads = draw(st.lists(st.binary(max_size=70), min_size=series, max_size=series))
    return start + step * np.arange(steps), heads, values, present


@every_way
@given(grid=grids())
@settings(max_examples=300, deadline=None)
def test_rows_of_a_grid(way, grid):
    times, heads, values, present = grid
    expected = b""
    for row, head in enumerate(heads):
        kept = slice(None) if present is None else present[row]
        points = reference_points(times[kept].tolist(), values[row, kept].tolist())
        expected += head + points[1:-1].encode()
    write = WAYS[way].grid(times)
    assert write(heads, values, present) == expected
    # What was written before is of no influence.
    assert write(heads, values, present) == expected


@every_way
def test_arrays_that_are_views_and_read_only(way):
    values = np.arange(24.0).reshape(4, 6)[:, ::2]
    present = np.ones((4, 6), np.bool_)[:, ::2]
    values.setflags(write=False)
    times = np.arange(6)[::2]
    assert WAYS[way].grid(times)([b""] * 4, values, present) == WAYS[way].grid(times.copy())(
        [b""] * 4, values.copy(), None
    )


def test_a_kernel_writes_nothing_beyond_its_room():
    kernels = LOADER.kernels("points")
    # The longest of everything: text as long as POINT_ROOM allows.
    times, value = np.array([-(2**63) + 1] * 9), -0.0000012345678901234567
    room = 9 * kernels.POINT_ROOM + kernels.SPARE_ROOM
    text = np.full(room + 1000, 7, np.uint8)
    empty = np.empty(0, np.uint8)
    ends = np.zeros(1, np.int64)
    end = kernels.write_samples(times, np.full(9, value), ends + 9, empty, ends, text[:room])
    assert end == 9 * kernels.POINT_ROOM - 1
    assert (text[room:] == 7).all()
    looks = np.array([-(2**62), 1, 9, 0, 0, 1, 0])
    end = kernels.write_held(text[:room], 0, empty, np.zeros(1, np.int64), np.full(1, value), looks)
    assert end == text[:room].tobytes().rfind(b"]},") + 3
    assert (text[room:] == 7).all()
