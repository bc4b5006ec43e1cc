"""Whole series by clock, and the machine code that goes over their windows in one pass (`compiled.windows`).

What is here does what its namesakes among the array operations do, which remain the way for series with holes,
for kernels that are not loaded, and for what no kernel was written for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from meterhall.compiled.loading import LOADER
from meterhall.compiled.shapes import Clocked, Points
from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.query.kernels.windows import IndexArray

# So many points take array operations some milliseconds; a service that is never asked for as many loads no kernels.
_WORTH_LOADING = 100_000
# Sums of values below this cannot overflow, however many there are.
_SUMMABLE = 1e290

# So many at a time stay in the cache.
_DIFFERENCES = 4096

# Writes the points of every window; False where it cannot, and then nothing is written.
Fused = Callable[[Any, Clocked, Points], bool]


def machine(points: int) -> Any:
    """The kernels for a result of so many points, or None."""
    return LOADER.kernels("windows", worth_loading=points >= _WORTH_LOADING)


def positions(
    kernels: Any, times: TimestampArray, lengths: IndexArray, moments: TimestampArray
) -> IndexArray:
    """How many of each clock's times are not after each of the ascending moments, [C, T]."""
    found = np.empty((len(times), len(moments)), np.int64)
    kernels.after(times, lengths, moments, found)
    return found


def widest(of: Clocked) -> int:
    """The most samples that a window has. Some clocks at a time, so that the differences take no memory to speak of."""
    count, steps = of.lo.shape
    span = max(1, _DIFFERENCES // max(1, steps))
    runs = (slice(first, first + span) for first in range(0, count, span))
    return max((int((of.hi[run] - of.lo[run]).max(initial=0)) for run in runs), default=0)


def extrapolated(ends: TimestampArray, range_ms: int, *, counter: bool, per_second: bool) -> Fused:
    """As rates.extrapolated."""

    def fused(kernels: Any, of: Clocked, into: Points) -> bool:
        kernels.extrapolated(of, ends, range_ms, counter, per_second, into)
        return True

    return fused


def last(ends: TimestampArray, lookback_ms: int) -> Fused:
    """The last value in (end - lookback, end] of each series."""

    def fused(kernels: Any, of: Clocked, into: Points) -> bool:
        kernels.last(of, ends, lookback_ms, into)
        return True

    return fused


def extremes(*, greatest: bool) -> Fused:
    """As over_time.minimum and maximum."""

    def fused(kernels: Any, of: Clocked, into: Points) -> bool:
        kernels.extremes(of, greatest, into)
        return True

    return fused


def quantiles(at: ValueArray) -> Fused:
    """As over_time.quantile: `at[T]` of each window."""
    at = np.ascontiguousarray(at)

    def fused(kernels: Any, of: Clocked, into: Points) -> bool:
        kernels.quantiles(of, at, into)
        return True

    return fused


def totals(*, mean: bool) -> Fused:
    """As summation.window_sums and window_means, of values whose sums neither cancel nor overflow."""

    def fused(kernels: Any, of: Clocked, into: Points) -> bool:
        # NaN fails both comparisons.
        if not (of.values.min() >= 0 and of.values.max() < _SUMMABLE):
            return False
        kernels.totals(of, mean, into)
        return True

    return fused
