"""Reading: what the head and the blocks hold of some series, as matrices with one clock each.

A *part* is the series of one clock in one source. Series that share their clock in every source share it in
the answer; each is a row of exactly one group. Nothing is decoded before `groups` is iterated, and
then clock by clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import Labels
from meterhall.model.samples import SeriesGroup
from meterhall.model.stack import SeriesStack, fits, stacked
from meterhall.tsdb.merging import Piece, clip, drop_empty_times, is_full, merge, runs
from meterhall.tsdb.stacking import Bulk, Pick, Reading, keep_newest, read_pieces, stack

Positions = NDArray[np.int64]


class Part(Protocol):
    """Series of one clock in one source."""

    @property
    def labels(self) -> Sequence[Labels]: ...

    @property
    def times_max(self) -> int:
        """No series of the part can have more samples than this in the range."""
        ...

    def read(self, pick: Positions) -> Piece:
        """Samples of the series at these positions of `labels`."""
        ...


# The parts of one source hold each label set once.
Source = Sequence[Part]


class StoredSelection:
    """Implements `ports.series.Selection` over sources. Times are clipped to the range."""

    def __init__(self, sources: Iterable[Source], start_ms: int, end_ms: int) -> None:
        self._sources = [source for source in sources if source]
        self._range = (start_ms, end_ms)
        self._labels: list[Labels]
        self._rows: list[list[Positions]]
        if len(self._sources) == 1:
            self._labels = [labels for part in self._sources[0] for labels in part.labels]
            ends = np.cumsum([len(part.labels) for part in self._sources[0]])
            self._rows = [np.split(np.arange(len(self._labels)), ends[:-1])]
        else:
            # The source with most samples gives the order, so that its pages are copied in long runs.
            sizes = [_samples_max(source) for source in self._sources]
            numbers: dict[Labels, int] = {}
            rows_of: dict[int, list[Positions]] = {}
            for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
                rows_of[index] = [_numbered(numbers, part.labels) for part in self._sources[index]]
            self._rows = [rows_of[index] for index in range(len(sizes))]
            self._labels = list(numbers)
        self._part_of, self._place_of = self._tables()

    @property
    def labels(self) -> Sequence[Labels]:
        """Each label set once."""
        return self._labels

    @property
    def samples_max(self) -> int:
        """A bound on the samples that `groups` yields."""
        return sum(map(_samples_max, self._sources))

    def groups(self) -> Iterator[SeriesGroup]:
        """The samples, clock by clock."""
        for rows in self.clocks():
            group = self._group(rows)
            if len(group.times):
                yield group

    def stacks(self, *, newest: bool = False) -> Iterator[SeriesStack]:
        """The samples, as many clocks at a time as make a stack.

        With `newest`, samples may be missing whose series has a later one.
        """
        waiting: list[Positions] = []
        series, shortest, longest = 0, 0, 0
        for rows in self.clocks():
            length = self._times_max(int(rows[0]))
            shortest, longest = min(shortest, length), max(longest, length)
            if waiting and not fits(series + len(rows), shortest, longest):
                yield from self._stack(waiting, newest=newest)
                waiting = []
            if not waiting:
                series, shortest, longest = 0, length, length
            waiting.append(rows)
            series += len(rows)
        if waiting:
            yield from self._stack(waiting, newest=newest)

    def clocks(self) -> Iterator[Positions]:
        """Positions in `labels` of the series that share their clock everywhere, clock by clock."""
        key = self.clock_keys()
        order = np.argsort(key, kind="stable")
        for first, last in runs(key[order]):
            yield order[first:last]

    def clock_keys(self) -> Positions:
        """A number for each series; equal where two share their clock in every source."""
        key = np.zeros(len(self._labels), np.int64)
        for parts, source in zip(self._part_of, self._sources, strict=True):
            _, key = np.unique(key * (len(source) + 1) + parts + 1, return_inverse=True)
        return key

    def read(self, rows: Positions) -> Piece:
        """Samples of series that share their clock."""
        pieces = []
        for source, parts, places in zip(self._sources, self._part_of, self._place_of, strict=True):
            number = int(parts[rows[0]])
            if number >= 0:
                pieces.append(clip(source[number].read(places[rows]), *self._range))
        return merge(pieces, len(rows))

    def _times_max(self, row: int) -> int:
        """At most so many samples has this series."""
        return sum(
            source[int(parts[row])].times_max if parts[row] >= 0 else 0
            for source, parts in zip(self._sources, self._part_of, strict=True)
        )

    def _stack(self, rows: Sequence[Positions], *, newest: bool) -> Iterator[SeriesStack]:
        """One stack of whole clocks; those whose sources overlap follow on their own."""
        readings = []
        for source, parts, places in zip(self._sources, self._part_of, self._place_of, strict=True):
            picks = [(int(parts[each[0]]), places[each]) for each in rows]
            readings.append(self._reading(source, picks))
        if newest and len(readings) > 1:
            keep_newest(readings, len(rows))
        found, overlapping = stack(rows, readings)
        if found is not None:
            yield found
        if overlapping:
            apart = set(overlapping)
            rest = [each for clock, each in enumerate(rows) if clock not in apart]
            if rest:
                yield from self._stack(rest, newest=newest)
            yield from stacked(self._group(rows[clock]) for clock in overlapping)

    def _reading(self, source: Source, picks: Sequence[Pick]) -> Reading:
        """Everything that a source has of some clocks; in one go where it can."""
        if isinstance(source, Bulk):
            return source.reading(picks)
        return read_pieces(source, picks, *self._range)

    def _group(self, rows: Positions) -> SeriesGroup:
        times, values = drop_empty_times(self.read(rows))
        values = np.ascontiguousarray(values)
        return SeriesGroup(rows, times, values, is_full(values))

    def _tables(self) -> tuple[list[Positions], list[Positions]]:
        """For each source: the part of each series (-1 for none), and its place there."""
        part_of: list[Positions] = []
        place_of: list[Positions] = []
        for rows in self._rows:
            parts = np.full(len(self._labels), -1, np.int64)
            places = np.zeros(len(self._labels), np.int64)
            for number, here in enumerate(rows):
                parts[here] = number
                places[here] = np.arange(len(here))
            part_of.append(parts)
            place_of.append(places)
        return part_of, place_of


def _samples_max(source: Source) -> int:
    return sum([len(part.labels) * part.times_max for part in source])


def _numbered(numbers: dict[Labels, int], labels: Sequence[Labels]) -> Positions:
    """The number of each label set, given out in order of appearance."""
    place = numbers.setdefault
    return np.array([place(each, len(numbers)) for each in labels], np.int64)
