"""Reading many clocks at once: one matrix for all, filled source by source and page by page.

What is read of a source is a *reading*: for each clock its times inside the range, known at once, and the
values, which are decoded when they are written into the matrix. Where two sources overlap in time, the clock is
merged sample by sample instead (`merging`).
"""

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, ABSENT_BITS, TimestampArray, ValueArray
from meterhall.model.stack import PAD_MS, SeriesStack
from meterhall.tsdb.merging import Piece, clip

Numbers = NDArray[np.int64]
_NOTHING: Piece = (np.empty(0, np.int64), np.empty((0, 0)))
# Series of one clock: which part of the source they are in, and where there.
Pick = tuple[int, Numbers]


class Reading(Protocol):
    """What one source has of some clocks."""

    @property
    def times(self) -> Sequence[TimestampArray]:
        """Of each clock, ascending; empty where the source has nothing of it."""
        ...

    def write(self, out: ValueArray, bounds: Numbers, first: Numbers) -> None:
        """Writes all values: clock c's to rows `bounds[c]` to `bounds[c + 1]`, from column `first[c]` on."""
        ...

    def ends_complete(self, clock: int) -> bool:
        """Whether every series has a sample at the clock's last time; False where that takes decoding."""
        ...

    def drop(self, clock: int) -> None:
        """Forgets what it has of a clock."""
        ...


class PieceReading:
    """Values that have been read already, clock by clock."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = list(pieces)

    @property
    def times(self) -> Sequence[TimestampArray]:
        """Of each clock."""
        return [times for times, _ in self._pieces]

    def write(self, out: ValueArray, bounds: Numbers, first: Numbers) -> None:
        """Copies them."""
        edges, columns = bounds.tolist(), first.tolist()
        for clock, (times, values) in enumerate(self._pieces):
            if len(times):
                column = columns[clock]
                out[edges[clock] : edges[clock + 1], column : column + len(times)] = values

    def ends_complete(self, clock: int) -> bool:
        """Looks at the last column."""
        return bool((self._pieces[clock][1][:, -1].view(np.uint64) != ABSENT_BITS).all())

    def drop(self, clock: int) -> None:
        """Forgets one piece."""
        self._pieces[clock] = _NOTHING


class Bulk:
    """A source that can read many of its parts together. It cuts to the range it was selected for."""

    def reading(self, picks: Sequence[Pick]) -> Reading:
        """Series of several clocks; a pick of part -1 has nothing in this source."""
        raise NotImplementedError


class Readable(Protocol):
    """A part of a source, as far as reading it goes."""

    def read(self, pick: Numbers) -> Piece: ...


def read_pieces(
    parts: Sequence[Readable], picks: Sequence[Pick], start_ms: int, end_ms: int
) -> PieceReading:
    """Reads clock by clock; a pick of part -1 has nothing in this source."""
    return PieceReading(
        [
            clip(parts[number].read(places), start_ms, end_ms) if number >= 0 else _NOTHING
            for number, places in picks
        ]
    )


def stack(
    rows: Sequence[Numbers], readings: Sequence[Reading]
) -> tuple[SeriesStack | None, list[int]]:
    """One stack of clocks with these rows; and the clocks that need merging, which are not in it."""
    spread = [reading.times for reading in readings]
    lengths = np.array([[len(times) for times in here] for here in spread], np.int64)
    overlapping = [
        clock for clock in range(len(rows)) if _overlap([here[clock] for here in spread])
    ]
    if overlapping:
        return None, overlapping
    first = _columns(spread, lengths)
    total = lengths.sum(axis=0)
    longest = int(total.max(initial=0))
    if not longest:
        return None, []
    times = np.full((len(rows), longest), PAD_MS)
    for here, columns in zip(spread, first.tolist(), strict=True):
        for clock, (found, column) in enumerate(zip(here, columns, strict=True)):
            times[clock, column : column + len(found)] = found
    sizes = np.array([len(each) for each in rows])
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    clock_of = np.repeat(np.arange(len(rows)), sizes)
    values = np.full((int(bounds[-1]), longest), ABSENT)
    for reading, columns_of in zip(readings, first, strict=True):
        reading.write(values, bounds, columns_of)
    if int(total.min()) < longest:
        values[np.arange(longest) >= total[clock_of][:, None]] = 0.0
    whole = SeriesStack(np.concatenate(rows), clock_of, times, total, values, full=False)
    return whole, []


def keep_newest(readings: Sequence[Reading], clocks: int) -> None:
    """Drops of each clock what is older than a time at which all its series have a sample anyway.

    Only whole sources go, and only where this is known without decoding.
    """
    spread = [list(reading.times) for reading in readings]
    for clock in range(clocks):
        last = [int(here[clock][-1]) if len(here[clock]) else -PAD_MS for here in spread]
        newest = last.index(max(last))
        if last[newest] > -PAD_MS and readings[newest].ends_complete(clock):
            for index, reading in enumerate(readings):
                if index != newest:
                    reading.drop(clock)


def _overlap(pieces: Sequence[TimestampArray]) -> bool:
    """Whether any two of a clock's sources share a stretch of time."""
    spans = sorted((int(times[0]), int(times[-1])) for times in pieces if len(times))
    return any(before[1] >= after[0] for before, after in itertools.pairwise(spans))


def _columns(spread: Sequence[Sequence[TimestampArray]], lengths: Numbers) -> Numbers:
    """Where each source's samples of each clock begin, [sources, clocks]: in order of time."""
    if len(spread) == 1:
        return np.zeros_like(lengths)
    begin = np.array(
        [[int(times[0]) if len(times) else PAD_MS for times in here] for here in spread], np.int64
    )
    order = np.argsort(begin, axis=0, kind="stable")
    ordered = np.take_along_axis(lengths, order, axis=0)
    first = np.empty_like(lengths)
    np.put_along_axis(first, order, np.cumsum(ordered, axis=0) - ordered, axis=0)
    return first
