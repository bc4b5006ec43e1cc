"""Selectors: from matchers to instant vectors over a grid, and to windows for range functions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from meterhall.compiled.shapes import Points
from meterhall.model.labels import Labels
from meterhall.model.samples import TimestampArray, ValueArray, is_stale
from meterhall.model.stack import STACK_CELLS_MAX, SeriesStack
from meterhall.ports.series import HeldSeries, NewestSample, Selection, SeriesReader
from meterhall.promql.nodes import AtEdge, MatrixSelector, SubqueryExpr, VectorSelector
from meterhall.query.budget import Budget
from meterhall.query.frame import BoolArray, Frame, Steps, compact
from meterhall.query.gather import (
    Run,
    Tile,
    accounted,
    after,
    clocked,
    filled,
    is_wide,
    run_of,
    slice_of,
    spans,
    tiles_of,
)
from meterhall.query.kernels.boundaries import interpolated
from meterhall.query.kernels.clocked import last, machine
from meterhall.query.kernels.windows import IndexArray, positions
from meterhall.query.sharing import shared

# As many series' samples are looked up one by one, wherever that is done.
FEW_SERIES = 8
# And as many series' newest samples on a worker: it is sooner done than reading their clocks.
_NEWEST_SERIES_MAX = 256
# Smaller stacks cost more to make than they save: a quarter of a megabyte.
_STACK_CELLS_MIN = 1 << 15
# What a query takes beside its samples, points and stacks.
_BUFFERS_BYTES = 240_000


@dataclass(frozen=True, slots=True)
class QueryRange:
    """The outermost grid's edges, which `@ start()` and `@ end()` mean."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class RangeVector:
    """A range vector over a grid: windows (ends - range, ends] for each series.

    `stacks` may be taken once. `ends[T]` are the evaluation times less the offset. Windows of `span_ms` that end at
    `reach[T]` are the same, but where the vector is anchored or smoothed: there they reach beyond the range
    by the look-back (kernels.boundaries).
    """

    labels: list[Labels]
    stacks: Callable[[], Iterable[SeriesStack]]
    ends: TimestampArray
    range_ms: int
    budget: Budget
    reach: TimestampArray
    span_ms: int
    anchored: bool = False
    smoothed: bool = False

    def read(self) -> Iterator[SeriesStack]:
        """The samples, at the budget's cost."""
        return accounted(self.stacks(), self.budget)

    def tiles(self) -> Iterator[Tile]:
        """The windows of all series."""
        for stack in self.read():
            yield from self.tiles_of(stack)

    def tiles_of(self, stack: SeriesStack) -> Iterator[Tile]:
        """The windows of some series."""
        return tiles_of(stack, self.reach, self.span_ms, self.budget)


def reference_times(
    node: VectorSelector | SubqueryExpr, steps: Steps, edges: QueryRange
) -> TimestampArray:
    """Where a selector looks at each step: the step's time, or that of `@`, less the offset."""
    at_ms = node.at_ms
    if node.at_edge is AtEdge.START:
        at_ms = edges.start_ms
    elif node.at_edge is AtEdge.END:
        at_ms = edges.end_ms
    if at_ms is None:
        times = steps.times()
        return times - node.offset_ms if node.offset_ms else times
    return np.full(steps.count, at_ms - node.offset_ms, np.int64)


