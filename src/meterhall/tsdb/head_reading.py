"""Reading many groups of the head at once: raw rows go straight into the stack's matrix."""

from collections.abc import Sequence

import numpy as np

from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.tsdb.group import GroupView
from meterhall.tsdb.merging import Piece, is_full
from meterhall.tsdb.series_table import Positions, SeriesTable
from meterhall.tsdb.side import Slots
from meterhall.tsdb.stacking import Picks

_NO_TIMES = np.empty(0, np.int64)


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
        within = np.split(places, picks.bounds[1:-1])
        return HeadReading(
            [
                _opened(self._views[clock], here - self.table.bounds[clock]) if clock >= 0 else None
                for clock, here in zip(clocks.tolist(), within, strict=True)
            ],
            picks,
        )


# Values of a clock's series, series by times; or the raw rows and the slots that are still to be taken.
_Opened = tuple[TimestampArray, ValueArray, Slots | None]


class HeadReading:
    """Implements `stacking.Reading`."""

    def __init__(self, opened: Sequence[_Opened | None], picks: Picks) -> None:
        self._opened = list(opened)
        self._edges = picks.bounds.tolist()
        times = [_NO_TIMES if each is None else each[0] for each in opened]
        self.counts = np.array([len(each) for each in times], np.int64)
        self.first_ms = np.array([each[0] if len(each) else 0 for each in times], np.int64)
        self.last_ms = np.array([each[-1] if len(each) else 0 for each in times], np.int64)

    def write_times(self, out: TimestampArray, column: Positions) -> None:
        """Clock by clock."""
        for clock, (begin, opened) in enumerate(zip(column.tolist(), self._opened, strict=True)):
            if opened is not None:
                out[clock, begin : begin + len(opened[0])] = opened[0]

    def write(self, out: ValueArray, column: Positions) -> bool:
        """Clock by clock."""
        full = True
        for clock, (begin, opened) in enumerate(zip(column.tolist(), self._opened, strict=True)):
            if opened is not None and len(opened[0]):
                times, values, slots = opened
                here = out[self._edges[clock] : self._edges[clock + 1], begin : begin + len(times)]
                here[:] = values if slots is None else values[:, slots].T
                full = full and is_full(here)
        return full

    def ends_complete(self, clock: int) -> bool:
        """Looks at the last row."""
        opened = self._opened[clock]
        assert opened is not None, "bug: asked for the end of nothing"
        _, values, slots = opened
        last = values[:, -1] if slots is None else values[-1, slots]
        return bool((np.ascontiguousarray(last).view(np.uint64) != ABSENT_BITS).all())

    def drop(self, clock: int) -> None:
        """Forgets one view."""
        self._opened[clock] = None
        self.counts[clock] = 0


def _opened(view: GroupView, pick: Slots) -> _Opened:
    """Where raw rows are all there is, values are taken as they are written, else they are read now."""
    slots = view.slots[pick]
    late = view.sides[0] or view.sides[1]
    if view.sealed or late or int(slots.max()) >= view.raw.shape[1]:
        return (*view.read(pick), None)
    return view.raw_times, view.raw, slots
