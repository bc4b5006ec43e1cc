"""From a Selection's samples to windows, in tiles that stay in cache.

Samples come stacked: many clocks in one matrix. Where windows lie is found once for each clock. A clock with enough
series is then evaluated on its own, so that all arithmetic on times is shared too; narrow ones are laid end to
end. So are rows with holes, without their STALE and ABSENT cells: each of them has windows of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from meterhall.compiled.shapes import Clocked, Points
from meterhall.model.samples import TimestampArray, ValueArray, is_absent, is_stale
from meterhall.model.stack import SeriesStack
from meterhall.query.budget import Budget
from meterhall.query.kernels.clocked import Fused
from meterhall.query.kernels.clocked import positions as positions_by_clock
from meterhall.query.kernels.windows import IndexArray, Windows, positions, ragged

# Series of one aligned tile: intermediate arrays of 128 by a few hundred steps stay in cache.
_TILE_SERIES = 128
# From so many windows a clock on, operations of its own cost less than indices for every series.
_CLOCK_WINDOWS_MIN = 4096
# A grid may be so many times longer for a second purpose.
_REACH_MAX = 2
# What a tile of several clocks holds.
_TILE_SAMPLES = 1 << 18
_TILE_CELLS = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Windows of some series; `rows` are their indices in the labels they came with."""

    rows: IndexArray
    windows: Windows


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Samples of several series laid end to end: series i is `[offsets[i], offsets[i + 1])`."""

    rows: IndexArray
    times: TimestampArray
    values: ValueArray
    offsets: IndexArray


def tiles_of(
    stack: SeriesStack, ends: TimestampArray, range_ms: int, budget: Budget
) -> Iterator[Tile]:
    """Windows (end - range, end] over every series of a stack."""
    whole, holed = stack.split()
    if whole is not None:
        yield from _whole_tiles(whole, ends, range_ms, budget)
    if holed is not None:
        yield from holed_tiles(holed, ends, range_ms, budget)


def holed_tiles(
    stack: SeriesStack, ends: TimestampArray, range_ms: int, budget: Budget
) -> Iterator[Tile]:
    """The same for series that have STALE or ABSENT cells: each of them has windows of its own."""
    for part in spans(stack, len(ends)):
        run = run_of(part, markers=False)
        if run is not None:
            windows = ragged(run.times, run.values, run.offsets, ends, range_ms)
            yield Tile(run.rows, replace(windows, tick=budget.check))
            budget.check()


def accounted(stacks: Iterable[SeriesStack], budget: Budget) -> Iterator[SeriesStack]:
    """Stacks as they are read, at the budget's cost."""
    for stack in stacks:
        budget.check()
        budget.read(stack.samples)
        yield stack


def clocked(
    kernels: Any, stack: SeriesStack, ends: TimestampArray, range_ms: int | None
) -> Clocked:
    """A stack without holes as kernels want it; without a range, windows only end."""
    hi = lo = positions_by_clock(kernels, stack.times, stack.lengths, ends)
    if range_ms is not None:
        lo = positions_by_clock(kernels, stack.times, stack.lengths, ends - range_ms)
    # Kernels do not write to these, but take no others.
    times = np.require(stack.times, requirements=["C", "W"])
    clock_of = np.require(stack.clock_of, requirements=["C", "W"])
    return Clocked(times, clock_of, np.require(stack.values, requirements=["C", "W"]), lo, hi)


def filled(fused: Fused, kernels: Any, of: Clocked, rows: IndexArray, points: Points) -> bool:
    """Has those rows of the points filled; returns whether it was done."""
    where = slice_of(rows)
    if isinstance(where, slice):
        return fused(kernels, of, Points(points.values[where], points.present[where]))
    shape = (len(rows), points.values.shape[1])
    apart = Points(np.empty(shape), np.empty(shape, np.bool_))
    done = fused(kernels, of, apart)
    if done:
        points.values[where], points.present[where] = apart
    return done


