"""Quantiles and fractions of classic histograms: cumulative counts[B, T] under bounds[B].

After BucketQuantile and BucketFraction of promql/quantile.go. Bounds ascend strictly and end in +Inf.
"""

from dataclasses import dataclass

import numpy as np

from meterhall.model.samples import ValueArray
from meterhall.query.kernels.windows import BoolArray, IndexArray

# Relative difference of neighbouring counts that counts as rounding noise.
_NOISE = 1e-12
_SMALLEST_NORMAL = 2.2250738585072014e-308
_LARGEST = 1.7976931348623157e308


@dataclass(frozen=True, slots=True, eq=False)
class Monotonic:
    """Counts that never decrease, and per step what was forced: first and last bucket, largest drop."""

    counts: ValueArray
    forced: BoolArray
    bound_min: ValueArray
    bound_max: ValueArray
    drop_max: ValueArray

    def some(self, columns: slice) -> "Monotonic":
        """The same for some columns."""
        return Monotonic(
            self.counts[:, columns],
            self.forced[columns],
            self.bound_min[columns],
            self.bound_max[columns],
            self.drop_max[columns],
        )


def _nearly_equal(left: ValueArray, right: ValueArray) -> BoolArray:
    magnitude = np.abs(left) + np.abs(right)
    difference = np.abs(left - right)
    tiny = (left == 0) | (right == 0) | (magnitude < _SMALLEST_NORMAL)
    near = np.where(
        tiny,
        difference < _NOISE * _SMALLEST_NORMAL,
        difference / np.minimum(magnitude, _LARGEST) < _NOISE,
    )
    return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)) | near)


def monotonic(counts: ValueArray, bounds: ValueArray) -> Monotonic:
    """Counts[B, T] with noise levelled and every decrease raised to what came before."""
    steps = counts.shape[1]
    forced = np.zeros(steps, np.bool_)
    bound_min, bound_max = np.full(steps, np.inf), np.full(steps, -np.inf)
    drop_max = np.zeros(steps)
    if _rises(counts):
        return Monotonic(counts, forced, bound_min, bound_max, drop_max)
    fixed = counts.copy()
    previous = counts[0]
    for bucket in range(1, len(counts)):
        current = counts[bucket]
        level = _nearly_equal(previous, current)
        falls = ~level & (current < previous)
        fixed[bucket] = np.where(level | falls, previous, current)
        if falls.any():
            forced |= falls
            bound_min = np.where(falls, np.minimum(bound_min, bounds[bucket]), bound_min)
            bound_max = np.where(falls, np.maximum(bound_max, bounds[bucket]), bound_max)
            drop_max = np.where(falls, np.maximum(drop_max, previous - current), drop_max)
        previous = fixed[bucket]
    return Monotonic(fixed, forced, bound_min, bound_max, drop_max)


def _rises(counts: ValueArray) -> bool:
    """Whether no count is negative and each equals the one before or is above it by more than noise."""
    rise = np.diff(counts, axis=0)
    clear = (rise == 0) | (rise > 10 * _NOISE * counts[1:] + _SMALLEST_NORMAL)
    return bool(clear.all() and (counts[0] >= 0).all())


def quantile(counts: ValueArray, bounds: ValueArray, at: ValueArray) -> ValueArray:
    """The `at[T]` quantile of monotonic counts[B, T], interpolated within its bucket."""
    steps = np.arange(counts.shape[1])
    total = counts[-1]
    if len(bounds) < 2:
        result = np.full(counts.shape[1], np.nan)
    else:
        rank = at * total
        bucket = _reached(counts, rank)
        inner = np.minimum(bucket, len(bounds) - 2)
        lower = np.where(inner > 0, bounds[inner - 1], 0.0)
        below = np.where(inner > 0, counts[inner - 1, steps], 0.0)
        share = (rank - below) / (counts[inner, steps] - below)
        result = lower + (bounds[inner] - lower) * share
        result = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], result)
        result = np.where(bucket == len(bounds) - 1, bounds[-2], result)
        result = np.where(total == 0, np.nan, result)
    return edge_quantiles(result, at)


def _reached(counts: ValueArray, rank: ValueArray) -> IndexArray:
    """The first bucket whose count reaches rank[T], else the last one.

    By bisection as Go's sort.Search goes, because where a count is NaN the way decides.
    """
    steps = np.arange(counts.shape[1])
    low = np.zeros(counts.shape[1], np.int64)
    high = np.full(counts.shape[1], len(counts) - 1)
    for _ in range(len(counts).bit_length()):
        middle = (low + high) // 2
        reached = counts[middle, steps] >= rank
        high = np.where(reached, np.minimum(middle, high), high)
        low = np.where(reached | (low >= high), low, middle + 1)
    return low


def edge_quantiles(result: ValueArray, at: ValueArray) -> ValueArray:
    """Quantiles below 0 are -Inf, above 1 +Inf, of NaN NaN, whatever the buckets are."""
    result = np.where(at < 0, -np.inf, np.where(at > 1, np.inf, result))
    return np.where(np.isnan(at), np.nan, result)


def fraction(
    counts: ValueArray, bounds: ValueArray, lower: ValueArray, upper: ValueArray
) -> ValueArray:
    """The share of observations between lower[T] and upper[T], of monotonic counts[B, T]."""
    total = counts[-1]
    above = np.minimum(_rank(counts, bounds, upper), total)
    share = (above - np.minimum(_rank(counts, bounds, lower), total)) / total
    share = np.where(lower >= upper, 0.0, share)
    nothing = (total == 0) | np.isnan(total) | np.isnan(lower) | np.isnan(upper)
    return np.where(nothing, np.nan, share)


def _rank(counts: ValueArray, bounds: ValueArray, value: ValueArray) -> ValueArray:
    """How many observations lie below value[T], interpolated linearly within its bucket."""
    steps = np.arange(counts.shape[1])
    bucket = np.searchsorted(bounds, value, side="left")
    bucket = np.minimum(bucket, len(bounds) - 1)
    start = np.where(bucket > 0, bounds[bucket - 1], np.where(bounds[0] > 0, 0.0, -np.inf))
    below = np.where(bucket > 0, counts[bucket - 1, steps], 0.0)
    count = counts[bucket, steps]
    end = bounds[bucket]
    inside = below + (count - below) * (value - start) / (end - start)
    # An unbounded bucket has no width: inside the last one nothing more is counted, inside a first
    # one that reaches below zero all of it is.
    result = np.where(np.isinf(end), below, inside)
    result = np.where(np.isinf(start), count, result)
    result = np.where(value <= start, below, result)
    return np.where(value == end, count, result)
