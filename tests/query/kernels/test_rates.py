"""Extrapolation on cases that were worked out by hand from extrapolatedRate."""

import numpy as np
import pytest

from meterhall.query.kernels.rates import extrapolated, instant
from meterhall.query.kernels.windows import aligned, ragged

# seconds and values of one series, end and range in seconds, increase of a counter, delta
CASES = [
    # Samples to both edges: half an interval of grace on either side.
    ([10, 20, 30], [0, 5, 10], 30, 30, 10, 15),
    # A counter is not taken below zero: 3 s before the first sample it was there.
    ([10, 20, 30], [3, 13, 23], 30, 30, 23, 30),
    # A reset inside: what was held before is added.
    ([10, 20, 30], [8, 9, 2], 30, 20.001, 3.00015 * 20.001 / 20.001, None),
    # Far from both edges: half the mean distance is added on either side.
    ([100, 110, 120], [100, 110, 120], 200, 200, 30, 30),
]


def one(times, values, end, range_s):
    times = np.array(times, np.int64) * 1000
    ends = np.array([end * 1000], np.int64)
    range_ms = round(range_s * 1000)
    values = np.array(values, np.float64)
    yield aligned(times, values[None, :], ends, range_ms), ends, range_ms
    yield ragged(times, values, np.array([0, len(times)]), ends, range_ms), ends, range_ms


@pytest.mark.parametrize(("times", "values", "end", "range_s", "increase", "delta"), CASES)
def test_extrapolation(times, values, end, range_s, increase, delta):
    for windows, ends, range_ms in one(times, values, end, range_s):
        for counter, expected in ((True, increase), (False, delta)):
            if expected is None:
                continue
            with np.errstate(all="ignore"):
                gained, present = extrapolated(
                    windows, ends, range_ms, counter=counter, per_second=False
                )
                rate, _ = extrapolated(windows, ends, range_ms, counter=counter, per_second=True)
            assert np.all(present)
            assert gained[0, 0] == pytest.approx(expected, rel=1e-3)
            assert rate[0, 0] == pytest.approx(gained[0, 0] / range_s, rel=1e-12)


def test_one_sample_is_not_enough():
    for windows, ends, range_ms in one([10], [1], 20, 30):
        with np.errstate(all="ignore"):
            _, present = extrapolated(windows, ends, range_ms, counter=True, per_second=True)
            _, present_instant = instant(windows, counter=True, per_second=True)
        assert not np.any(present)
        assert not np.any(present_instant)


@pytest.mark.parametrize(
    ("values", "counter", "expected"),
    [([1, 5, 8], True, 0.3), ([1, 9, 4], True, 0.4), ([1, 9, 4], False, -0.5)],
)
def test_instant_rate(values, counter, expected):
    for windows, _, _ in one([10, 20, 30], values, 30, 30):
        gained, present = instant(windows, counter=counter, per_second=True)
        assert np.all(present)
        assert gained[0, 0] == pytest.approx(expected)


def test_resets_are_added_in_order_also_with_huge_values():
    times = [10, 20, 30, 40, 50]
    values = [0, 1e16, 1, 1e16, 3]
    for windows, ends, range_ms in one(times, values, 50, 50):
        gained, _ = extrapolated(windows, ends, range_ms, counter=True, per_second=False)
        assert gained[0, 0] == ((3 - 0) + 1e16 + 1e16) * (40 + 5 + 0 - 5) / 40
