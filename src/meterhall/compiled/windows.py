"""Windows over series that share clocks: one pass over each series, without arrays between the steps.

An empty window gives no point. Every kernel does the same operations in the same order as the array operations of
query.kernels, so that their results are the same to the last bit; but sums, whose order is not theirs.
"""

import numpy as np
from numpy.typing import NDArray

from meterhall.compiled.jit import inlined, kernel, reading, types
from meterhall.compiled.shapes import Clocked, Points, Sums

Numbers = NDArray[np.int64]
Line = NDArray[np.float64]
Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LINE = reading(types.float64, 1)
_NUMBERS, _GRID = reading(types.int64, 1), reading(types.int64, 2)
_VALUES, _FLAGS = reading(types.float64, 2), reading(types.boolean, 2)
_OUT, _COUNTS = types.float64[:, ::1], types.int64[:, ::1]
# Of a named tuple's fields Numba converts none, so that they are taken as writable arrays are.
_CLOCKED = types.NamedTuple((_COUNTS, types.int64[::1], _OUT, _COUNTS, _COUNTS), Clocked)
_POINTS = types.NamedTuple((_OUT, types.boolean[:, ::1]), Points)
_SUMS = types.NamedTuple((_OUT, _OUT, _COUNTS), Sums)

# More than two roundings can make of a quotient.
_WIDER = 1.0 + 2.0**-40
# Below this share of all that came before, a window's sum is taken anew.
_SHARE = 2.0**-40
# Where more values come or go between two windows, sorting is quicker than keeping order.
_INSERTED_MAX = 64
# What the windows of one clock have in common: seconds from first to last sample, to the window's start and to its
# end, the factor of what was gained, and the share of it below which a counter began near zero.
_SAMPLED, _TO_START, _TO_END, _FACTOR, _NEAR = range(5)


@kernel(types.void, _GRID, _NUMBERS, _NUMBERS, _COUNTS)
def after(times: Numbers, lengths: Numbers, moments: Numbers, out: Numbers) -> None:
    """How many of the first `lengths[c]` times of each clock are not after each of the ascending moments."""
    for clock in range(len(times)):
        place = 0
        for step in range(len(moments)):
            while place < lengths[clock] and times[clock, place] <= moments[step]:
                place += 1
            out[clock, step] = place


@kernel(types.void, _CLOCKED, _NUMBERS, types.int64, _POINTS)
def last(of: Clocked, ends: Numbers, lookback_ms: int, into: Points) -> None:
    """The last value in (end - lookback, end]; `lo` is not looked at."""
    for series in range(len(of.values)):
        clock = of.clock_of[series]
        for step in range(len(ends)):
            place = of.hi[clock, step] - 1
            here = place >= 0 and of.times[clock, place] > ends[step] - lookback_ms
            into.present[series, step] = here
            into.values[series, step] = of.values[series, max(place, 0)]


@inlined
def _measure(
    of: Clocked, clock: int, ends: Numbers, range_ms: int, per_range: float, frame: Values
) -> None:
    """Fills `frame[5, T]` with what the windows of a clock have in common, where they have two samples."""
    for step in range(len(ends)):
        count = of.hi[clock, step] - of.lo[clock, step]
        if count < 2:
            continue
        first_ms = of.times[clock, of.lo[clock, step]]
        last_ms = of.times[clock, of.hi[clock, step] - 1]
        sampled = (last_ms - first_ms) / 1000.0
        to_start = (first_ms - (ends[step] - range_ms)) / 1000.0
        to_end = (ends[step] - last_ms) / 1000.0
        between = sampled / (count - 1)
        far = between * 1.1
        if to_start >= far:
            to_start = between / 2
        if to_end >= far:
            to_end = between / 2
        frame[_SAMPLED, step], frame[_TO_START, step], frame[_TO_END, step] = (
            sampled,
            to_start,
            to_end,
        )
        frame[_FACTOR, step] = (sampled + to_start + to_end) / sampled / per_range
        frame[_NEAR, step] = to_start / sampled * _WIDER


@inlined
def _falls(values: Values, series: int) -> bool:
    found = False
    for place in range(1, values.shape[1]):
        found |= values[series, place] < values[series, place - 1]
    return found


