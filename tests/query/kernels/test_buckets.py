"""Classic histograms: quantile and fraction, and the repair of counts that decrease."""

import numpy as np
import pytest

from meterhall.query.kernels.buckets import fraction, monotonic, quantile

INF = float("inf")
NAN = float("nan")


def column(counts):
    return np.array(counts, np.float64)[:, None]


QUANTILES = [
    ([0.1, 0.2, 1, INF], [5, 7, 11, 12], 0.5, 0.15),
    ([0.1, 0.2, 1, INF], [5, 7, 11, 12], 1, 1),
    ([0.1, 0.2, 1, INF], [5, 7, 11, 12], -1, -INF),
    ([0.1, 0.2, 1, INF], [5, 7, 11, 12], 1.5, INF),
    ([0.1, 0.2, 1, INF], [5, 7, 11, 12], NAN, NAN),
    ([-0.2, -0.1, 0.3, INF], [1, 2, 2, 3], 0, -0.2),
    ([0.1, INF], [0, 0], 0.5, NAN),
    ([INF], [4], 0.5, NAN),
]


@pytest.mark.parametrize(("bounds", "counts", "at", "expected"), QUANTILES)
def test_quantile(bounds, counts, at, expected):
    with np.errstate(all="ignore"):
        found = quantile(column(counts), np.array(bounds), np.array([float(at)]))
    assert found[0] == pytest.approx(expected, nan_ok=True)


FRACTIONS = [
    ([1, 2, 3, INF], [1, 3, 6, 100], 0, 1.5, 0.02),
    ([-3, -2, -1, INF], [10, 12, 15, 100], -4, -2, 0.02),
    ([-3, -2, -1, INF], [10, 12, 15, 100], -INF, INF, 1),
    ([1, 2, 3, INF], [1, 3, 6, 100], 2, 3.5, 0.03),
    ([1, 2, 3, INF], [1, 3, 6, 100], 3, 2, 0),
    ([1, 2, INF], [1, 3, 10], 5, 10, 0),
    ([1, INF], [0, 0], 0, 5, NAN),
    ([INF], [100], 0, 1, 0),
    ([1, INF], [1, 100], 0, NAN, NAN),
]


@pytest.mark.parametrize(("bounds", "counts", "lower", "upper", "expected"), FRACTIONS)
def test_fraction(bounds, counts, lower, upper, expected):
    with np.errstate(all="ignore"):
        found = fraction(
            column(counts), np.array(bounds), np.array([float(lower)]), np.array([float(upper)])
        )
    assert found[0] == pytest.approx(expected, nan_ok=True)


def test_decreases_are_raised_and_reported():
    bounds = np.array([0.1, 1, 10, 100, 1000, INF])
    fixed = monotonic(column([20, 10, 50, 40, 90, 80]), bounds)
    assert fixed.counts[:, 0].tolist() == [20, 20, 50, 50, 90, 90]
    assert fixed.forced.tolist() == [True]
    assert (fixed.bound_min[0], fixed.bound_max[0], fixed.drop_max[0]) == (1, INF, 10)


def test_noise_is_levelled_silently():
    fixed = monotonic(column([1, 1 - 1e-15, 1 + 1e-15]), np.array([1, 2, INF]))
    assert fixed.counts[:, 0].tolist() == [1, 1, 1]
    assert not fixed.forced.any()
