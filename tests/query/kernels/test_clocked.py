"""Machine code and array operations give the same points, whatever the samples are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.compiled.loading import LOADER
from meterhall.compiled.shapes import Clocked, Points
from meterhall.query.kernels import clocked, groupwise, over_time, rates, summation
from meterhall.query.kernels.windows import aligned

LOADER.wait()
KERNELS = LOADER.kernels("windows")

RANGE_MS = 50
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1e-300, 1e308, float("inf"), float("-inf"), float("nan")]),
    st.floats(0, 1e6),
    st.integers(0, 50).map(float),
    st.floats(-1e6, 1e6),
)


@st.composite
def samples(draw, values=VALUES):
    """Times of one clock, values of two series, and even moments."""
    times = sorted(draw(st.sets(st.integers(-20, 300), min_size=1, max_size=40)))
    cells = st.lists(values, min_size=2 * len(times), max_size=2 * len(times))
    matrix = np.array(draw(cells), np.float64).reshape(2, len(times))
    ends = draw(st.integers(-30, 50)) + draw(st.integers(1, 60)) * np.arange(
        draw(st.integers(1, 9))
    )
    return np.array(times, np.int64), matrix, ends


def by_machine(fused, times, matrix, ends, range_ms=RANGE_MS):
    lengths = np.array([len(times)])
    lo, hi = (
        clocked.positions(KERNELS, times[None], lengths, each) for each in (ends - range_ms, ends)
    )
    of = Clocked(times[None].copy(), np.zeros(2, np.int64), matrix, lo, hi)
    shape = (2, len(ends))
    into = Points(np.full(shape, 99.0), np.ones(shape, np.bool_))
    return into if fused(KERNELS, of, into) else None


def by_arrays(kernel, times, matrix, ends, range_ms=RANGE_MS):
    windows = aligned(times, matrix, ends, range_ms)
    with np.errstate(all="ignore"):
        values, present = kernel(windows)
    return np.broadcast_to(values, windows.shape), np.broadcast_to(present, windows.shape)


def check(fused, kernel, given_samples, rtol=0.0, range_ms=RANGE_MS):
    found = by_machine(fused, *given_samples, range_ms)
    if found is None:
        return
    values, present = by_arrays(kernel, *given_samples, range_ms)
    np.testing.assert_array_equal(found.present, present)
    np.testing.assert_allclose(found.values[present], values[present], rtol=rtol)


@pytest.mark.parametrize("counter", [True, False])
@pytest.mark.parametrize("per_second", [True, False])
@given(samples())
def test_extrapolated(counter, per_second, given_samples):
    ends = given_samples[2]
    options = {"counter": counter, "per_second": per_second}
    check(
        clocked.extrapolated(ends, RANGE_MS, **options),
        lambda windows: rates.extrapolated(windows, ends, RANGE_MS, **options),
        given_samples,
    )


@pytest.mark.parametrize("greatest", [True, False])
@given(samples())
def test_extremes(greatest, given_samples):
    kernel = over_time.maximum if greatest else over_time.minimum
    check(
        clocked.extremes(greatest=greatest),
        lambda windows: (kernel(windows), windows.count > 0),
        given_samples,
    )


@pytest.mark.parametrize("greatest", [True, False])
@pytest.mark.parametrize("count", [2, 3, 7, 40])
def test_the_first_of_equal_zeros_is_the_extreme(greatest, count):
    """As Prometheus' comparison has it, which only a smaller or a greater one passes."""
    times, ends = np.arange(1, count + 1), np.array([count])
    zeros = np.full((2, count), -0.0)
    zeros[0, 0] = zeros[1, 1:] = 0.0
    kernel = over_time.maximum if greatest else over_time.minimum
    for values in (
        by_machine(clocked.extremes(greatest=greatest), times, zeros, ends).values,
        kernel(aligned(times, zeros, ends, RANGE_MS)),
    ):
        assert np.signbit(values[:, 0]).tolist() == [False, True]


@given(
    samples(),
    st.lists(
        st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0, -1.0, 2.0, float("nan")]), min_size=9, max_size=9
    ),
)
def test_quantiles(given_samples, at):
    at = np.array(at)[: len(given_samples[2])]
    check(
        clocked.quantiles(at),
        lambda windows: (over_time.quantile(windows, at), windows.count > 0),
        given_samples,
    )