@inlined
def _gain(values: Values, series: int, first: int, final: int, falls: bool) -> float:
    """Last minus first, and what a counter held before each reset."""
    gained: float = values[series, final] - values[series, first]
    if falls:
        for place in range(first + 1, final + 1):
            if values[series, place] < values[series, place - 1]:
                gained += values[series, place - 1]
    return gained


@inlined
def _stretched(
    gained: float, low: float, counter: bool, step: int, frame: Values, per_range: float
) -> float:
    """What was gained, extrapolated to the window's edges."""
    if counter and gained > 0 and low >= 0 and low <= gained * frame[_NEAR, step]:
        # A counter was never below zero: do not extrapolate beyond where it would have been.
        sampled = frame[_SAMPLED, step]
        to_start = min(sampled * (low / gained), frame[_TO_START, step])
        factor: float = (sampled + to_start + frame[_TO_END, step]) / sampled / per_range
    else:
        factor = frame[_FACTOR, step]
    return gained * factor


@kernel(types.void, _CLOCKED, _NUMBERS, types.int64, types.boolean, types.boolean, _POINTS)
def extrapolated(
    of: Clocked, ends: Numbers, range_ms: int, counter: bool, per_second: bool, into: Points
) -> None:
    """What each window of two samples or more gained, extrapolated to its edges."""
    per_range = range_ms / 1000.0 if per_second else 1.0
    frame = np.empty((5, len(ends)))
    clock = -1
    for series in range(len(of.values)):
        if of.clock_of[series] != clock:
            clock = of.clock_of[series]
            _measure(of, clock, ends, range_ms, per_range, frame)
        falls = counter and _falls(of.values, series)
        for step in range(len(ends)):
            first, final = of.lo[clock, step], of.hi[clock, step] - 1
            into.present[series, step] = first < final
            into.values[series, step] = 0.0
            if first < final:
                gained = _gain(of.values, series, first, final, falls)
                low = of.values[series, first]
                into.values[series, step] = _stretched(gained, low, counter, step, frame, per_range)


@inlined
def _worse(held: float, value: float, greatest: bool) -> bool:
    return held < value if greatest else held > value


@kernel(types.void, _CLOCKED, types.boolean, _POINTS)
def extremes(of: Clocked, greatest: bool, into: Points) -> None:
    """Minima or maxima; NaN only where there is nothing else. Of a zero and its negative the first in time.

    `queue` has the places that can still become the extreme of a window, best first.
    """
    queue = np.empty(of.values.shape[1] + 1, np.int64)
    for series in range(len(of.values)):
        clock = of.clock_of[series]
        head = tail = seen = 0
        for step in range(of.lo.shape[1]):
            first, stop = of.lo[clock, step], of.hi[clock, step]
            seen = max(seen, first)
            while seen < stop:
                value = of.values[series, seen]
                if value == value:
                    while tail > head and _worse(
                        of.values[series, queue[tail - 1]], value, greatest
                    ):
                        tail -= 1
                    queue[tail] = seen
                    tail += 1
                seen += 1
            while head < tail and queue[head] < first:
                head += 1
            into.present[series, step] = first < stop
            into.values[series, step] = of.values[series, queue[head]] if head < tail else np.nan