def select_instant(
    reader: SeriesReader,
    node: VectorSelector,
    ends: TimestampArray,
    lookback_ms: int,
    budget: Budget,
    *,
    stamps: bool = False,
) -> Frame:
    """The last sample in (end - lookback, end] of each series, unless it is a staleness marker.

    With `stamps` the values are the samples' own times in seconds, as timestamp() wants them.
    """
    budget.check()
    few = _select_few(reader, node, ends, lookback_ms, budget, stamps=stamps)
    if few is not None:
        return few
    selection = reader.select(node.matchers, int(ends[0]) - lookback_ms + 1, int(ends[-1]))
    labels = selection.labels
    budget.reserve(len(labels), len(ends))
    values = np.empty((len(labels), len(ends)))
    present = np.zeros((len(labels), len(ends)), np.bool_)
    kernels = None if stamps else machine(values.size)
    fused = last(ends, lookback_ms)

    def place(stack: SeriesStack) -> None:
        whole, holed = stack.split()
        if whole is not None and kernels is not None:
            of = clocked(kernels, whole, ends, None)
            filled(fused, kernels, of, whole.rows, Points(values, present))
        elif whole is not None:
            for rows, found, here in _last_whole(whole, ends, lookback_ms, stamps=stamps):
                values[rows], present[rows] = found, here
                budget.check()
        for part in () if holed is None else spans(holed, len(ends)):
            run = run_of(part, markers=True)
            if run is not None:
                values[run.rows], present[run.rows] = _last_ragged(
                    run, ends, lookback_ms, stamps=stamps
                )
                budget.check()

    cells_max = _stack_cells(selection, len(ends))
    stacks = selection.stacks(newest=len(ends) == 1, cells_max=cells_max)
    shared(accounted(stacks, budget), place, values.size)
    return compact(Frame(labels, values, present))


def _select_few(
    reader: SeriesReader,
    node: VectorSelector,
    ends: TimestampArray,
    lookback_ms: int,
    budget: Budget,
    *,
    stamps: bool,
) -> Frame | None:
    """`select_instant` where the reader tells a few series' samples at once."""
    if len(ends) == 1:
        newest = newest_of_few(reader, node, int(ends[0]), lookback_ms, _NEWEST_SERIES_MAX)
        return None if newest is None else _frame_of(newest, budget, stamps=stamps)
    edges = (int(ends[0]), int(ends[-1]))
    series = None if stamps else few_at_hand(reader, node, *edges, lookback_ms)
    if series is None:
        return None
    budget.reserve(len(series), len(ends))
    budget.read(sum(len(times) for _, times, _ in series))
    return compact(last_of_few(series, ends, lookback_ms))


def newest_of_few(
    reader: SeriesReader,
    node: VectorSelector,
    end_ms: int,
    lookback_ms: int,
    series_max: int = FEW_SERIES,
) -> list[NewestSample] | None:
    """What `select_instant` finds at one step, or None where there may be more series.

    Takes some microseconds for each series, whatever the store holds.
    """
    found = reader.newest(node.matchers, end_ms - lookback_ms + 1, end_ms, series_max)
    if found is None:
        return None
    return [sample for sample in found if sample[2] == sample[2] or not _is_marker(sample[2])]


def few_at_hand(
    reader: SeriesReader, node: VectorSelector, first_ms: int, last_ms: int, lookback_ms: int
) -> Sequence[HeldSeries] | None:
    """The samples that `select_instant` looks at from the first end to the last, or None where there may be more series.

    Takes some tens of microseconds, whatever the store holds.
    """
    return reader.at_hand(node.matchers, first_ms - lookback_ms + 1, last_ms, FEW_SERIES)


def last_of_few(series: Sequence[HeldSeries], ends: TimestampArray, lookback_ms: int) -> Frame:
    """What `select_instant` finds in these samples; there may be series without a point."""
    values = np.empty((len(series), len(ends)))
    present = np.empty(values.shape, np.bool_)
    for row, (_, times, samples) in enumerate(series):
        index = times.searchsorted(ends, "right") - 1
        found = samples.take(index, mode="clip", out=values[row])
        here = times.take(index, mode="clip") > ends - lookback_ms
        if index[0] < 0:
            # Where there is no sample yet, the first one was taken.
            here &= index >= 0
        if np.count_nonzero(np.isnan(found)):
            here &= ~is_stale(found)
        present[row] = here
    return Frame([labels for labels, _, _ in series], values, present)


def _is_marker(value: float) -> bool:
    return bool(is_stale(np.array([value]))[0])


def _frame_of(newest: list[NewestSample], budget: Budget, *, stamps: bool) -> Frame:
    budget.read(len(newest))
    values = [time_ms / 1000.0 if stamps else value for _, time_ms, value in newest]
    return Frame([labels for labels, _, _ in newest], np.array(values).reshape(-1, 1), None)


