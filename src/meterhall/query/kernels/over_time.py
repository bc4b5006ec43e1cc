"""The *_over_time family over windows, each as its namesake in promql/functions.go."""

import numpy as np

from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.query.kernels.summation import kahan_add
from meterhall.query.kernels.windows import BoolArray, IndexArray, Windows


def minimum(windows: Windows) -> ValueArray:
    """The least value; NaN only where there is nothing else. Of a zero and its negative the first in time."""
    return _first_of_zeros(windows, windows.reduce(np.fmin, windows.values))


def maximum(windows: Windows) -> ValueArray:
    """The greatest value, likewise."""
    return _first_of_zeros(windows, windows.reduce(np.fmax, windows.values))


def _first_of_zeros(windows: Windows, extreme: ValueArray) -> ValueArray:
    """For NumPy 0 and -0 are the same; Prometheus keeps what came first."""
    values = windows.values.reshape(-1)
    zeros = np.flatnonzero(values == 0)
    if not np.signbit(values[zeros]).any():
        return extreme
    chosen = windows.chosen((extreme == 0) & (windows.count > 0))
    found = extreme.copy()
    found[chosen.row, chosen.step] = values[zeros[np.searchsorted(zeros, chosen.lo)]]
    return found


def changes(windows: Windows) -> IndexArray:
    """How often the value changed; NaN to NaN is no change."""
    before, after = windows.values[..., :-1], windows.values[..., 1:]
    marks = np.zeros(windows.values.shape, np.bool_)
    marks[..., 1:] = (before != after) & ~(np.isnan(before) & np.isnan(after))
    return windows.pairs(marks)


def resets(windows: Windows) -> IndexArray:
    """How often the value fell."""
    marks = np.zeros(windows.values.shape, np.bool_)
    np.less(windows.values[..., 1:], windows.values[..., :-1], out=marks[..., 1:])
    return windows.pairs(marks)


def variance(windows: Windows) -> ValueArray:
    """Population variance by Welford's recurrence, both sums compensated."""
    mean, mean_lost = np.zeros(windows.shape), np.zeros(windows.shape)
    square, square_lost = np.zeros(windows.shape), np.zeros(windows.shape)
    for position, (value, _, live) in enumerate(windows.each()):
        delta = value - (mean + mean_lost)
        new_mean, new_lost = kahan_add(delta / (position + 1), mean, mean_lost)
        mean, mean_lost = np.where(live, new_mean, mean), np.where(live, new_lost, mean_lost)
        term = delta * (value - (mean + mean_lost))
        new_square, new_lost = kahan_add(term, square, square_lost)
        square = np.where(live, new_square, square)
        square_lost = np.where(live, new_lost, square_lost)
    return np.asarray((square + square_lost) / windows.count)


def quantile(windows: Windows, quantiles: ValueArray) -> ValueArray:
    """The quantile of every window, `quantiles[T]` per step."""
    result = np.empty(windows.shape)
    count = np.broadcast_to(windows.count, windows.shape)
    for part, block in windows.blocks():
        result[:, part] = sorted_quantile(block, count[:, part], quantiles[part])
    return result


def deviation(windows: Windows) -> ValueArray:
    """Median absolute deviation; NaN where any value is."""
    result = np.empty(windows.shape)
    count = np.broadcast_to(windows.count, windows.shape)
    for part, block in windows.blocks():
        half = np.full(block.shape[1], 0.5)
        median = sorted_quantile(block, count[:, part], half)
        distance = np.abs(block - median[..., None])
        numbers = np.count_nonzero(~np.isnan(block), axis=-1)
        spread = sorted_quantile(distance, count[:, part], half)
        result[:, part] = np.where(numbers < count[:, part], np.nan, spread)
    return result


