"""Reading many groups of the head at once: raw rows go straight into the stack's matrix."""

from collections.abc import Sequence

import numpy as np

from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.tsdb.group import GroupView
from meterhall.tsdb.merging import Piece
from meterhall.tsdb.side import Slots

_NO_TIMES = np.empty(0, np.int64)


class HeadReading:
    """Implements `stacking.Reading`: of each view the slots at some positions, None for nothing."""

    def __init__(self, views: Sequence[tuple[GroupView, Slots] | None]) -> None:
        self._pieces: list[Piece | None] = []
        self._raw: list[tuple[ValueArray, Slots] | None] = []
        for entry in views:
            piece, raw = (None, None) if entry is None else _opened(*entry)
            self._pieces.append(piece)
            self._raw.append(raw)

    @property
    def times(self) -> Sequence[TimestampArray]:
        """Of each clock."""
        return [_NO_TIMES if piece is None else piece[0] for piece in self._pieces]

    def write(self, out: ValueArray, bounds: Slots, first: Slots) -> None:
        """Copies everything."""
        edges, columns = bounds.tolist(), first.tolist()
        for clock, (piece, raw) in enumerate(zip(self._pieces, self._raw, strict=True)):
            if piece is not None and len(piece[0]):
                values = piece[1] if raw is None else raw[0][:, raw[1]].T
                column = columns[clock]
                out[edges[clock] : edges[clock + 1], column : column + len(piece[0])] = values

    def ends_complete(self, clock: int) -> bool:
        """Looks at the last row."""
        piece, raw = self._pieces[clock], self._raw[clock]
        assert piece is not None, "bug: asked for the end of nothing"
        last = piece[1][:, -1] if raw is None else raw[0][-1, raw[1]]
        return bool((np.ascontiguousarray(last).view(np.uint64) != ABSENT_BITS).all())

    def drop(self, clock: int) -> None:
        """Forgets one view."""
        self._pieces[clock] = self._raw[clock] = None


def _opened(view: GroupView, pick: Slots) -> tuple[Piece, tuple[ValueArray, Slots] | None]:
    """The piece; where raw rows are all of it, the values are still to be taken from their slots."""
    slots = view.slots[pick]
    late = view.sides[0] or view.sides[1]
    if view.sealed or late or int(slots.max(initial=0)) >= view.raw.shape[1]:
        return view.read(pick), None
    return (view.raw_times, view.raw), (view.raw, slots)
