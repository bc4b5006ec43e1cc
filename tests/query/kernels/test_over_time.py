"""What the oracle comparison does not reach: medians, smoothing, regression, times of extremes."""

import math
import statistics

import numpy as np
import pytest

from meterhall.query.kernels import over_time
from meterhall.query.kernels.windows import aligned

VALUES = [4.0, 6.0, 2.0, 1.0, 999.0, 1.0, 2.0]


def whole(values):
    times = np.arange(len(values), dtype=np.int64) * 10_000
    return aligned(times, np.array([values]), times[-1:], 10_000 * len(values))


@pytest.mark.parametrize(
    ("values", "expected"), [(VALUES, 1), ([5.0], 0), ([1.0, 2.0, math.nan, 4.0], math.nan)]
)
def test_median_absolute_deviation(values, expected):
    assert over_time.deviation(whole(values))[0, 0] == pytest.approx(expected, nan_ok=True)


def test_regression_is_the_textbook_line():
    slope, intercept, present = over_time.regression(whole(VALUES), np.array([60_000]))
    line = statistics.linear_regression([float(10 * k) for k in range(7)], VALUES)
    assert np.all(present)
    assert slope[0, 0] == pytest.approx(line.slope)
    assert intercept[0, 0] == pytest.approx(line.intercept + 60 * line.slope)


@pytest.mark.parametrize(
    ("value", "slope", "intercept"), [(7.0, 0, 7), (math.inf, math.nan, math.nan)]
)
def test_regression_of_a_constant(value, slope, intercept):
    with np.errstate(all="ignore"):
        found = over_time.regression(whole([value] * 4), None)
    assert found[0][0, 0] == pytest.approx(slope, nan_ok=True)
    assert found[1][0, 0] == pytest.approx(intercept, nan_ok=True)


def test_smoothing_follows_a_straight_line():
    factors = np.array([0.3])
    level, present = over_time.smoothed(whole([1.0, 3.0, 5.0, 7.0, 9.0]), factors, factors)
    assert np.all(present)
    assert level[0, 0] == pytest.approx(9)


def test_times_of_extremes_are_of_the_last_occurrence():
    windows = whole([2.0, 0.0, 5.0, 0.0, 5.0, math.nan, 1.0])
    assert over_time.extreme_times(windows, greatest=True)[0, 0] == 40_000
    assert over_time.extreme_times(windows, greatest=False)[0, 0] == 30_000


def test_quantiles_take_nan_for_the_least():
    windows = whole([3.0, math.nan, 1.0])
    for at, expected in ((0.0, math.nan), (0.5, 1.0), (1.0, 3.0), (0.75, 2.0)):
        found = over_time.quantile(windows, np.array([at]))[0, 0]
        assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("quantile", [0.0, -0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "values",
    [
        [1.0, 1.0, -0.0, -0.0, 2.0, 2.0, 0.0],
        [-0.0, -0.0, -0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [-1.0, 0.0, -0.0],
        [-1.0, -0.0, 0.0],
        [0.0, -0.0, -3.0, -3.0, -3.0, -0.0, -3.0, -3.0, -3.0, -3.0, -3.0, 0.0],
    ],
)
def test_equal_zeros_stay_in_order_under_a_quantile(values, quantile):
    """As in Prometheus' insertion sort, which windows of up to twelve samples go through."""
    found = over_time.quantile(whole(values), np.array([quantile]))[0, 0]
    ordered, rank = sorted(values), quantile * (len(values) - 1)
    below = np.floor(rank)
    low, high = ordered[int(below)], ordered[min(int(below) + 1, len(values) - 1)]
    expected = low * (1 - (rank - below)) + high * (rank - below)
    assert (found, math.copysign(1, found)) == (expected, math.copysign(1, expected))
