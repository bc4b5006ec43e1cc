"""One clock's series in the head: a matrix whose rows are timestamps and whose columns are series.

A scrape is one row. Only the newest rows stay raw; when `raw_rows_max` are full, the oldest `seal_rows`
are sealed (`sealed`), which is to say packed. What does not fit on top goes to the side buffer
(`side`): samples older than the newest row that match no raw row, and rows too sparse
to be worth a matrix row. Reading merges all three.

A *column* is a series' number in this group for ever; a *slot* is where it lies in the matrix
now. Dropping idle series frees slots and never renumbers columns.

Arrays that a view has seen are never rearranged: sealing, widening and trimming make new ones; only
absent cells are filled in place. So a view stays valid without a lock. All else is guarded by
the tenant's lock. Nothing here judges a sample; `head` does.
"""

from collections.abc import Sequence

import numpy as np

from meterhall.model.samples import ABSENT, ABSENT_BITS, TimestampArray, ValueArray
from meterhall.tsdb.at_hand import Samples, present
from meterhall.tsdb.cache import NotAtHand
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.newest import newest_present
from meterhall.tsdb.packed import Packed
from meterhall.tsdb.sealed import SEALED_ROWS_MAX, Sealed
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.side import SideRows, Slots
from meterhall.tsdb.wal import NO_TIME

_FIRST_ROWS = 8
_NEVER = 2**63 - 1
# A row is worth a matrix row while at least one cell in eight is filled on average.
_SPARSE = 8
_SPARSE_FREE_CELLS = 512
# So many sealed pieces of a length become one.
_FOLD = 3
# Sealed pieces that are looked at on the event loop: to unpack one that is not remembered takes 20 µs.
_PIECES_AT_HAND = 8


