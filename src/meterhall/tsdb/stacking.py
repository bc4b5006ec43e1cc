"""Reading many clocks at once: one matrix for all, filled source by source and page by page.

What is read of a source is a *reading*: how many samples each clock has inside the range and when, known at once,
and the values, which are decoded when they are written into the matrix. Where two sources overlap in time,
the clock is merged sample by sample instead (`merging`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.model.stack import PAD_MS, SeriesStack
from meterhall.tsdb.merging import Piece, is_full
from meterhall.tsdb.series_table import Positions, SeriesTable, edges, spread

_NOTHING: Piece = (np.empty(0, np.int64), np.empty((0, 0)))


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """Some clocks, and of each some series: the rows of pick n are `rows[bounds[n] : bounds[n + 1]]`."""

    clocks: Positions
    rows: Positions
    bounds: Positions

    @classmethod
    def every(cls, bounds: Positions) -> "Picks":
        """All clocks, whole, of a table whose clock c has the rows from `bounds[c]` to `bounds[c + 1]`."""
        return cls(np.arange(len(bounds) - 1), np.arange(bounds[-1]), bounds)

    def some(self, picks: Positions) -> "Picks":
        """Some of the picks; the same where that is all."""
        if len(picks) == len(self.clocks):
            return self
        first, sizes = self.bounds[picks], np.diff(self.bounds)[picks]
        return Picks(self.clocks[picks], self.rows[spread(first, sizes)], edges(sizes))

    def rows_of(self, pick: int) -> Positions:
        """The rows of one pick. A view."""
        return self.rows[self.bounds[pick] : self.bounds[pick + 1]]


class Reading(Protocol):
    """What one source has of some clocks, inside the range."""

    @property
    def counts(self) -> Positions:
        """Of each clock, how many times; 0 where the source has nothing of it."""
        ...

    @property
    def first_ms(self) -> TimestampArray:
        """Of each clock; means nothing where the count is 0. So does `last_ms`."""
        ...

    @property
    def last_ms(self) -> TimestampArray: ...

    def write_times(self, out: TimestampArray, column: Positions) -> None:
        """Writes clock c's times to row c, from column `column[c]` on."""
        ...

    def write(self, out: ValueArray, column: Positions) -> bool:
        """Writes every cell of its rows likewise; returns whether none is STALE or ABSENT, if it is known."""
        ...

    def ends_complete(self, clock: int) -> bool:
        """Whether every series has a sample at the clock's last time; False where that takes decoding."""
        ...

    def drop(self, clock: int) -> None:
        """Forgets what it has of a clock."""
        ...


class Source(Protocol):
    """Series of the head or of a block, and their samples in a range."""

    @property
    def table(self) -> SeriesTable: ...

    @property
    def times_max(self) -> Positions:
        """No series of each clock can have more samples than this in the range."""
        ...

    def read(self, clock: int, places: Positions) -> Piece:
        """Samples of series of one clock, which stand at these places of the table."""
        ...

    def reading(self, clocks: Positions, places: Positions, picks: Picks) -> Reading:
        """Of each pick the clock here, or -1, and of each of its rows the place here."""
        ...


