"""Reading many clocks of one block: every page is decoded once, and copied run by run.

In a block a metric's series lie clock by clock, so that what a selection of one metric wants of a page is
most often all of it, or a stretch.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meterhall.compiled.loading import LOADER
from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.tsdb.merging import runs
from meterhall.tsdb.series_table import Positions, SeriesTable, edges, spread
from meterhall.tsdb.stacking import Picks

BoolArray = NDArray[np.bool_]

# So few clocks are sooner cut one by one.
_FEW_CLOCKS = 8
# A clock that ticks evenly, but for jitter and a missed tick, is no more ticks off the straight line.
_UNEVEN = 3
# From so many times on, copying a clock by itself costs less than an index for each time.
_LONG = 128
# Copying a run of series by itself costs less than a call for all that are cut alike, as long as these make fewer runs.
_RUNS_WORTH = 5


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A decoded page: its series' values end to end, and whether none of them is STALE or ABSENT."""

    values: ValueArray
    full: bool


@dataclass(frozen=True, slots=True, eq=False)
class Clocks:
    """Clocks end to end: clock c is `times[offsets[c] : offsets[c + 1]]`, ascending, at least one time."""

    times: TimestampArray
    offsets: Positions

    def part(self, clock: int) -> TimestampArray:
        """One clock. A view."""
        return self.times[self.offsets[clock] : self.offsets[clock + 1]]

    def reaching(self, start_ms: int, end_ms: int) -> BoolArray:
        """Which clocks begin before the range ends, and end after it begins."""
        first, last = self.times[self.offsets[:-1]], self.times[self.offsets[1:] - 1]
        return np.asarray((first <= end_ms) & (last >= start_ms))

    def cut(self, clocks: Positions, start_ms: int, end_ms: int) -> "Cut":
        """What a range leaves of some clocks, both ends included."""
        offsets = self.offsets[clocks]
        lengths = self.offsets[clocks + 1] - offsets
        before = self._before_one_by_one if len(clocks) <= _FEW_CLOCKS else self._before
        moments = np.repeat((start_ms, end_ms + 1), len(clocks))
        begin, end = before(np.concatenate((clocks, clocks)), moments).reshape(2, -1)
        counts = np.maximum(end - begin, 0)
        return Cut(offsets, lengths, begin, counts)

    def _before_one_by_one(self, clocks: Positions, moments: TimestampArray) -> Positions:
        pairs = zip(clocks.tolist(), moments.tolist(), strict=True)
        places = [self.part(clock).searchsorted(moment_ms) for clock, moment_ms in pairs]
        return np.array(places, np.int64)

    def _before(self, clocks: Positions, moments: TimestampArray) -> Positions:
        """How many times of each of these clocks lie before its moment: all are bisected together."""
        low, high = self.offsets[clocks], self.offsets[clocks + 1]
        begun = self.times[low] < moments
        inside = begun & (self.times[high - 1] >= moments)
        found = np.where(begun, high, low)
        if inside.any():
            moments = moments[inside]
            low, high = self._nearly(low[inside], high[inside], moments)
            for _ in range(int((high - low).max()).bit_length()):
                middle = (low + high) >> 1
                before = self.times[np.minimum(middle, high - 1)] < moments
                before &= low < high
                low = np.where(before, middle + 1, low)
                high = np.where(before, high, middle)
            found[inside] = low
        return found - self.offsets[clocks]

    def _nearly(
        self, low: Positions, high: Positions, moments: TimestampArray
    ) -> tuple[Positions, Positions]:
        """Nearer bounds of the first time at or after a moment, which is between the first and the last of its clock.

        Most clocks tick evenly, so that it lies about where a straight line has it.
        """
        first, last = self.times[low], self.times[high - 1]
        guess = low + (moments - first) * (high - 1 - low) // np.maximum(last - first, 1)
        near, far = np.maximum(guess - _UNEVEN, low), np.minimum(guess + _UNEVEN, high - 1)
        right = (self.times[near] < moments) & (self.times[far] >= moments)
        return np.where(right, near, low), np.where(right, far + 1, high)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTable:
    """Series of one block: their numbers in it, page and place in the page; and which clocks they have."""

    series: SeriesTable
    numbers: Positions
    clocks: Positions
    page_of: Positions
    begins: Positions

    def some(self, clocks: BoolArray) -> "BlockTable":
        """The series of some of the clocks; the table itself where that is all."""
        if clocks.all():
            return self
        kept = np.flatnonzero(np.repeat(clocks, np.diff(self.series.bounds)))
        labels = [self.series.labels[row] for row in kept.tolist()]
        return BlockTable(
            SeriesTable(labels, edges(np.diff(self.series.bounds)[clocks])),
            self.numbers[kept],
            self.clocks[clocks],
            self.page_of[kept],
            self.begins[kept],
        )


class Pages(Protocol):
    """Where the pages of a block come from."""

    def page(self, number: int) -> Page | None:
        """A decoded page, or None where it is damaged."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What a range leaves of some clocks of a block: of n, `counts[n]` times from `begin[n]` on.

    The whole clock is `lengths[n]` times from `offsets[n]` on in the block's times.
    """

    offsets: Positions
    lengths: Positions
    begin: Positions
    counts: Positions

    def of(self, clocks: Positions) -> "Cut":
        """Of some of the clocks, in that order; -1 has nothing."""
        counts = np.where(clocks >= 0, self.counts[clocks], 0)
        return Cut(self.offsets[clocks], self.lengths[clocks], self.begin[clocks], counts)