class Group:
    """Matrix, sealed rows and side buffer of one clock."""

    def __init__(self, number: int, clock: str, settings: StoreSettings) -> None:
        self.number = number
        self.clock = clock
        self.samples = 0
        self.time_min = -NO_TIME - 1
        self.time_max = NO_TIME
        self._settings = settings
        self._slot_of_column = np.empty(0, np.int32)
        self._series = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)
        # Not above any of them.
        self._last_floor = NO_TIME
        # Rows were adopted that `_last` does not know of yet.
        self._adopted = False
        # Blocks with samples at or after this time have been asked for the slot's newest sample.
        self._resolved = np.empty(0, np.int64)
        self._raw_times = np.empty(_FIRST_ROWS, np.int64)
        self._raw = np.empty((_FIRST_ROWS, 0), np.float64)
        self._rows = 0
        self._filled = 0
        self._sealed: tuple[Sealed, ...] = ()
        self._side = SideRows()
        self._flushing = SideRows()
        # Rows before `_frozen_ms` take no more samples; those before `_published_ms` are in blocks.
        self._frozen_ms = NO_TIME
        self._published_ms = NO_TIME
        self._memo: tuple[Sealed, ValueArray] | None = None

    @property
    def columns(self) -> int:
        """How many columns were ever given out."""
        return len(self._slot_of_column)

    @property
    def width(self) -> int:
        """How many series the group has now."""
        return len(self._series)

    @property
    def series(self) -> Slots:
        """The head's series number of each slot."""
        return self._series

    @property
    def late_bytes(self) -> int:
        """Memory of the samples that wait in the side buffer, and of those that a flush is writing."""
        return self._side.bytes + self._flushing.bytes

    def unresolved(self, time_ms: int) -> bool:
        """Whether some series may have a sample at or after a time in a block that was not asked."""
        return self.width > 0 and int(self._resolved.max()) > time_ms

    @property
    def chunks(self) -> int:
        """Sealed pieces and the raw matrix, for statistics."""
        return len(self._sealed) + (self._rows > 0)

    def add(self, series: Sequence[int]) -> int:
        """New columns for these series numbers; returns the first, the others follow it."""
        first, width = self.columns, self.width
        slots = np.arange(width, width + len(series), dtype=np.int32)
        self._slot_of_column = np.concatenate((self._slot_of_column, slots))
        self._series = np.concatenate((self._series, np.asarray(series, np.int64)))
        self._last = np.concatenate((self._last, np.full(len(series), NO_TIME)))
        self._last_floor = NO_TIME
        self._resolved = np.concatenate((self._resolved, np.full(len(series), _NEVER)))
        return first

    def restore(self, columns: Sequence[int], series: Sequence[int]) -> None:
        """Columns with given numbers, from the log; gaps stay unused. A series may have several."""
        slot_of_series = {number: slot for slot, number in enumerate(self._series.tolist())}
        fresh = [number for number in dict.fromkeys(series) if number not in slot_of_series]
        known = self.columns
        first = self.width
        self.add(fresh)
        slot_of_series.update((number, first + at) for at, number in enumerate(fresh))
        slots = np.full(max(known, max(columns, default=-1) + 1), -1, np.int32)
        slots[:known] = self._slot_of_column[:known]
        slots[np.asarray(columns, np.int64)] = [slot_of_series[number] for number in series]
        self._slot_of_column = slots

    def emptied(self) -> "Group":
        """A group with the same columns, slots and series, and no sample."""
        empty = Group(self.number, self.clock, self._settings)
        empty.add(self._series.tolist())
        empty._slot_of_column = self._slot_of_column
        empty._frozen_ms, empty._published_ms = self._frozen_ms, self._published_ms
        return empty

    def slots(self, columns: Slots) -> Slots:
        """Where columns lie now; -1 where their series was dropped or never was."""
        if len(columns) and int(columns.max()) >= self.columns:
            inside = columns < self.columns
            slots = np.full(len(columns), -1, np.int64)
            slots[inside] = self._slot_of_column[columns[inside]]
            return slots
        return self._slot_of_column[columns].astype(np.int64)

    def run(self, first: int, count: int) -> Slots:
        """The same of columns that follow each other."""
        slots = self._slot_of_column[first : first + count].astype(np.int64)
        return slots if len(slots) == count else self.slots(np.arange(first, first + count))

    def live_columns(self) -> tuple[Slots, Slots]:
        """Columns that have a slot, and those slots."""
        columns = np.flatnonzero(self._slot_of_column >= 0)
        return columns, self._slot_of_column[columns].astype(np.int64)

    def last(self, slots: Slots) -> TimestampArray:
        """Newest known sample time of each slot, NO_TIME where there is none."""
        self._learn_last()
        return self._last[slots]

    def all_reach(self, time_ms: int) -> bool:
        """Whether every series' newest sample is not before a time."""
        self._learn_last()
        if self._last_floor < time_ms:
            self._last_floor = int(self._last.min(initial=_NEVER))
        return self._last_floor >= time_ms

    def unresolved_slots(self, slots: Slots, time_ms: int) -> Slots:
        """Those of the slots for which `unresolved` holds, and whose newest sample is not known yet."""
        resolved = self._resolved[slots]
        return slots[(resolved > time_ms) & (self._last[slots] < resolved)]

    def resolve(self, slots: Slots, last: TimestampArray, time_ms: int) -> None:
        """Learns the newest samples that blocks with any at or after `time_ms` hold of the slots."""
        self._last[slots] = np.maximum(self._last[slots], last)
        self._resolved[slots] = time_ms

    def put(self, time_ms: int, slots: Slots, values: ValueArray) -> None:
        """Stores samples that are known not to be there yet."""
        if time_ms > self._newest_row() and time_ms >= self._frozen_ms and self._dense(len(slots)):
            self._push(time_ms, slots, values)
        elif time_ms >= self._frozen_ms and (row := self._raw_row(time_ms)) is not None:
            self._widen()
            self._raw[row, slots] = values
        else:
            self._side.put(time_ms, slots, values, self.width)
        self._last[slots] = np.maximum(self._last[slots], time_ms)
        self.time_max = max(self.time_max, time_ms)
        self.time_min = min(self.time_min, time_ms)
        self.samples += len(slots)

    def existing(self, time_ms: int, slots: Slots) -> ValueArray:
        """Values at one instant, ABSENT where the group holds none."""
        values = np.full(len(slots), ABSENT)
        row = self._raw_row(time_ms)
        if row is not None:
            inside = slots < self._raw.shape[1]
            values[inside] = self._raw[row, slots[inside]]
        else:
            for sealed in self._sealed:
                at = int(np.searchsorted(sealed.times, time_ms))
                if at < len(sealed.times) and sealed.times[at] == time_ms:
                    values = self._unsealed(sealed)[slots, at]
        self._flushing.overlay(time_ms, slots, values)
        self._side.overlay(time_ms, slots, values)
        return values

    def view(self, slots: Slots, start_ms: int, end_ms: int) -> GroupView:
        """What the slots hold in a range, safe to read after the lock is released."""
        row_start = max(start_ms, self._published_ms)
        first, last = 0, self._rows
        times = self._raw_times[:last]
        if last and times[0] < row_start:
            first = int(times.searchsorted(row_start, "left"))
        if last and times[-1] > end_ms:
            last = int(times.searchsorted(end_ms, "right"))
        sealed = self._sealed
        if sealed:
            # Most questions are about what is newer than all of them.
            newer = sealed[-1].last_ms < row_start
            sealed = (
                () if newer else tuple(each for each in sealed if each.reaches(row_start, end_ms))
            )
        return GroupView(
            slots,
            row_start,
            end_ms,
            times[first:last],
            self._raw[first:last],
            sealed,
            (self._flushing.between(start_ms, end_ms), self._side.between(start_ms, end_ms)),
        )

    def newest(self, column: int, start_ms: int, end_ms: int) -> tuple[int, float] | None:
        """Time and value of a series' newest sample in a range, None where it has none in the head.

        Takes some microseconds whatever the group holds; raises NotAtHand where that is not enough.
        """
        slot = int(self._slot_of_column[column])
        if self._last[slot] < start_ms:
            return None
        # Rows before `_published_ms` are in blocks; late samples may lie there all the same.
        row_start = max(start_ms, self._published_ms)
        sample, rows = None, self._rows
        if rows and self._raw_times[rows - 1] > end_ms:
            rows = int(self._raw_times[:rows].searchsorted(end_ms, "right"))
        if slot < self._raw.shape[1]:
            sample = newest_present(self._raw_times, self._raw[:, slot], row_start, rows)
        if sample is None and self._sealed and self._sealed[-1].last_ms >= row_start:
            raise NotAtHand
        after_ms = start_ms - 1 if sample is None else sample[0]
        if self._side.may_hold(after_ms, end_ms) or self._flushing.may_hold(after_ms, end_ms):
            raise NotAtHand
        return sample

    def at_hand(self, column: int, start_ms: int, end_ms: int) -> list[Samples]:
        """A series' samples in a range, in parts. Raises NotAtHand, as `newest` does."""
        slot = int(self._slot_of_column[column])
        if self._last[slot] < start_ms:
            return []
        if self._side.may_hold(start_ms - 1, end_ms) or self._flushing.may_hold(
            start_ms - 1, end_ms
        ):
            raise NotAtHand
        slots = np.array([slot])
        view = self.view(slots, start_ms, end_ms)
        if len(view.sealed) > _PIECES_AT_HAND:
            raise NotAtHand
        return [
            present((times, values[0] if taken is None else values[:, slot]))
            for times, values, taken in view.strips(slots, slot, slot)
        ]

    def kept(self) -> tuple[GroupView, Slots]:
        """All that is in no block, and the column of each slot."""
        columns, slots = self.live_columns()
        column_of = np.full(self.width, -1, np.int64)
        column_of[slots] = columns
        return self.view(np.arange(self.width), NO_TIME, -NO_TIME - 1), column_of

    def adopt(self, times: TimestampArray, slots: Slots, values: ValueArray) -> bool:
        """Takes rows from a checkpoint, slots by times, and seals them at once; -1 is no slot.

        False where they must be put row by row: they are few, or not all newer than what there is.
        """
        few = len(times) < self._settings.seal_rows
        if few or self._rows or int(times[0]) <= self._newest_row():
            return False
        if not np.array_equal(slots, np.arange(len(slots))):
            known = slots >= 0
            placed = np.full((self.width, len(times)), ABSENT)
            placed[slots[known]] = values[known]
            values = placed
        self._sealed = (*self._sealed, Sealed(times, Packed.of(values)))
        self._adopted = True
        self.time_max = max(self.time_max, int(times[-1]))
        self.time_min = min(self.time_min, int(times[0]))
        self.samples += len(times) * len(slots)
        return True

    def begin_flush(self, end_ms: int) -> GroupView | None:
        """Freezes what lies before `end_ms` and shows it; None where there is nothing.

        From now on samples among those that are shown go to the side buffer, so that none slips between the
        block that is written and the rows that are dropped. What is newer than all of them may come
        as ever, also before `end_ms`: a sender that is hours behind is not late for that.
        Follow with end_flush or abort_flush.
        """
        self.abort_flush()
        end_ms = min(end_ms, self.time_max + 1)
        self._frozen_ms = max(self._frozen_ms, end_ms)
        self._flushing = self._side.split_before(end_ms)
        view = self.view(np.arange(self.width), NO_TIME, end_ms - 1)
        return view if view.times_max else None

    def end_flush(self) -> None:
        """Drops what begin_flush showed: it is in blocks now."""
        end_ms = self._frozen_ms
        self._flushing = SideRows()
        self._published_ms = max(self._published_ms, end_ms)
        self._sealed = tuple(each for each in self._sealed if each.last_ms >= end_ms)
        first = int(np.searchsorted(self._raw_times[: self._rows], end_ms, "left"))
        self._rows -= first
        self._raw_times = self._raw_times[first:].copy()
        self._raw = self._raw[first:].copy()
        self._filled = self._count_filled()
        sealed = sum(len(each.times) * each.width for each in self._sealed)
        self.samples = self._filled + sealed + self._side.samples
        self.time_min = self._oldest()

    def abort_flush(self) -> None:
        """Takes back what begin_flush set apart; the rows stay frozen."""
        self._side.absorb(self._flushing, self.width)

    def idle_slots(self, before_ms: int) -> Slots:
        """Slots without a sample in the head at or after `before_ms`, nor in the side buffer.

        Rows that no flush has frozen are in no block, however old they are: the group was born after the
        flush began. Their slots are not idle.
        """
        self._learn_last()
        used = self._last >= min(before_ms, max(self._frozen_ms, NO_TIME + 1))
        self._side.mark_used(used)
        return np.flatnonzero(~used)

    def drop(self, slots: Slots) -> None:
        """Forgets series; their columns stay unused for ever."""
        keep = np.ones(self.width, np.bool_)
        keep[slots] = False
        kept = np.flatnonzero(keep)
        renumber = np.full(self.width + 1, -1, np.int32)
        renumber[kept] = np.arange(len(kept))
        self._slot_of_column = renumber[self._slot_of_column]
        self._series, self._last = self._series[kept], self._last[kept]
        self._resolved = self._resolved[kept]
        raw = np.full((len(self._raw), len(kept)), ABSENT)
        inside = kept < self._raw.shape[1]
        raw[:, inside] = self._raw[:, kept[inside]]
        self._raw = raw
        self._sealed = tuple(each.moved(kept) for each in self._sealed)
        self._side.renumber(kept)
        self._memo = None

    def _learn_last(self) -> None:
        """Finds the newest sample of each slot in adopted rows; most are in the newest ones."""
        if not self._adopted:
            return
        self._adopted = False
        for sealed in reversed(self._sealed):
            slots = np.flatnonzero(self._last < sealed.last_ms)
            if len(slots):
                present = sealed.read(slots).view(np.uint64) != ABSENT_BITS
                newest = np.where(present, sealed.times, NO_TIME).max(axis=1)
                self._last[slots] = np.maximum(self._last[slots], newest)

    def _newest_row(self) -> int:
        if self._rows:
            return int(self._raw_times[self._rows - 1])
        return self._sealed[-1].last_ms if self._sealed else NO_TIME

    def _oldest(self) -> int:
        rows = [each.first_ms for each in self._sealed[:1]]
        rows += self._raw_times[: min(1, self._rows)].tolist()
        oldest = max(min(rows), self._published_ms) if rows else -NO_TIME - 1
        return min([oldest, *self._side.times])

    def _raw_row(self, time_ms: int) -> int | None:
        times = self._raw_times[: self._rows]
        row = int(np.searchsorted(times, time_ms))
        return row if row < self._rows and times[row] == time_ms else None

    def _dense(self, count: int) -> bool:
        cells = (self._rows + 1) * self.width
        return cells <= _SPARSE_FREE_CELLS or (self._filled + count) * _SPARSE >= cells

    def _push(self, time_ms: int, slots: Slots, values: ValueArray) -> None:
        self._memo = None
        if self._rows >= self._settings.raw_rows_max:
            self._seal()
        self._widen()
        if self._rows == len(self._raw_times):
            self._lengthen()
        row = self._raw[self._rows]
        if len(slots) < len(row):
            row.fill(ABSENT)
        row[slots] = values
        early = self._side.pop(time_ms)
        if early is not None:
            row[early[0]] = early[1]
        self._raw_times[self._rows] = time_ms
        self._rows += 1
        self._filled += len(slots)

    def _widen(self) -> None:
        """Gives every slot a matrix column, with some to spare where series trickle in."""
        old = self._raw.shape[1]
        if old >= self.width:
            return
        width = self.width if old == 0 else max(self.width, old + old // 8)
        raw = np.full((len(self._raw), width), ABSENT)
        raw[: self._rows, :old] = self._raw[: self._rows]
        self._raw = raw

    def _lengthen(self) -> None:
        rows = min(max(2 * self._rows, _FIRST_ROWS), self._settings.raw_rows_max)
        raw = np.empty((rows, self._raw.shape[1]), np.float64)
        raw[: self._rows] = self._raw[: self._rows]
        times = np.empty(rows, np.int64)
        times[: self._rows] = self._raw_times[: self._rows]
        self._raw, self._raw_times = raw, times

    def _seal(self) -> None:
        """Packs the oldest raw rows.

        With the pieces before it that are as long, if there are enough of them: so a fast clock leaves
        few pieces to read, and a row is packed a few times at most.
        """
        count = self._settings.seal_rows
        self._widen()
        times, values = self._raw_times[:count].copy(), self._raw[:count, : self.width].T
        sealed = self._sealed
        while _folds(before := sealed[1 - _FOLD :], len(times)):
            slots = np.arange(self.width)
            times = np.concatenate([*(each.times for each in before), times])
            values = np.concatenate([*(each.read(slots) for each in before), values], axis=1)
            sealed = sealed[: 1 - _FOLD]
        packed = Packed.of(values)
        raw = np.full_like(self._raw, ABSENT)
        raw[: self._rows - count] = self._raw[count : self._rows]
        raw_times = np.empty_like(self._raw_times)
        raw_times[: self._rows - count] = self._raw_times[count : self._rows]
        self._sealed = (*sealed, Sealed(times, packed))
        self._raw, self._raw_times, self._rows = raw, raw_times, self._rows - count
        self._filled = self._count_filled()

    def _count_filled(self) -> int:
        raw = self._raw[: self._rows, : self.width]
        return int((raw.view(np.uint64) != ABSENT_BITS).sum())

    def _unsealed(self, sealed: Sealed) -> ValueArray:
        """All slots of sealed rows; remembered, because a re-sent page asks row after row."""
        memo = self._memo
        if memo is None or memo[0] is not sealed or len(memo[1]) != self.width:
            memo = self._memo = (sealed, sealed.read(np.arange(self.width)))
        return memo[1]


def _folds(before: Sequence[Sealed], rows: int) -> bool:
    """Whether a piece of so many rows becomes one with those before it."""
    alike = all(len(each.times) == rows for each in before)
    return alike and len(before) == _FOLD - 1 and _FOLD * rows <= SEALED_ROWS_MAX
