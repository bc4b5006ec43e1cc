"""The `anchored` and `smoothed` modifiers: ranges whose edges carry a value of their own.

An anchored range begins with the last sample at or before its start; a smoothed one has at both edges
the line between the samples around them. The windows given here reach beyond the range by the look-back:
to the left for both, for smoothed also to the right. After extendedRate in promql/functions.go.
"""

from dataclasses import dataclass

import numpy as np

from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.query.kernels.windows import BoolArray, IndexArray, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """Extended windows and the ranges (starts, ends] they are for; `first` and `last` are their edges.

    `first` is the last sample at or before the start, or the first of all; `last` the last sample, or
    where the end is smoothed the first at or after it.
    """

    windows: Windows
    starts: TimestampArray
    ends: TimestampArray
    smoothed: bool
    first: IndexArray
    last: IndexArray
    present: BoolArray


def bounded(windows: Windows, ends: TimestampArray, range_ms: int, *, smoothed: bool) -> Bounded:
    """Finds the edges of every range."""
    starts = ends - range_ms
    greatest = windows.hi - 1
    first = np.maximum(np.minimum(windows.after(starts), greatest) - 1, windows.lo)
    last = np.minimum(windows.after(ends - 1), greatest) if smoothed else greatest
    last = np.maximum(last, windows.lo)
    present = (windows.count > 0) & (windows.pick(windows.times, last) > starts)
    if smoothed:
        present &= windows.pick(windows.times, first) <= ends
    return Bounded(windows, starts, ends, smoothed, first, last, present)


def gain(ranges: Bounded, *, counter: bool) -> ValueArray:
    """What each range gained between its edges, resets of a counter added."""
    windows, first, last = ranges.windows, ranges.first, ranges.last
    left, right = windows.pick(windows.values, first), windows.pick(windows.values, last)
    first_ms, last_ms = windows.pick(windows.times, first), windows.pick(windows.times, last)
    if ranges.smoothed:
        low = _line(windows, first, ranges.starts, counter=counter, left_edge=True)
        left = np.where(first_ms < ranges.starts, low, left)
        high = _line(windows, last - 1, ranges.ends, counter=counter, left_edge=False)
        right = np.where((last > windows.lo) & (last_ms > ranges.ends), high, right)
    gained = right - left
    if not counter:
        return np.asarray(gained)
    inner_first = first + (first_ms <= ranges.starts)
    inner_last = last - (last_ms >= ranges.ends)
    return np.asarray(gained + _lost(windows, inner_first, inner_last, left, right))


def interpolated(
    windows: Windows, ends: TimestampArray, lookback_ms: int
) -> tuple[ValueArray, BoolArray]:
    """A smoothed instant: the line between the last sample before each end and the first after it."""
    after = np.minimum(windows.after(ends), windows.hi)
    before = after - 1
    time_ms = windows.pick(windows.times, before)
    present = (before >= windows.lo) & (time_ms > ends - lookback_ms)
    line = _line(windows, before, ends, counter=False, left_edge=True)
    value = windows.pick(windows.values, before)
    return np.where((time_ms < ends) & (after < windows.hi), line, value), present


def anchored_values(ranges: Bounded) -> Windows:
    """The windows that begin at the anchor, for functions that count what happens between samples."""
    windows = ranges.windows
    return Windows(
        windows.times, windows.values, ranges.first, ranges.last + 1, windows.shape, windows.offsets
    )


def _line(
    windows: Windows, before: IndexArray, when: TimestampArray, *, counter: bool, left_edge: bool
) -> ValueArray:
    """The line from one sample to its next, at `when`; a counter that fell between them began anew."""
    left, right = windows.pick(windows.values, before), windows.pick(windows.values, before + 1)
    left_ms = windows.pick(windows.times, before)
    right_ms = windows.pick(windows.times, before + 1)
    if counter:
        fell = right < left
        low = np.where(fell, 0.0, left) if left_edge else left
        right = right if left_edge else np.where(fell, right + left, right)
        left = low
    return np.asarray(left + (right - left) * (when - left_ms) / (right_ms - left_ms))


def _lost(
    windows: Windows, first: IndexArray, last: IndexArray, left: ValueArray, right: ValueArray
) -> ValueArray:
    """What a counter held before each reset on the way left, samples first to last, right."""
    drops = np.zeros(windows.values.shape)
    before, after = windows.values[..., :-1], windows.values[..., 1:]
    np.copyto(drops[..., 1:], before, where=after < before)
    some = first <= last
    begin = np.minimum(first + 1, last + 1)
    inner = Windows(windows.times, windows.values, begin, last + 1, windows.shape)
    entry, leave = windows.pick(windows.values, first), windows.pick(windows.values, last)
    on_the_way = (
        np.where(entry < left, left, 0.0)
        + np.where(begin <= last, inner.reduce(np.add, drops), 0.0)
        + np.where(right < leave, leave, 0.0)
    )
    return np.where(some, on_the_way, np.where(right < left, left, 0.0))
