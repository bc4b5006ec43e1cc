"""Selectors: from matchers to instant vectors over a grid, and to windows for range functions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.samples import (
    SeriesGroup,
    TimestampArray,
    ValueArray,
    is_absent,
    is_stale,
)
from meterhall.ports.series import NewestSample, SeriesReader
from meterhall.promql.nodes import AtEdge, MatrixSelector, SubqueryExpr, VectorSelector
from meterhall.query.budget import Budget
from meterhall.query.frame import BoolArray, Frame, Steps, compact
from meterhall.query.gather import Pool, Run, Tile, range_tiles, split_group
from meterhall.query.kernels.boundaries import interpolated
from meterhall.query.kernels.windows import IndexArray, positions

_GROUP_SERIES_MIN = 8
# As many series' newest samples are looked up one by one.
_FEW_SERIES = 8


@dataclass(frozen=True, slots=True)
class QueryRange:
    """The outermost grid's edges, which `@ start()` and `@ end()` mean."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class RangeVector:
    """A range vector over a grid: windows (ends - range, ends] for each series, tile by tile.

    `tiles` may be taken once. `ends[T]` are the evaluation times less the offset. Where it is anchored or
    smoothed, the tiles' windows reach beyond the range by the look-back (kernels.boundaries).
    """

    labels: list[Labels]
    tiles: Callable[[], Iterator[Tile]]
    ends: TimestampArray
    range_ms: int
    anchored: bool = False
    smoothed: bool = False


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
        return steps.times() - node.offset_ms
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
    if len(ends) == 1:
        newest = newest_of_few(reader, node, int(ends[0]), lookback_ms)
        if newest is not None:
            return _frame_of(newest, budget, stamps=stamps)
    selection = reader.select(node.matchers, int(ends[0]) - lookback_ms + 1, int(ends[-1]))
    labels = selection.labels
    budget.reserve(len(labels), len(ends))
    values = np.empty((len(labels), len(ends)))
    present = np.zeros((len(labels), len(ends)), np.bool_)
    pool = Pool(len(ends))
    for group in selection.groups():
        budget.check()
        budget.read(group.values.size)
        if not group.values.size:
            continue
        if len(group.rows) >= _GROUP_SERIES_MIN and (
            group.full or not is_absent(group.values).any()
        ):
            found = _last_aligned(group, ends, lookback_ms, stamps=stamps)
            values[group.rows], present[group.rows] = found
            continue
        for part in split_group(group, len(ends)):
            pool.add(part, markers=True)
            if pool.full and (run := pool.take()):
                values[run.rows], present[run.rows] = _last_ragged(
                    run, ends, lookback_ms, stamps=stamps
                )
    if run := pool.take():
        values[run.rows], present[run.rows] = _last_ragged(run, ends, lookback_ms, stamps=stamps)
    return compact(Frame(labels, values, present))


def newest_of_few(
    reader: SeriesReader, node: VectorSelector, end_ms: int, lookback_ms: int
) -> list[NewestSample] | None:
    """What `select_instant` finds at one step, or None where there may be more than a few series.

    Takes some microseconds, whatever the store holds.
    """
    found = reader.newest(node.matchers, end_ms - lookback_ms + 1, end_ms, _FEW_SERIES)
    if found is None:
        return None
    return [sample for sample in found if sample[2] == sample[2] or not _is_marker(sample[2])]


def _is_marker(value: float) -> bool:
    return bool(is_stale(np.array([value]))[0])


def _frame_of(newest: list[NewestSample], budget: Budget, *, stamps: bool) -> Frame:
    budget.read(len(newest))
    values = [time_ms / 1000.0 if stamps else value for _, time_ms, value in newest]
    return Frame([labels for labels, _, _ in newest], np.array(values).reshape(-1, 1), None)


def _last_aligned(
    group: SeriesGroup, ends: TimestampArray, lookback_ms: int, *, stamps: bool
) -> tuple[ValueArray, BoolArray]:
    index = np.searchsorted(group.times, ends, side="right") - 1
    times = group.times.take(index, mode="clip")
    near = (index >= 0) & (times > ends - lookback_ms)
    values = group.values.take(index, axis=1, mode="clip")
    here = np.broadcast_to(near, values.shape)
    if not group.full:
        here = here & ~is_stale(values)
    return (np.broadcast_to(times / 1000.0, values.shape) if stamps else values), here


def _last_ragged(
    run: Run, ends: TimestampArray, lookback_ms: int, *, stamps: bool
) -> tuple[ValueArray, BoolArray]:
    after: IndexArray = positions(run.times, run.offsets, ends)
    index = after - 1
    times = run.times.take(index, mode="clip")
    values = run.values.take(index, mode="clip")
    here = (after > run.offsets[:-1, None]) & (times > ends - lookback_ms) & ~is_stale(values)
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
        lambda: range_tiles(selection.groups(), reach, span_ms, budget),
        ends,
        node.range_ms,
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
