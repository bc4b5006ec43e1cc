"""Reading: what the head and the blocks hold of some series, as matrices with one clock each.

A *source* is the head or a block. Series that share their clock in every source share it in the answer; each is
a row of exactly one group. Nothing is decoded before `groups` or `stacks` is iterated.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.samples import SeriesGroup
from meterhall.model.stack import STACK_CELLS_MAX, SeriesStack, fits, stacked
from meterhall.tsdb.merging import Piece, clip, drop_empty_times, is_full, merge
from meterhall.tsdb.series_table import Positions, SeriesTable, Union, edges, united
from meterhall.tsdb.stacking import Picks, Source, keep_newest, stack

# So few are sooner read one by one.
_FEW_CLOCKS = 3


class StoredSelection:
    """Implements `ports.series.Selection` over sources. Times are clipped to the range."""

    def __init__(
        self,
        sources: Iterable[Source],
        start_ms: int,
        end_ms: int,
        unite: Callable[[Sequence[SeriesTable]], Union] = united,
    ) -> None:
        self._sources = [source for source in sources if source.table.labels]
        self._range = (start_ms, end_ms)
        self._union = unite([source.table for source in self._sources]) if self._sources else _NONE

    @property
    def labels(self) -> Sequence[Labels]:
        """Each label set once."""
        return self._union.table.labels

    @property
    def samples_max(self) -> int:
        """A bound on the samples that `groups` yields."""
        return int(self._times_max() @ np.diff(self._union.table.bounds))

    def groups(self) -> Iterator[SeriesGroup]:
        """The samples, clock by clock."""
        bounds = self._union.table.bounds.tolist()
        for first, end in itertools.pairwise(bounds):
            group = self._group(np.arange(first, end))
            if len(group.times):
                yield group

    def stacks(
        self, *, newest: bool = False, cells_max: int = STACK_CELLS_MAX
    ) -> Iterator[SeriesStack]:
        """The samples, as many clocks at a time as make a stack.

        With `newest`, samples may be missing whose series has a later one.
        """
        table = self._union.table
        if table.clocks <= _FEW_CLOCKS:
            yield from stacked(self.groups())
            return
        yield from self._stacks(Picks.every(table.bounds), cells_max, newest=newest)

    def some(self, rows: Positions) -> Iterator[SeriesStack]:
        """The samples of some series, likewise. Every page is decoded once."""
        clock_of = self._union.table.clock_of()[rows]
        order = np.argsort(clock_of, kind="stable")
        clocks, sizes = np.unique(clock_of, return_counts=True)
        yield from self._stacks(
            Picks(clocks, rows[order], edges(sizes)), STACK_CELLS_MAX, newest=False
        )

    def clock_keys(self) -> Positions:
        """A number for each series; equal where two share their clock in every source."""
        return self._union.table.clock_of()

    def read(self, rows: Positions) -> Piece:
        """Samples of series that share their clock."""
        clock = int(np.searchsorted(self._union.table.bounds, rows[0], "right")) - 1
        pieces = []
        for source, clocks, places in self._parts():
            if clocks[clock] >= 0:
                piece = source.read(int(clocks[clock]), places[rows])
                pieces.append(clip(piece, *self._range))
        return merge(pieces, len(rows))

    def _parts(self) -> Iterator[tuple[Source, Positions, Positions]]:
        """Each source, its clock for each of ours, and its place for each of our series."""
        return zip(self._sources, self._union.clocks, self._union.places, strict=True)

    def _times_max(self) -> Positions:
        """At most so many samples has each series of a clock."""
        most = np.zeros(self._union.table.clocks, np.int64)
        for source, clocks, _ in self._parts():
            most += np.where(clocks >= 0, source.times_max[clocks], 0)
        return most

    def _stacks(self, picks: Picks, cells_max: int, *, newest: bool) -> Iterator[SeriesStack]:
        """Stacks of clocks that are about as long; clocks without samples are left out."""
        longest_of = self._times_max()[picks.clocks]
        here = np.flatnonzero(longest_of)
        picks = picks.some(here)
        if not len(here):
            return
        lengths = longest_of[here]
        if fits(len(picks.rows), int(lengths.min()), int(lengths.max()), cells_max):
            yield from self._stack(picks, newest=newest)
            return
        sizes = np.diff(picks.bounds).tolist()
        first, series, shortest, longest = 0, 0, 0, 0
        for at, length in enumerate(lengths.tolist()):
            shortest, longest = min(shortest, length), max(longest, length)
            if at > first and not fits(series + sizes[at], shortest, longest, cells_max):
                yield from self._stack(picks.some(np.arange(first, at)), newest=newest)
                first = at
            if at == first:
                series, shortest, longest = 0, length, length
            series += sizes[at]
        yield from self._stack(picks.some(np.arange(first, len(sizes))), newest=newest)

    def _stack(self, picks: Picks, *, newest: bool) -> Iterator[SeriesStack]:
        """One stack of the picks; those whose sources overlap follow on their own."""
        readings = [
            source.reading(clocks[picks.clocks], places[picks.rows], picks)
            for source, clocks, places in self._parts()
        ]
        if newest and len(readings) > 1:
            keep_newest(readings)
        found, overlapping = stack(picks, readings)
        if found is not None:
            yield found
        if overlapping:
            rest = np.delete(np.arange(len(picks.clocks)), overlapping)
            if len(rest):
                yield from self._stack(picks.some(rest), newest=newest)
            yield from stacked(self._group(picks.rows_of(at)) for at in overlapping)

    def _group(self, rows: Positions) -> SeriesGroup:
        """Series of one clock."""
        times, values = self.read(rows)
        full = is_full(values)
        if not full:
            times, values = drop_empty_times((times, values))
            full = is_full(values)
        return SeriesGroup(rows, times, np.ascontiguousarray(values), full)


_NONE = Union(SeriesTable([], np.zeros(1, np.int64)), [], [])
