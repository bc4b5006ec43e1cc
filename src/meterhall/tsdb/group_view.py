"""What a reader sees of a group: some slots over a range of time, as they were when the view was taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.tsdb.merging import Piece, clip, merge
from meterhall.tsdb.sealed import Sealed
from meterhall.tsdb.side import SideRow, Slots, read_rows

# Times, and values of some slots: series by times; or raw rows, and the slots that are still to be taken.
Strip = tuple[TimestampArray, ValueArray, Slots | None]


@dataclass(slots=True, eq=False)
class GroupView:
    """Some slots of a group over a range of time, as they were when it was taken.

    `raw` and `sides` hold only what lies in the range; `start_ms` and `end_ms` clip sealed rows. Nobody
    changes one; it is not frozen because a query makes a hundred of them, and that would take twice as long.
    """

    slots: Slots
    start_ms: int
    end_ms: int
    raw_times: TimestampArray
    raw: ValueArray
    sealed: Sequence[Sealed]
    sides: tuple[Sequence[SideRow], Sequence[SideRow]]

    @property
    def times_max(self) -> int:
        """No series can have more samples than this."""
        count = len(self.raw_times) + len(self.sides[0]) + len(self.sides[1])
        for each in self.sealed:
            count += len(each.times)
        return count

    @property
    def times(self) -> TimestampArray:
        """Every time at which some slot may have a sample; unordered, for planning."""
        rows = np.concatenate([self.raw_times, *(each.times for each in self.sealed)])
        rows = rows[(rows >= self.start_ms) & (rows <= self.end_ms)]
        late = [time for side in self.sides for time, _ in side]
        return np.concatenate([rows, np.array(late, np.int64)])

    def narrowed(self, start_ms: int, end_ms: int) -> "GroupView":
        """The same slots over a part of the range."""
        first = int(np.searchsorted(self.raw_times, start_ms, "left"))
        last = int(np.searchsorted(self.raw_times, end_ms, "right"))
        return GroupView(
            self.slots,
            max(self.start_ms, start_ms),
            min(self.end_ms, end_ms),
            self.raw_times[first:last],
            self.raw[first:last],
            [each for each in self.sealed if each.reaches(start_ms, end_ms)],
            (_between(self.sides[0], start_ms, end_ms), _between(self.sides[1], start_ms, end_ms)),
        )

    def read(self, pick: Slots) -> Piece:
        """Samples of the slots at these positions of `slots`."""
        return self._merged(self.slots[pick])

    def strips(self, slots: Slots, lowest: int, highest: int) -> list[Strip]:
        """The same of some slots from the lowest to the highest, in order of time; none is empty.

        Nothing is copied that need not be.
        """
        if self.sides[0] or self.sides[1] or (len(self.raw) and highest >= self.raw.shape[1]):
            times, values = self._merged(slots)
            return [(times, values, None)] if len(times) else []
        found: list[Strip] = []
        for sealed in self.sealed:
            piece = (sealed.times, sealed.read_between(slots, lowest, highest))
            times, values = clip(piece, self.start_ms, self.end_ms)
            if len(times):
                found.append((times, values, None))
        if len(self.raw_times):
            if lowest == highest and len(slots) == 1:
                found.append((self.raw_times, self.raw[:, lowest : lowest + 1].T, None))
            else:
                found.append((self.raw_times, self.raw, slots))
        return found

    def _merged(self, slots: Slots) -> Piece:
        pieces = [
            clip((each.times, each.read(slots)), self.start_ms, self.end_ms) for each in self.sealed
        ]
        if len(self.raw_times):
            values = np.full((len(slots), len(self.raw_times)), ABSENT)
            inside = np.flatnonzero(slots < self.raw.shape[1])
            values[inside] = self.raw[:, slots[inside]].T
            pieces.append((self.raw_times, values))
        pieces += [read_rows(side, slots) for side in self.sides if side]
        return merge(pieces, len(slots))


def _between(side: Sequence[SideRow], start_ms: int, end_ms: int) -> Sequence[SideRow]:
    return [row for row in side if start_ms <= row[0] <= end_ms]