def sorted_quantile(block: ValueArray, count: IndexArray, quantiles: ValueArray) -> ValueArray:
    """Quantiles along the last axis of `block[S, T, W]`; cells past `count[S, T]` hold NaN.

    NaN sorts before every number, as in promql/quantile.go. `quantiles[T]` outside [0, 1] give ∓Inf.
    """
    numbers = np.count_nonzero(~np.isnan(block), axis=-1)
    # NumPy's quickest way to sort does not tell 0 from -0 and may make one of the other.
    signed = bool((np.signbit(block) & (block == 0)).any())
    ordered = np.sort(block, axis=-1, kind="stable" if signed else None)
    rank = quantiles * (count - 1)
    below = np.floor(rank)
    weight = rank - below
    lower = np.clip(np.nan_to_num(below), 0, np.maximum(count - 1, 0)).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
    nans = count - numbers

    def at(index: IndexArray) -> ValueArray:
        cell = np.clip(index - nans, 0, block.shape[-1] - 1)
        found = np.take_along_axis(ordered, cell[..., None], axis=-1)[..., 0]
        return np.where(index < nans, np.nan, found)

    result = at(lower) * (1 - weight) + at(upper) * weight
    result = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, result))
    return np.where(np.isnan(quantiles), np.nan, result)


def extreme_times(windows: Windows, *, greatest: bool) -> TimestampArray:
    """The time of the least or greatest value of each window: its last occurrence."""
    best = np.full(windows.shape, np.nan)
    stamp = np.zeros(windows.shape, np.int64)
    for value, time_ms, live in windows.each():
        better = (value >= best) if greatest else (value <= best)
        take = live & (better | np.isnan(best))
        best, stamp = np.where(take, value, best), np.where(take, time_ms, stamp)
    return stamp


def smoothed(
    windows: Windows, smoothing: ValueArray, trend: ValueArray
) -> tuple[ValueArray, BoolArray]:
    """Holt's double exponential smoothing with factors per step [T]; needs two samples."""
    level = windows.first()
    previous = np.zeros(windows.shape)
    slope = windows.pick(windows.values, windows.lo + 1) - level
    for position, (value, _, live) in enumerate(windows.each()):
        if position == 0:
            continue
        if position > 1:
            new_slope = trend * (level - previous) + (1 - trend) * slope
            slope = np.where(live, new_slope, slope)
        new_level = smoothing * value + (1 - smoothing) * (level + slope)
        previous = np.where(live, level, previous)
        level = np.where(live, new_level, level)
    return level, windows.count >= 2


def regression(
    windows: Windows, intercept_ms: TimestampArray | None
) -> tuple[ValueArray, ValueArray, BoolArray]:
    """Least squares over seconds: slope, and intercept at `intercept_ms[T]` (None: the first sample)."""
    zero = np.zeros(windows.shape)
    sums = [(zero, zero)] * 4
    count = np.broadcast_to(windows.count, windows.shape)
    first = np.broadcast_to(windows.first(), windows.shape)
    constant = np.ones(windows.shape, np.bool_)
    origin = windows.pick(windows.times, windows.lo) if intercept_ms is None else intercept_ms
    for value, time_ms, live in windows.each():
        x = (time_ms - origin) / 1e3
        constant &= ~live | (value == first)
        terms = (x, value, x * value, x * x)
        for which, term in enumerate(terms):
            new, lost = kahan_add(np.broadcast_to(term, windows.shape), *sums[which])
            old, old_lost = sums[which]
            sums[which] = np.where(live, new, old), np.where(live, lost, old_lost)
    sum_x, sum_y, sum_xy, sum_xx = (total + lost for total, lost in sums)
    slope = (sum_xy - sum_x * sum_y / count) / (sum_xx - sum_x * sum_x / count)
    intercept = sum_y / count - slope * sum_x / count
    # A constant line is exact; a constant infinity has none. The comparison leaves NaN to the sums.
    slope = np.where(constant, np.where(np.isinf(first), np.nan, 0.0), slope)
    intercept = np.where(constant, np.where(np.isinf(first), np.nan, first), intercept)
    return slope, intercept, windows.count >= 2
