"""Windows of samples: for every series and step the half-open index range [lo, hi) of its samples.

Two layouts share one set of operations, because all of them index the last axis:

    aligned   series on one clock: times[K], values[S, K], lo[T], hi[T]
    ragged    every series its own clock, laid end to end: times[N], values[N], lo[S, T], hi[S, T];
              series s is [offsets[s], offsets[s + 1])

What depends on times alone is thus computed once per clock in the aligned layout and broadcasts.
An empty window has lo == hi; operations give rubbish for it, which callers mask by `count`.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import TimestampArray, ValueArray

IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Tick = Callable[[], None]

# Cells of a gathered block (windows times window length) that are sorted at once: 8 MB of float64.
_GATHER_CELLS_MAX = 1 << 20
# Below this mean length a loop over the series of a ragged tile costs more than it saves.
_SERIES_LENGTH_MIN = 64


def _no_tick() -> None:
    """Nobody is waiting to be asked."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Samples and the windows over them, aligned or ragged. At least one sample; `shape` is (S, T)."""

    times: TimestampArray
    values: ValueArray
    lo: IndexArray
    hi: IndexArray
    shape: tuple[int, int]
    offsets: IndexArray | None = None
    # Called now and then by operations that take long; what it raises ends them.
    tick: Tick = _no_tick

    @property
    def count(self) -> IndexArray:
        """Samples in each window, [T] or [S, T]."""
        return self.hi - self.lo

    def pick(self, source: NDArray[Any], index: IndexArray) -> NDArray[Any]:
        """`source` (laid out as times or values) at one index per window; out of range is clipped."""
        return np.asarray(source.take(index, axis=-1, mode="clip"))

    def first(self) -> ValueArray:
        """The first value of each window."""
        return self.pick(self.values, self.lo)

    def last(self) -> ValueArray:
        """The last value of each window."""
        return self.pick(self.values, self.hi - 1)

    def after(self, moments: TimestampArray) -> IndexArray:
        """The first sample of each series after `moments[T]`, [T] or [S, T]."""
        if self.offsets is None:
            return np.searchsorted(self.times, moments, side="right")
        return positions(self.times, self.offsets, moments)

    def reduce(self, ufunc: np.ufunc, source: NDArray[Any]) -> NDArray[Any]:
        """`ufunc` over the samples of each window."""
        padded = np.concatenate([source, source[..., -1:]], axis=-1)
        # Empty windows may lie anywhere; reduceat wants every index inside.
        edges = np.clip(np.stack([self.lo, self.hi], axis=-1).reshape(-1), 0, source.shape[-1])
        reduced = ufunc.reduceat(padded, edges, axis=-1)[..., ::2]
        return reduced.reshape((*source.shape[:-1], *self.lo.shape))

    def running(self, source: NDArray[Any]) -> NDArray[Any] | None:
        """Running sums of `source` along each series, or None where the series are too short for it."""
        if self.offsets is None:
            return np.cumsum(source, axis=-1)
        if len(source) < _SERIES_LENGTH_MIN * (len(self.offsets) - 1):
            return None
        sums = np.empty_like(source)
        edges = self.offsets.tolist()
        for begin, end in itertools.pairwise(edges):
            np.cumsum(source[begin:end], out=sums[begin:end])
        return sums

    def pairs(self, marks: BoolArray) -> IndexArray:
        """How many neighbours inside each window are marked; `marks[..., k]` is of samples k-1 and k."""
        if not marks.any():
            return np.zeros(self.lo.shape, np.int64)
        running = np.cumsum(marks, axis=-1, dtype=np.int64)
        return np.asarray(self.pick(running, self.hi - 1) - self.pick(running, self.lo))

    def chosen(self, cells: BoolArray) -> "Chosen":
        """The windows of the `cells[S, T]` that are True, as a list."""
        row, step = np.nonzero(cells)
        if self.lo.ndim == 1:
            base = row * self.values.shape[1]
            lo, hi = base + self.lo[step], base + self.hi[step]
        else:
            lo, hi = self.lo[row, step], self.hi[row, step]
        return Chosen(row, step, self._flat(), lo, hi, self.tick)

    def _flat(self) -> ValueArray:
        return self.values.reshape(-1)

    def each(self) -> Iterator[tuple[ValueArray, TimestampArray, BoolArray]]:
        """Position by position: the k-th value and time of every window, and where there is one."""
        for position in range(int(self.count.max(initial=0))):
            self.tick()
            index = self.lo + position
            yield self.pick(self.values, index), self.pick(self.times, index), index < self.hi

    def blocks(self) -> Iterator[tuple[slice, ValueArray]]:
        """Step by step in blocks: values gathered as [S, T', W], NaN past a window's end."""
        width = max(int(self.count.max(initial=0)), 1)
        series, steps = self.shape
        span = max(1, _GATHER_CELLS_MAX // (width * max(series, 1)))
        offsets = np.arange(width)
        for begin in range(0, steps, span):
            self.tick()
            part = slice(begin, begin + span)
            index = self.lo[..., part, None] + offsets
            block = self.pick(self.values, index)
            block = np.where(index < self.hi[..., part, None], block, np.nan)
            yield part, block


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A list of windows [lo, hi) over `values`, and the cells they belong to."""

    row: IndexArray
    step: IndexArray
    values: ValueArray
    lo: IndexArray
    hi: IndexArray
    tick: Tick = _no_tick

    def each(self, begin: int = 0) -> Iterator[tuple[IndexArray, BoolArray]]:
        """Position by position from `begin`: the index of the k-th sample, and where there is one."""
        for position in range(begin, int((self.hi - self.lo).max(initial=0))):
            self.tick()
            index = self.lo + position
            yield np.minimum(index, len(self.values) - 1), index < self.hi


def aligned(
    times: TimestampArray, values: ValueArray, ends: TimestampArray, range_ms: int
) -> Windows:
    """Windows (end - range, end] over series that share a clock; `values[S, K]` without gaps."""
    lo = np.searchsorted(times, ends - range_ms, side="right")
    hi = np.searchsorted(times, ends, side="right")
    return Windows(times, values, lo, hi, (values.shape[0], len(ends)))


def ragged(
    times: TimestampArray,
    values: ValueArray,
    offsets: IndexArray,
    ends: TimestampArray,
    range_ms: int,
) -> Windows:
    """Windows (end - range, end] over series laid end to end; series s is [offsets[s], offsets[s+1])."""
    hi = positions(times, offsets, ends)
    lo = positions(times, offsets, ends - range_ms)
    return Windows(times, values, lo, hi, hi.shape, offsets)


def positions(times: TimestampArray, offsets: IndexArray, ends: TimestampArray) -> IndexArray:
    """Where, in series laid end to end, the samples after each end begin: [S, T].

    `ends` is an even grid, which turns the search into counting: each sample falls into the step at
    which it is first seen, and a running sum over steps gives the index.
    """
    series, steps = len(offsets) - 1, len(ends)
    stride = int(ends[1] - ends[0]) if steps > 1 else 1
    if stride == 0:
        return np.repeat(positions(times, offsets, ends[:1]), steps, axis=1)
    seen_at = np.clip(-((int(ends[0]) - times) // stride), 0, steps)
    owner = np.repeat(np.arange(series, dtype=np.int64), np.diff(offsets))
    counts = np.bincount(owner * (steps + 1) + seen_at, minlength=series * (steps + 1))
    counts = counts.reshape(series, steps + 1)[:, :steps]
    return offsets[:-1, None] + np.cumsum(counts, axis=1)