class BlockReading:
    """Implements `stacking.Reading`: of each row the page, and where there its series begins."""

    def __init__(
        self,
        pages: Pages,
        times: TimestampArray,
        cut: Cut,
        places: tuple[Positions, Positions],
        picks: Picks,
    ) -> None:
        self._pages = pages
        self._times = times
        self._cut = cut
        self._page_of, self._begins = places
        self._sizes = np.diff(picks.bounds)
        self.counts = cut.counts
        self._at = cut.offsets + cut.begin
        self.first_ms = times.take(self._at, mode="clip")
        self.last_ms = times.take(self._at + cut.counts - 1, mode="clip")

    def write_times(self, out: TimestampArray, column: Positions) -> None:
        """All at once."""
        if _by_machine(out, np.arange(len(out)), column, self._times, self._at, self.counts):
            return
        count, first = int(self.counts[0]), int(column[0])
        if (self.counts == count).all() and (column == first).all():
            out[:, first : first + count] = self._times[self._at[:, None] + np.arange(count)]
            return
        if int(self.counts.max()) >= _LONG:
            parts = zip(self._at.tolist(), column.tolist(), self.counts.tolist(), strict=True)
            for clock, (at, first, count) in enumerate(parts):
                out[clock, first : first + count] = self._times[at : at + count]
            return
        begin = np.arange(len(out)) * out.shape[1] + column
        out.reshape(-1)[spread(begin, self.counts)] = self._times[spread(self._at, self.counts)]

    def write(self, out: ValueArray, column: Positions) -> bool:
        """Page by page, and in a page run by run of series that are cut alike."""
        cut = np.stack([self._cut.begin, self.counts, column, self._cut.lengths])
        cut = np.repeat(cut, self._sizes, axis=1)
        order = np.flatnonzero(cut[1])
        if (np.diff(self._page_of) < 0).any():
            order = order[np.argsort(self._page_of[order], kind="stable")]
        full = True
        for low, high in runs(self._page_of[order]):
            rows = order[low:high]
            page = self._pages.page(int(self._page_of[rows[0]]))
            if page is None:
                _blank(out, rows, cut[:, rows])
                full = False
            else:
                _copy(out, rows, page.values, self._begins[rows], cut[:, rows])
                full = full and page.full
        return full

    def ends_complete(self, clock: int) -> bool:
        """Not known without decoding."""
        return False

    def drop(self, clock: int) -> None:
        """Leaves a clock's pages alone."""
        self.counts[clock] = 0


def _blank(out: ValueArray, rows: Positions, cut: Positions) -> None:
    """Leaves series without samples."""
    for row, count, column in zip(rows.tolist(), cut[1].tolist(), cut[2].tolist(), strict=True):
        out[row, column : column + count] = ABSENT


def _copy(
    out: ValueArray, rows: Positions, flat: ValueArray, begins: Positions, cut: Positions
) -> None:
    """Series at `begins` of a page to `rows`; `cut` is begin, count, column and length of each."""
    if _by_machine(out, rows, cut[2], flat, begins + cut[0], cut[1]):
        return
    together = np.diff(rows) == 1
    together &= np.diff(begins) == cut[3, :-1]
    together &= (cut[:, 1:] == cut[:, :-1]).all(axis=0)
    edges = [0, *(np.flatnonzero(~together) + 1).tolist(), len(rows)]
    if len(edges) > _RUNS_WORTH:
        key = cut[1] * (int(cut[2].max()) + 1) + cut[2]
        kinds = np.unique(key).tolist()
        if len(edges) > _RUNS_WORTH * len(kinds):
            for kind in kinds:
                _scatter(out, rows, flat, begins + cut[0], cut, np.flatnonzero(key == kind))
            return
    for low, high in itertools.pairwise(edges):
        begin, count, column, length = cut[:, low].tolist()
        size = high - low
        base = int(begins[low])
        lines = flat[base : base + size * length].reshape(size, length)
        row = int(rows[low])
        out[row : row + size, column : column + count] = lines[:, begin : begin + count]


def _by_machine(
    out: NDArray[Any],
    rows: Positions,
    columns: Positions,
    flat: NDArray[Any],
    begins: Positions,
    counts: Positions,
) -> bool:
    """The kernel `compiled.rows.copied`, where it is loaded: a call of NumPy's for each row costs more than the copy."""
    kernels = LOADER.kernels("rows")
    if kernels is None:
        return False
    where = [np.ascontiguousarray(each) for each in (begins, counts)]
    kernels.copied(
        out.view(np.int64), rows, np.ascontiguousarray(columns), flat.view(np.int64), *where
    )
    return True


def _scatter(
    out: ValueArray,
    rows: Positions,
    flat: ValueArray,
    begins: Positions,
    cut: Positions,
    alike: Positions,
) -> None:
    """Those that are cut alike, in one call of NumPy's, as window n of a page is its values from n on."""
    _, count, column, _ = cut[:, alike[0]].tolist()
    shape, size = (len(flat) - count + 1, count), flat.itemsize
    windows = np.ndarray(shape, flat.dtype, flat, strides=(size, size))
    out[rows[alike], column : column + count] = windows[begins[alike]]
