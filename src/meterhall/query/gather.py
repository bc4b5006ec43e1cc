"""From a Selection's groups to windows: large gapless groups as they are, all else laid end to end.

A group of many series keeps its shared clock and is cut into tiles that stay in cache. Rows with holes
and groups of few series are collected, without their STALE and ABSENT cells, into ragged tiles, so that
ten thousand groups of one series cost a few array operations instead of ten thousand times a few.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from meterhall.model.samples import (
    SeriesGroup,
    TimestampArray,
    ValueArray,
    is_absent,
    is_stale,
)
from meterhall.query.budget import Budget
from meterhall.query.kernels.windows import IndexArray, Windows, aligned, ragged

# Series of one aligned tile: intermediate arrays of 128 by a few hundred steps stay in cache.
_TILE_SERIES = 128
# A group with fewer series than this is not worth array operations of its own.
_GROUP_SERIES_MIN = 8
# What a ragged tile collects before it is evaluated.
_POOL_SAMPLES = 1 << 18
_POOL_CELLS = 1 << 17


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


class Pool:
    """Collects series without a shared clock until they make a tile."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._reset()

    def _reset(self) -> None:
        self._rows: list[IndexArray] = []
        self._times: list[TimestampArray] = []
        self._values: list[ValueArray] = []
        self._sizes: list[int] = []
        self._samples = 0
        self._series = 0

    @property
    def full(self) -> bool:
        """Whether it is time to take what is there."""
        return self._samples >= _POOL_SAMPLES or self._series * self._steps >= _POOL_CELLS

    def add(self, group: SeriesGroup, *, markers: bool) -> None:
        """Add the samples of a group; staleness markers only where `markers`."""
        series, length = group.values.shape
        self._rows.append(group.rows)
        self._series += series
        if group.full:
            times = group.times if series == 1 else np.tile(group.times, series)
            self._times.append(times)
            self._values.append(group.values.reshape(-1))
            self._sizes.extend([length] * series)
            self._samples += group.values.size
            return
        kept = ~is_absent(group.values)
        if not markers:
            kept &= ~is_stale(group.values)
        self._times.append(np.broadcast_to(group.times, kept.shape)[kept])
        self._values.append(group.values[kept])
        self._sizes.extend(kept.sum(axis=1).tolist())
        self._samples += len(self._values[-1])

    def take(self) -> Run | None:
        """All that was added, or None where that is no sample."""
        if not self._samples:
            self._reset()
            return None
        sizes = np.array(self._sizes, np.int64)
        run = Run(
            np.concatenate(self._rows),
            np.concatenate(self._times),
            np.concatenate(self._values),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        )
        self._reset()
        return run


def range_tiles(
    groups: Iterator[SeriesGroup], ends: TimestampArray, range_ms: int, budget: Budget
) -> Iterator[Tile]:
    """Windows (end - range, end] over every series of `groups`."""
    pool = Pool(len(ends))
    for group in groups:
        budget.check()
        budget.read(group.values.size)
        if not group.values.size:
            continue
        if group.full and len(group.rows) >= _GROUP_SERIES_MIN:
            yield from _aligned_tiles(group, ends, range_ms, budget)
            continue
        for part in split_group(group, len(ends)):
            pool.add(part, markers=False)
            if pool.full and (run := pool.take()):
                yield _ragged_tile(run, ends, range_ms, budget)
                budget.check()
    if run := pool.take():
        yield _ragged_tile(run, ends, range_ms, budget)


def split_group(group: SeriesGroup, steps: int) -> Iterator[SeriesGroup]:
    """The group in parts that do not overfill a pool."""
    series, length = group.values.shape
    span = max(1, min(_POOL_SAMPLES // max(length, 1), _POOL_CELLS // max(steps, 1)))
    if series <= span:
        yield group
        return
    for begin in range(0, series, span):
        part = slice(begin, begin + span)
        yield SeriesGroup(group.rows[part], group.times, group.values[part], group.full)


def _aligned_tiles(
    group: SeriesGroup, ends: TimestampArray, range_ms: int, budget: Budget
) -> Iterator[Tile]:
    whole = aligned(group.times, group.values, ends, range_ms)
    for begin in range(0, len(group.rows), _TILE_SERIES):
        part = slice(begin, begin + _TILE_SERIES)
        values = group.values[part]
        shape = (len(values), len(ends))
        windows = Windows(group.times, values, whole.lo, whole.hi, shape, tick=budget.check)
        yield Tile(group.rows[part], windows)
        budget.check()


def _ragged_tile(run: Run, ends: TimestampArray, range_ms: int, budget: Budget) -> Tile:
    windows = ragged(run.times, run.values, run.offsets, ends, range_ms)
    return Tile(run.rows, replace(windows, tick=budget.check))