@pytest.mark.parametrize(
    ("cells", "negative"), [([-1.0, 0.0, -0.0], True), ([-1.0, -0.0, 0.0], False)]
)
def test_equal_zeros_stay_in_order_under_a_quantile(cells, negative):
    """As in Prometheus' insertion sort, which windows of up to twelve samples go through."""
    times, ends = np.arange(1, 4), np.array([2, 3])
    matrix, greatest = np.array([cells, cells]), np.ones(2)
    found = by_machine(clocked.quantiles(greatest), times, matrix, ends)
    assert np.signbit(found.values[:, 1]).tolist() == [negative, negative]


@pytest.mark.parametrize("stride", [7, 70, 700])
def test_quantiles_of_long_windows(stride):
    random = np.random.default_rng(stride)
    times = np.cumsum(random.integers(1, 3, 3000))
    matrix = random.choice([1.0, 2.5, float("nan"), -7.0, 1e9], (2, 3000)) * random.random(
        (2, 3000)
    )
    ends = np.arange(0, 6000, stride)
    at = random.random(len(ends))
    check(
        clocked.quantiles(at),
        lambda windows: (over_time.quantile(windows, at), windows.count > 0),
        (times, matrix, ends),
        range_ms=900,
    )


@pytest.mark.parametrize("mean", [True, False])
@given(samples(st.one_of(st.floats(0, 1e6), st.sampled_from([0.0, 1e-300, 1e200, 1e280]))))
def test_totals(mean, given_samples):
    kernel = summation.window_means if mean else summation.window_sums
    # Both are exact but for the last rounding.
    check(
        clocked.totals(mean=mean),
        lambda windows: (kernel(windows), windows.count > 0),
        given_samples,
        rtol=2.0**-52,
    )


@given(samples())
def test_totals_leave_what_may_cancel_to_others(given_samples):
    _, matrix, _ = given_samples
    easy = bool((matrix >= 0).all() and (matrix < 1e290).all())
    assert (by_machine(clocked.totals(mean=False), *given_samples) is not None) == easy


@given(samples())
def test_last(given_samples):
    ends = given_samples[2]
    check(
        clocked.last(ends, RANGE_MS),
        lambda windows: (windows.last(), windows.count > 0),
        given_samples,
    )


@pytest.mark.parametrize("mean", [True, False])
@given(st.data())
def test_group_sums(mean, data):
    rows, steps = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 5))
    size = rows * steps
    values = np.array(data.draw(st.lists(VALUES, min_size=size, max_size=size))).reshape(
        rows, steps
    )
    present = np.array(
        data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_
    ).reshape(rows, steps)
    group_of = np.array(data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows)))
    group_of = np.unique(group_of, return_inverse=True)[1]
    masks = present if data.draw(st.booleans()) else None
    grouped = groupwise.grouped(values, masks, group_of, int(group_of.max()) + 1)
    with np.errstate(all="ignore"):
        found, terms = groupwise.totals_by_machine(KERNELS, grouped, mean=mean)
        for part in grouped.parts():
            kernel = groupwise.means if mean else groupwise.sums
            expected = kernel(part.members)
            counts = part.members.counts
            np.testing.assert_array_equal(terms[part.groups, part.steps], counts)
            here = counts > 0
            if mean:
                # An overflow on the way is left to the arrays.
                here &= np.isfinite(found[part.groups, part.steps])
            np.testing.assert_allclose(
                found[part.groups, part.steps][here], expected[here], rtol=1e-15
            )


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 1500), (200, 90), (2, 9000)])
def test_the_widest_window_is_found_in_whatever_run_it_is(shape):
    for clock in range(0, shape[0], 7):
        lo = np.zeros(shape, np.int64)
        hi = np.ones(shape, np.int64)
        hi[clock, -1] = 9
        none = np.empty(0)
        assert clocked.widest(Clocked(none, none, none, lo, hi)) == 9
    empty = np.zeros(shape, np.int64)
    assert clocked.widest(Clocked(empty, empty, empty, empty, empty)) == 0