def slice_of(rows: IndexArray) -> slice | IndexArray:
    """Neighbouring rows as a slice, which is cheaper to write to."""
    first, last = int(rows[0]), int(rows[-1])
    consecutive = last - first == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    return slice(first, last + 1) if consecutive else rows


def after(stack: SeriesStack, moments: TimestampArray) -> IndexArray:
    """How many samples of each clock are not after each moment, [C, T]; moments are an even grid."""
    clocks, length = stack.times.shape
    if clocks == 1:
        return np.searchsorted(stack.times[0], moments, side="right")[None, :]
    bases = np.arange(clocks + 1) * length
    return np.asarray(positions(stack.times.reshape(-1), bases, moments) - bases[:-1, None])


def _edges(
    stack: SeriesStack, ends: TimestampArray, range_ms: int
) -> tuple[IndexArray, IndexArray]:
    """Where the windows (end - range, end] begin and end, [C, T] each."""
    stride = int(ends[1] - ends[0]) if len(ends) > 1 else 0
    if stride and range_ms % stride == 0 and range_ms <= _REACH_MAX * stride * len(ends):
        # A window begins where an earlier one ends: one search on a longer grid finds both.
        before = range_ms // stride
        grid = int(ends[0]) - range_ms + stride * np.arange(before + len(ends))
        found = after(stack, grid)
        return found[:, : len(ends)], found[:, before:]
    return after(stack, ends - range_ms), after(stack, ends)


def is_wide(stack: SeriesStack, steps: int) -> bool:
    """Whether its clocks are worth operations of their own."""
    clocks = len(stack.lengths)
    return clocks == 1 or len(stack.rows) * steps >= clocks * _CLOCK_WINDOWS_MIN


def spans(stack: SeriesStack, steps: int) -> Iterator[SeriesStack]:
    """The stack in parts that make a tile each."""
    series, length = stack.values.shape
    span = max(1, min(_TILE_SAMPLES // max(length, 1), _TILE_CELLS // max(steps, 1)))
    for begin in range(0, series, span):
        yield stack.part(begin, min(begin + span, series))


def run_of(stack: SeriesStack, *, markers: bool) -> Run | None:
    """Its samples, with staleness markers only where `markers`; None where there is none."""
    kept = np.arange(stack.values.shape[1]) < stack.lengths[stack.clock_of][:, None]
    kept &= ~is_absent(stack.values)
    if not markers:
        kept &= ~is_stale(stack.values)
    values = stack.values[kept]
    if not len(values):
        return None
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept.sum(axis=1))])
    return Run(stack.rows, stack.times[stack.clock_of][kept], values, offsets)


def _whole_tiles(
    stack: SeriesStack, ends: TimestampArray, range_ms: int, budget: Budget
) -> Iterator[Tile]:
    lo, hi = _edges(stack, ends, range_ms)
    steps = len(ends)
    if is_wide(stack, steps):
        for clock, begin, end in stack.clocks():
            length = int(stack.lengths[clock])
            for first in range(begin, end, _TILE_SERIES):
                part = slice(first, min(first + _TILE_SERIES, end))
                values = stack.values[part, :length]
                shape = (len(values), steps)
                times = stack.times[clock, :length]
                windows = Windows(times, values, lo[clock], hi[clock], shape, tick=budget.check)
                yield Tile(stack.rows[part], windows)
                budget.check()
        return
    for piece in spans(stack, steps):
        windows = _end_to_end(piece, lo[piece.clock_of], hi[piece.clock_of])
        yield Tile(piece.rows, replace(windows, tick=budget.check))
        budget.check()


def _end_to_end(stack: SeriesStack, lo: IndexArray, hi: IndexArray) -> Windows:
    """Windows over rows with their padding: it is in none, and later than every moment."""
    series, length = stack.values.shape
    offsets = np.arange(series + 1) * length
    first = offsets[:-1, None]
    times = stack.times[stack.clock_of].reshape(-1)
    values = stack.values.reshape(-1)
    return Windows(times, values, first + lo, first + hi, lo.shape, offsets)