@inlined
def _place(ordered: Line, count: int, value: float) -> int:
    """How many of the ascending numbers are below the value."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _inserted(ordered: Line, count: int, value: float) -> None:
    place = _place(ordered, count, value)
    for at in range(count, place, -1):
        ordered[at] = ordered[at - 1]
    ordered[place] = value


@inlined
def _removed(ordered: Line, count: int, value: float) -> None:
    for at in range(_place(ordered, count, value), count - 1):
        ordered[at] = ordered[at + 1]


@inlined
def _interpolated(ordered: Line, numbers: int, count: int, quantile: float) -> float:
    """Of `count` values, of which those that are no numbers come first."""
    if quantile != quantile:
        return np.nan
    if quantile < 0 or quantile > 1:
        return -np.inf if quantile < 0 else np.inf
    rank = quantile * (count - 1)
    below = np.floor(rank)
    weight = rank - below
    lower = int(below) - (count - numbers)
    upper = min(lower + 1, numbers - 1)
    low = ordered[lower] if lower >= 0 else np.nan
    high = ordered[upper] if upper >= 0 else np.nan
    between: float = low * (1 - weight) + high * weight
    return between


@inlined
def _sorted_anew(values: Values, series: int, first: int, stop: int, ordered: Line) -> int:
    numbers = 0
    for place in range(first, stop):
        if values[series, place] == values[series, place]:
            ordered[numbers] = values[series, place]
            numbers += 1
    ordered[:numbers].sort()
    return numbers


@kernel(types.void, _CLOCKED, _LINE, _POINTS)
def quantiles(of: Clocked, at: Line, into: Points) -> None:
    """The quantile `at[T]` of each window, whose numbers are kept in order as it moves on."""
    ordered = np.empty(of.values.shape[1])
    for series in range(len(of.values)):
        clock = of.clock_of[series]
        numbers = begun = seen = 0
        for step in range(of.lo.shape[1]):
            first, stop = of.lo[clock, step], of.hi[clock, step]
            if first >= seen or max(stop - seen, first - begun) > _INSERTED_MAX:
                numbers = _sorted_anew(of.values, series, first, stop, ordered)
                begun, seen = first, stop
            for place in range(begun, first):
                if of.values[series, place] == of.values[series, place]:
                    _removed(ordered, numbers, of.values[series, place])
                    numbers -= 1
            for place in range(seen, stop):
                if of.values[series, place] == of.values[series, place]:
                    _inserted(ordered, numbers, of.values[series, place])
                    numbers += 1
            begun, seen = first, stop
            into.present[series, step] = first < stop
            into.values[series, step] = 0.0
            if first < stop:
                into.values[series, step] = _interpolated(ordered, numbers, stop - first, at[step])


@inlined
def _two_sum(left: float, right: float) -> tuple[float, float]:
    """The rounded sum and what rounding lost."""
    total = left + right
    shift = total - left
    return total, (left - (total - shift)) + (right - shift)


@inlined
def _anew(values: Values, series: int, first: int, stop: int) -> tuple[float, float]:
    total, lost = 0.0, 0.0
    for place in range(first, stop):
        total, more = _two_sum(total, values[series, place])
        lost += more
    return total, lost


@kernel(types.void, _CLOCKED, types.boolean, _POINTS)
def totals(of: Clocked, mean: bool, into: Points) -> None:
    """Sums or means of values that are finite, not negative, and far from overflowing when added.

    Differences of running sums in twice the precision; a window that is tiny against all before it is added up anew.
    """
    length = of.values.shape[1]
    high, low = np.zeros(length + 1), np.zeros(length + 1)
    for series in range(len(of.values)):
        clock = of.clock_of[series]
        for place in range(length):
            total, lost = _two_sum(high[place], of.values[series, place])
            high[place + 1], low[place + 1] = _two_sum(total, low[place] + lost)
        for step in range(of.lo.shape[1]):
            first, stop = of.lo[clock, step], of.hi[clock, step]
            into.present[series, step] = first < stop
            into.values[series, step] = 0.0
            if first < stop:
                total, lost = _two_sum(high[stop], -high[first])
                lost += low[stop] - low[first]
                if total < _SHARE * high[stop]:
                    total, lost = _anew(of.values, series, first, stop)
                count = stop - first if mean else 1
                into.values[series, step] = total / count + lost / count


@kernel(types.void, _VALUES, _FLAGS, _NUMBERS, _NUMBERS, _SUMS)
def group_sums(values: Values, present: Flags, order: Numbers, bounds: Numbers, into: Sums) -> None:
    """Kahan-Neumaier sums, step by step, of the rows `order[bounds[g] : bounds[g + 1]]` of each group.

    `present[0, T]` stands for: all are there. All of `into` begins as zeros.
    """
    everywhere = len(present) == 0
    for group in range(len(bounds) - 1):
        for at in range(bounds[group], bounds[group + 1]):
            row = order[at]
            for step in range(values.shape[1]):
                if everywhere or present[row, step]:
                    old, term = into.total[group, step], values[row, step]
                    new = old + term
                    lost = (old - new) + term if abs(old) >= abs(term) else (term - new) + old
                    into.terms[group, step] += 1
                    into.total[group, step] = new
                    into.carry[group, step] = (
                        0.0 if np.isinf(new) else into.carry[group, step] + lost
                    )
