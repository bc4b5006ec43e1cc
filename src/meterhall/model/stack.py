"""Series of many clocks in one matrix, so that a thousand clocks cost a few array operations.

A stack is what `SeriesGroup` is for one clock: rows are series, ordered by clock. Clocks differ in
length by little, so the ends of shorter rows are padding.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import (
    SeriesGroup,
    TimestampArray,
    ValueArray,
    is_absent,
    is_stale,
)

IndexArray = NDArray[np.int64]

# Cells of one stack: 16 MB of float64. A single clock may exceed it.
STACK_CELLS_MAX = 1 << 21
# Later than any sample or question, and far from overflowing when something is added.
PAD_MS = 1 << 61
# Clocks share a stack while the longest has at most twice the samples of the shortest, and some.
_SLACK_SAMPLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class SeriesStack:
    """`values[i, k]` is the sample of series `rows[i]` at `times[clock_of[i], k]`.

    `clock_of` ascends. Clock c has `lengths[c]` samples; after them `times` holds PAD_MS and `values`
    anything but NaN. Cells may be STALE or ABSENT as in a SeriesGroup; `full` promises that none is.
    """

    rows: IndexArray
    clock_of: IndexArray
    times: TimestampArray
    lengths: IndexArray
    values: ValueArray
    full: bool

    @property
    def samples(self) -> int:
        """How many cells are no padding."""
        return int(self.lengths[self.clock_of].sum())

    def split(self) -> "tuple[SeriesStack | None, SeriesStack | None]":
        """The series without a STALE or ABSENT cell, and the others."""
        if self.full:
            return self, None
        special = np.isnan(self.values)
        special[special] = is_stale(self.values[special]) | is_absent(self.values[special])
        holes = np.asarray(special.any(axis=1))
        if not holes.any():
            return SeriesStack(
                self.rows, self.clock_of, self.times, self.lengths, self.values, full=True
            ), None
        if holes.all():
            return None, self
        return self._some(~holes, full=True), self._some(holes, full=False)

    def part(self, begin: int, end: int) -> "SeriesStack":
        """Some series that stand together. A view."""
        some = slice(begin, end)
        return SeriesStack(
            self.rows[some],
            self.clock_of[some],
            self.times,
            self.lengths,
            self.values[some],
            self.full,
        )

    def clocks(self) -> Iterator[tuple[int, int, int]]:
        """Clock by clock: its number and the range of its series."""
        edges = np.searchsorted(self.clock_of, np.arange(len(self.lengths) + 1)).tolist()
        for clock, (begin, end) in enumerate(itertools.pairwise(edges)):
            if begin < end:
                yield clock, begin, end

    def _some(self, keep: NDArray[np.bool_], *, full: bool) -> "SeriesStack":
        return SeriesStack(
            self.rows[keep],
            self.clock_of[keep],
            self.times,
            self.lengths,
            self.values[keep],
            full,
        )


def stacked(groups: Iterable[SeriesGroup]) -> Iterator[SeriesStack]:
    """The same series in fewer, larger pieces. Groups without a sample are left out."""
    waiting: list[SeriesGroup] = []
    series = shortest = longest = 0
    for group in groups:
        length = len(group.times)
        if not length or not len(group.rows):
            continue
        shortest, longest = min(shortest, length), max(longest, length)
        if waiting and not fits(series + len(group.rows), shortest, longest):
            yield _stack(waiting)
            waiting = []
        if not waiting:
            series, shortest, longest = 0, length, length
        waiting.append(group)
        series += len(group.rows)
    if waiting:
        yield _stack(waiting)


def fits(series: int, shortest: int, longest: int, cells_max: int = STACK_CELLS_MAX) -> bool:
    """Whether clocks of such lengths with that many series together make one stack."""
    return series * longest <= cells_max and longest <= 2 * shortest + _SLACK_SAMPLES


def _stack(groups: list[SeriesGroup]) -> SeriesStack:
    if len(groups) == 1:
        (group,) = groups
        return SeriesStack(
            group.rows,
            np.zeros(len(group.rows), np.int64),
            group.times[None, :],
            np.array([len(group.times)]),
            group.values,
            group.full,
        )
    lengths = np.array([len(group.times) for group in groups])
    sizes = np.array([len(group.rows) for group in groups])
    times = np.full((len(groups), int(lengths.max())), PAD_MS)
    values = np.zeros((int(sizes.sum()), times.shape[1]))
    first = 0
    for clock, group in enumerate(groups):
        count, length = group.values.shape
        times[clock, :length] = group.times
        values[first : first + count, :length] = group.values
        first += count
    return SeriesStack(
        np.concatenate([group.rows for group in groups]),
        np.repeat(np.arange(len(groups)), sizes),
        times,
        lengths,
        values,
        all(group.full for group in groups),
    )
