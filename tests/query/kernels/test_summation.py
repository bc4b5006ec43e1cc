"""Sums and means: bit for bit what Neumaier's loop gives, also where it matters most."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.query.oracle import neumaier

from meterhall.query.kernels.groupwise import Members, grouped, means, sums
from meterhall.query.kernels.summation import kahan_mean, kahan_sum, window_means, window_sums
from meterhall.query.kernels.windows import Windows, aligned, ragged

BIG = 9.988465674311579e307
numbers = st.one_of(
    st.floats(allow_subnormal=False),
    st.sampled_from([1e100, -1e100, 1.0, 0.1, 52.0, BIG, -BIG, math.inf, -math.inf, math.nan]),
)


def same(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or abs(left - right) <= 4e-16 * max(abs(left), abs(right))


def whole(values: np.ndarray) -> Windows:
    """One window over everything."""
    times = np.arange(values.shape[1], dtype=np.int64)
    return aligned(times, values, times[-1:], len(times) + 1)


@settings(max_examples=300, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=12))
def test_a_window_sums_as_the_loop(values):
    with np.errstate(all="ignore"):
        assert same(float(window_sums(whole(np.array([values])))[0, 0]), neumaier(values))
        terms = ((np.array([value]), None) for value in values)
        assert same(float(kahan_sum(terms, (1,))[0]), neumaier(values))


@settings(max_examples=200, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=12), st.sampled_from([1, 300]))
def test_a_group_sums_as_the_loop_on_short_and_long_grids(values, steps):
    column = np.repeat(np.array(values)[:, None], steps, axis=1)
    whole_group = grouped(column, None, np.zeros(len(values), np.int64), 1)
    (part,) = whole_group.parts()
    with np.errstate(all="ignore"):
        assert same(float(sums(part.members)[0, -1]), neumaier(values))


MEANS = [
    ([1.0, 2.0, 3.0], 2.0),
    ([BIG, BIG], BIG),
    ([-BIG, -BIG, -BIG], -BIG),
    ([-BIG, BIG], 0.0),
    ([1.0, 1e100, 1.0, -1e100], 0.5),
    ([52.0] * 12, 52.0),
    ([math.inf, 0.0, math.inf], math.inf),
    ([math.inf, math.inf, math.inf, -math.inf], math.nan),
    ([1.0, 2.0, -math.inf], -math.inf),
    ([1.0, math.nan], math.nan),
]


@pytest.mark.parametrize(("values", "expected"), MEANS)
def test_means_do_not_overflow(values, expected):
    array = np.array(values)
    with np.errstate(all="ignore"):
        assert same(float(window_means(whole(array[None, :]))[0, 0]), expected)
        terms = ((np.array([value]), None) for value in values)
        assert same(float(kahan_mean(terms, (1,))[0]), expected)
        for steps in (1, 300):
            column = np.repeat(array[:, None], steps, axis=1)
            (part,) = grouped(column, None, np.zeros(len(array), np.int64), 1).parts()
            assert isinstance(part.members, Members)
            assert same(float(means(part.members)[0, 0]), expected)


def test_running_sums_are_not_used_where_the_past_outweighs_the_window():
    """1e18 before a window of tenths would drown it in a difference of running sums."""
    values = np.concatenate([np.full(100, 1e18), np.full(100, 0.1)])
    times = np.arange(200, dtype=np.int64)
    ends = np.array([199], np.int64)
    for windows in (
        aligned(times, values[None, :], ends, 50),
        ragged(times, values, np.array([0, 200]), ends, 50),
    ):
        assert window_sums(windows)[0, 0] == neumaier([0.1] * 50)