def _stack_cells(selection: Selection, steps: int) -> int:
    """How large a stack may be, if all is to take three times the samples' bytes at most, and the answer.

    Every series may have a clock of its own. In bytes a sample: of a stack, its time and value, and where a window begins and ends
    at each step; of all series, a point and whether it is there at each step. Labels and buffers take their part too.
    """
    samples, points = selection.samples_max, steps * len(selection.labels)
    room = 24 * samples - 9 * points - _BUFFERS_BYTES
    cells = room / (16 + 16 * points / max(samples, 1))
    return min(STACK_CELLS_MAX, max(_STACK_CELLS_MIN, int(cells)))


# Rows of a stack, their values at each step, and where they have one.
_Found = tuple[slice | IndexArray, ValueArray, BoolArray]


def _last_whole(
    stack: SeriesStack, ends: TimestampArray, lookback_ms: int, *, stamps: bool
) -> Iterator[_Found]:
    """The last sample of series without holes; where it lies is the clock's matter alone."""
    index = after(stack, ends) - 1
    place = np.maximum(index, 0)
    times = np.take_along_axis(stack.times, place, axis=1)
    near = (index >= 0) & (times > ends - lookback_ms)
    if is_wide(stack, len(ends)):
        for clock, begin, end in stack.clocks():
            values = stack.values[begin:end].take(place[clock], axis=1)
            shown = np.broadcast_to(times[clock] / 1000.0, values.shape) if stamps else values
            yield slice_of(stack.rows[begin:end]), shown, np.broadcast_to(near[clock], values.shape)
        return
    for part in spans(stack, len(ends)):
        if stamps:
            values = times[part.clock_of] / 1000.0
        else:
            values = np.take_along_axis(part.values, place[part.clock_of], axis=1)
        yield slice_of(part.rows), values, near[part.clock_of]


def _last_ragged(
    run: Run, ends: TimestampArray, lookback_ms: int, *, stamps: bool
) -> tuple[ValueArray, BoolArray]:
    following: IndexArray = positions(run.times, run.offsets, ends)
    index = following - 1
    times = run.times.take(index, mode="clip")
    values = run.values.take(index, mode="clip")
    here = (following > run.offsets[:-1, None]) & (times > ends - lookback_ms) & ~is_stale(values)
    return (times / 1000.0 if stamps else values), here


def select_range(
    reader: SeriesReader,
    node: MatrixSelector,
    ends: TimestampArray,
    lookback_ms: int,
    budget: Budget,
) -> RangeVector:
    """Windows of `range_ms` that end at `ends`."""
    budget.check()
    vector = node.vector
    behind = lookback_ms if vector.anchored or vector.smoothed else 0
    ahead = lookback_ms if vector.smoothed else 0
    reach = ends + ahead
    span_ms = node.range_ms + behind + ahead
    selection = reader.select(vector.matchers, int(reach[0]) - span_ms + 1, int(reach[-1]))
    budget.reserve(len(selection.labels), len(ends))
    return RangeVector(
        list(selection.labels),
        partial(selection.stacks, cells_max=_stack_cells(selection, len(ends))),
        ends,
        node.range_ms,
        budget,
        reach,
        span_ms,
        vector.anchored,
        vector.smoothed,
    )


def select_smoothed(
    reader: SeriesReader,
    node: VectorSelector,
    ends: TimestampArray,
    lookback_ms: int,
    budget: Budget,
) -> Frame:
    """A smoothed selector: the line between the samples before and after each end."""
    matrix = MatrixSelector(node.span, node, 0)
    vector = select_range(reader, matrix, ends, lookback_ms, budget)
    values = np.empty((len(vector.labels), len(ends)))
    present = np.zeros(values.shape, np.bool_)
    for tile in vector.tiles():
        found = interpolated(tile.windows, ends, lookback_ms)
        values[tile.rows], present[tile.rows] = found
    return compact(Frame(vector.labels, values, present))
