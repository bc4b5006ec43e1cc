"""rate, increase, delta and their instant forms, as extrapolatedRate and instantValue of functions.go."""

import numpy as np

from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.query.kernels.windows import BoolArray, Windows

# More than two roundings can make of a quotient.
_WIDER = 1.0 + 2.0**-40


def extrapolated(
    windows: Windows,
    ends: TimestampArray,
    range_ms: int,
    *,
    counter: bool,
    per_second: bool,
) -> tuple[ValueArray, BoolArray]:
    """What each window gained, extrapolated to its edges; present where it has two samples."""
    gained, first = _gain(windows, counter=counter)
    first_ms = windows.pick(windows.times, windows.lo)
    last_ms = windows.pick(windows.times, windows.hi - 1)
    steps = ends if windows.lo.ndim == 1 else ends[None, :]
    to_start = (first_ms - (steps - range_ms)) / 1000.0
    to_end = (steps - last_ms) / 1000.0
    sampled = (last_ms - first_ms) / 1000.0
    between = sampled / (windows.count - 1)
    far = between * 1.1
    to_start = np.where(to_start >= far, between / 2, to_start)
    to_end = np.where(to_end >= far, between / 2, to_end)
    per_range = range_ms / 1000.0 if per_second else 1.0
    factor = (sampled + to_start + to_end) / sampled / per_range
    result = gained * factor
    if counter:
        # A counter was never below zero: do not extrapolate beyond where it would have been. Few windows
        # begin that low, so they are found by a cheap test that lets some too many through.
        near = first <= gained * (to_start / sampled * _WIDER)
        near &= (gained > 0) & (first >= 0)
        if near.any():
            shape = near.shape
            span, start, end = (
                np.broadcast_to(each, shape)[near] for each in (sampled, to_start, to_end)
            )
            to_zero = span * (first[near] / gained[near])
            start = np.where(to_zero < start, to_zero, start)
            result[near] = gained[near] * ((span + start + end) / span / per_range)
    return result, windows.count >= 2


def _gain(windows: Windows, *, counter: bool) -> tuple[ValueArray, ValueArray]:
    """Last minus first, with what a counter held before each reset added; and the first."""
    first = windows.first()
    gained = windows.last() - first
    if not counter:
        return gained, first
    drops = np.zeros(windows.values.shape, np.bool_)
    np.less(windows.values[..., 1:], windows.values[..., :-1], out=drops[..., 1:])
    resets = windows.pairs(drops)
    if not resets.any():
        return gained, first
    # Added one by one, as Prometheus does: with huge values the order shows.
    chosen = windows.chosen(np.broadcast_to(resets > 0, windows.shape))
    total = gained[chosen.row, chosen.step]
    for index, live in chosen.each(1):
        before = chosen.values[index - 1]
        total = np.where(live & (chosen.values[index] < before), total + before, total)
    gained[chosen.row, chosen.step] = total
    return gained, first


def instant(windows: Windows, *, counter: bool, per_second: bool) -> tuple[ValueArray, BoolArray]:
    """The difference of the last two samples; present where there are two."""
    last = windows.last()
    before = windows.pick(windows.values, windows.hi - 2)
    gained = last - before
    if counter:
        gained = np.where(last < before, last, gained)
    if per_second:
        last_ms = windows.pick(windows.times, windows.hi - 1)
        before_ms = windows.pick(windows.times, windows.hi - 2)
        gained = gained / ((last_ms - before_ms) / 1000.0)
    return gained, windows.count >= 2
