"""Reading many groups of the head at once: their rows go straight into the stack's matrix.

Of each group a query reads a few *strips*: rows that left for compressed pages, and the raw ones. What can be
known of all groups together is asked once, because a hundred hosts are a hundred groups.
"""

from collections.abc import Sequence

import numpy as np

from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.tsdb.group_view import GroupView, Strip
from meterhall.tsdb.merging import Piece, is_full
from meterhall.tsdb.series_table import Positions, SeriesTable
from meterhall.tsdb.stacking import Picks


class HeadSource:
    """Implements `stacking.Source`: a clock of the table is a view of a group."""

    def __init__(self, table: SeriesTable, views: Sequence[GroupView]) -> None:
        self.table = table
        self._views = views
        self.times_max = np.array([view.times_max for view in views], np.int64)

    def read(self, clock: int, places: Positions) -> Piece:
        """Samples of series of one clock, which stand at these places of the table."""
        return self._views[clock].read(places - self.table.bounds[clock])

    def reading(self, clocks: Positions, places: Positions, picks: Picks) -> "HeadReading":
        """Of each pick the clock here, or -1, and of each of its rows the place here."""
        slots = np.concatenate([view.slots for view in self._views])[places]
        begins = picks.bounds[:-1]
        lowest = np.minimum.reduceat(slots, begins).tolist()
        highest = np.maximum.reduceat(slots, begins).tolist()
        edges = picks.bounds.tolist()
        return HeadReading(
            [
                self._views[clock].strips(slots[edges[at] : edges[at + 1]], lowest[at], highest[at])
                if clock >= 0
                else []
                for at, clock in enumerate(clocks.tolist())
            ],
            edges,
        )


class HeadReading:
    """Implements `stacking.Reading`."""

    def __init__(self, strips: list[list[Strip]], edges: Sequence[int]) -> None:
        """The strips of each clock, in order of time, and where its rows begin and end."""
        self._strips = strips
        self._edges = edges
        self.counts = np.array([sum([len(each[0]) for each in here]) for here in strips], np.int64)
        self.first_ms = np.array([here[0][0][0] if here else 0 for here in strips], np.int64)
        self.last_ms = np.array([here[-1][0][-1] if here else 0 for here in strips], np.int64)

    def write_times(self, out: TimestampArray, column: Positions) -> None:
        """Strip by strip."""
        for clock, (first, strips) in enumerate(zip(column.tolist(), self._strips, strict=True)):
            begin = first
            for times, _, _ in strips:
                end = begin + len(times)
                out[clock, begin:end] = times
                begin = end

    def write(self, out: ValueArray, column: Positions) -> bool:
        """Strip by strip."""
        for clock, (first, strips) in enumerate(zip(column.tolist(), self._strips, strict=True)):
            begin = first
            rows = out[self._edges[clock] : self._edges[clock + 1]]
            for times, values, slots in strips:
                end = begin + len(times)
                rows[:, begin:end] = values if slots is None else values[:, slots].T
                begin = end
        # One look at all of it; where clocks differ in length there may be padding in it, which only makes
        # the answer "not known".
        return is_full(out[:, int(column.min()) : int((column + self.counts).max())])

    def ends_complete(self, clock: int) -> bool:
        """Looks at the last row."""
        _, values, slots = self._strips[clock][-1]
        last = values[:, -1] if slots is None else values[-1, slots]
        return bool((np.ascontiguousarray(last).view(np.uint64) != ABSENT_BITS).all())

    def drop(self, clock: int) -> None:
        """Forgets one view."""
        self._strips[clock] = []
        self.counts[clock] = 0