class PieceReading:
    """Implements `Reading` of values that have been read already, clock by clock."""

    def __init__(self, pieces: Sequence[Piece], bounds: Positions) -> None:
        self._pieces = list(pieces)
        self._edges = bounds.tolist()
        self.counts = np.array([len(times) for times, _ in pieces], np.int64)
        self.first_ms = np.array([times[0] if len(times) else 0 for times, _ in pieces], np.int64)
        self.last_ms = np.array([times[-1] if len(times) else 0 for times, _ in pieces], np.int64)

    @classmethod
    def of(
        cls, source: Source, clocks: Positions, places: Positions, picks: Picks
    ) -> "PieceReading":
        """Reads clock by clock."""
        rows = np.split(places, picks.bounds[1:-1])
        pieces = [
            source.read(clock, here) if clock >= 0 else _NOTHING
            for clock, here in zip(clocks.tolist(), rows, strict=True)
        ]
        return cls(pieces, picks.bounds)

    def write_times(self, out: TimestampArray, column: Positions) -> None:
        """Copies them."""
        for clock, (begin, (times, _)) in enumerate(
            zip(column.tolist(), self._pieces, strict=True)
        ):
            out[clock, begin : begin + len(times)] = times

    def write(self, out: ValueArray, column: Positions) -> bool:
        """Copies them."""
        full = True
        for clock, (begin, (times, values)) in enumerate(
            zip(column.tolist(), self._pieces, strict=True)
        ):
            if len(times):
                first, last = self._edges[clock], self._edges[clock + 1]
                out[first:last, begin : begin + len(times)] = values
                full = full and is_full(values)
        return full

    def ends_complete(self, clock: int) -> bool:
        """Looks at the last column."""
        last = np.ascontiguousarray(self._pieces[clock][1][:, -1])
        return bool((last.view(np.uint64) != ABSENT_BITS).all())

    def drop(self, clock: int) -> None:
        """Forgets one piece."""
        self._pieces[clock] = _NOTHING
        self.counts[clock] = 0


def stack(picks: Picks, readings: Sequence[Reading]) -> tuple[SeriesStack | None, list[int]]:
    """One stack of the picked clocks; and those that need merging, by their place among the picks.

    Where there are any of these, there is no stack.
    """
    counts = np.stack([reading.counts for reading in readings])
    first, overlapping = _columns(readings, counts)
    if overlapping:
        return None, overlapping
    total = counts.sum(axis=0)
    longest, shortest = int(total.max(initial=0)), int(total.min(initial=0))
    if not longest:
        return None, []
    times = np.empty((len(total), longest), np.int64)
    clock_of = np.repeat(np.arange(len(total)), np.diff(picks.bounds))
    values = np.empty((len(clock_of), longest))
    full = True
    for reading, column in zip(readings, first, strict=True):
        reading.write_times(times, column)
        full &= reading.write(values, column)
    if shortest < longest:
        padding = np.arange(longest) >= total[:, None]
        times[padding] = PAD_MS
        values[padding[clock_of]] = 0.0
    return SeriesStack(picks.rows, clock_of, times, total, values, full), []


def keep_newest(readings: Sequence[Reading]) -> None:
    """Drops of each clock what is older than a time at which all its series have a sample anyway.

    Only whole sources go, and only where this is known without decoding.
    """
    last = np.stack(
        [np.where(reading.counts > 0, reading.last_ms, -PAD_MS) for reading in readings]
    )
    newest = last.argmax(axis=0)
    for clock in np.flatnonzero(last.max(axis=0) > -PAD_MS).tolist():
        owner = int(newest[clock])
        if readings[owner].ends_complete(clock):
            for number, reading in enumerate(readings):
                if number != owner:
                    reading.drop(clock)


def _columns(readings: Sequence[Reading], counts: Positions) -> tuple[Positions, list[int]]:
    """Where each source's samples of each clock begin, [sources, clocks]: in order of time.

    And the clocks of which any two sources share a stretch of time.
    """
    if len(readings) == 1:
        return np.zeros_like(counts), []
    here = counts > 0
    begin = np.where(here, np.stack([reading.first_ms for reading in readings]), PAD_MS)
    end = np.where(here, np.stack([reading.last_ms for reading in readings]), PAD_MS)
    order = np.argsort(begin, axis=0, kind="stable")
    begin, end = np.take_along_axis(begin, order, 0), np.take_along_axis(end, order, 0)
    overlap = ((end[:-1] >= begin[1:]) & (begin[1:] < PAD_MS)).any(axis=0)
    ordered = np.take_along_axis(counts, order, axis=0)
    first = np.empty_like(counts)
    np.put_along_axis(first, order, np.cumsum(ordered, axis=0) - ordered, axis=0)
    return first, np.flatnonzero(overlap).tolist()
