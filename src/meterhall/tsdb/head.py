"""One tenant's recent samples: which series there are, and which samples are taken.

The rules are contract 5.7 and 6.2. Per series:

    newer than its newest sample            taken
    a cell that holds the same bits         accepted, stored once
    a cell that holds another value         refused: duplicate sample for timestamp …
    an empty cell inside the window         taken (late)
    an empty cell older than the window     refused: out of order sample (taken with the back-fill right)

and before that, too far ahead of the clock or older than the retention is out of bounds. Where a sample is
not newer than what blocks hold, the blocks are asked.

A ref is a group's number and a column in it. Groups' numbers are never used twice, nor are columns.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.ordering import runs_of
from meterhall.model.samples import (
    ABSENT_BITS,
    OUT_OF_BOUNDS,
    OUT_OF_ORDER,
    REFUSED,
    TOO_FAR_AHEAD,
    RefArray,
    Rejection,
    Row,
    ValueArray,
)
from meterhall.tsdb.cache import ByteCache, NotAtHand
from meterhall.tsdb.changes import Changes
from meterhall.tsdb.group import Group
from meterhall.tsdb.head_reading import HeadSource
from meterhall.tsdb.index import HeadIndex
from meterhall.tsdb.judging import Batch, Past
from meterhall.tsdb.matching import bitmap, match, match_few, values_among
from meterhall.tsdb.merging import runs
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.refusals import duplicate
from meterhall.tsdb.series_table import SeriesTable, table_bytes, table_of
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.side import Slots
from meterhall.tsdb.wal import NO_TIME
from meterhall.tsdb.wal_format import Definition, GroupRow, SealedRows

_COLUMN_BITS = 24
_COLUMN_MASK = (1 << _COLUMN_BITS) - 1
# So many columns without a series are nothing to worry about: 64 KB.
_DEAD_COLUMNS = 16_384
_ANY_AGE_MS = 2**62
_NO_SLOTS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class HeadTable:
    """Series of some groups, group by group: their slots there."""

    series: SeriesTable
    groups: Sequence[int]
    slots: Sequence[Slots]


class TenantHead:
    """Groups and index of one tenant. Every method wants `lock` held, except where it says not."""

    def __init__(
        self,
        tenant: Owner,
        settings: StoreSettings,
        past: Past,
        next_group: Callable[[], int],
        tables: ByteCache,
    ) -> None:
        """`tables` keeps what selectors found; its keys begin with the tenant."""
        self.tenant = tenant
        self.lock = threading.RLock()
        self.index = HeadIndex()
        self.groups: dict[int, Group] = {}
        self.changes = Changes()
        self.retention_ms = settings.retention_ms
        self._settings = settings
        self._past = past
        self._next_group = next_group
        self._tables = tables
        self._group_of_clock: dict[str, Group] = {}
        self._refs = np.empty(0, np.int64)
        self._aliases: dict[int, int] = {}

    def refs(self, series: Sequence[Labels]) -> RefArray | None:
        """Refs of series that are all known; None where one is not."""
        numbers = [self.index.find(labels) for labels in series]
        return None if None in numbers else self._refs[np.asarray(numbers, np.int64)]

    def intern(
        self, clock: str, series: Sequence[Labels], series_max: int | None = None
    ) -> tuple[RefArray, Definition | None]:
        """Refs of the series, and what the log must define for those that are new."""
        numbers: list[int] = []
        fresh: list[int] = []
        room = len(series) if series_max is None else max(0, series_max - len(self.index))
        for labels in series:
            number = self.index.find(labels)
            if number is None and len(fresh) < room:
                number = self.index.add(labels)
                fresh.append(number)
            numbers.append(REFUSED if number is None else number)
        definition = None
        if fresh:
            group = self._group(clock, len(fresh))
            first = group.add(fresh)
            columns = range(first, first + len(fresh))
            self._set_refs(fresh, group.number, columns)
            labels_of = self.index.labels(fresh)
            definition = Definition(self.tenant, group.number, clock, columns, labels_of)
        places = np.asarray(numbers, np.int64)
        refs = np.full(len(places), REFUSED, np.int64)
        refs[places >= 0] = self._refs[places[places >= 0]]
        return refs, definition

    def append(self, rows: Sequence[Row], now_ms: int, *, any_age: bool = False) -> Batch:
        """Judges and stores rows, in their order; with `any_age` the window does not bind."""
        for row in rows:
            assert len(row.refs) == len(row.values), "a row with refs but no values: a caller's bug"
        window_ms = _ANY_AGE_MS if any_age else self._settings.out_of_order_window_ms
        batch = Batch(window_ms, self._past.newest_ms())
        oldest_ms = max(now_ms - self.retention_ms, self._past.before_ms())
        for row in rows:
            if row.time_ms > now_ms + self._settings.ahead_ms_max:
                batch.reject(row, TOO_FAR_AHEAD)
                continue
            if row.time_ms < oldest_ms:
                batch.reject(row, OUT_OF_BOUNDS)
                continue
            for number, columns, values in _split(row):
                group = self.groups.get(number)
                if group is None:
                    batch.forgotten.extend((columns + (number << _COLUMN_BITS)).tolist())
                else:
                    self._append(batch, group, row.time_ms, columns, values)
        if batch.rows:
            self.changes.note(min(row.time_ms for row in batch.rows))
        return batch

    def holds_late(self, rows: Sequence[Row]) -> bool:
        """Whether some series in the rows has a newer sample already. Takes `lock` itself."""
        with self.lock:
            return any(self._is_late(row) for row in rows)

    def define(self, definition: Definition) -> None:
        """Restores columns from the log. Wants the newest definition first; they may repeat."""
        group = self.groups.get(definition.group)
        if group is None:
            group = self.groups[definition.group] = Group(
                definition.group, definition.clock, self._settings
            )
            self._group_of_clock.setdefault(definition.clock, group)
        columns: list[int] = []
        numbers: list[int] = []
        fresh: dict[int, int] = {}
        for column, labels in zip(definition.columns, definition.labels, strict=True):
            number = self.index.find(labels)
            if number is None:
                number = self.index.add(labels)
                fresh[number] = column
            elif number not in fresh and (self._ref(number) >> _COLUMN_BITS) != group.number:
                # The series came back after a rest and is in a newer group.
                self._aliases[(group.number << _COLUMN_BITS) | column] = self._ref(number)
                continue
            columns.append(column)
            numbers.append(number)
        if fresh:
            self._set_refs(list(fresh), group.number, list(fresh.values()))
        group.restore(columns, numbers)

    def replay(self, row: GroupRow) -> bool:
        """Stores a row from the log, less what is there already; False for an unknown column."""
        group = self.groups.get(row.group)
        columns = row.columns
        if group is None:
            return False
        if columns is None:
            wide = np.arange(row.first, row.first + len(row.values), dtype=np.int64)
        else:
            wide = columns.astype(np.int64)
        slots = group.slots(wide)
        if row.time_ms > group.time_max and (slots >= 0).all():
            group.put(row.time_ms, slots, row.values)
            return True
        return self._replay_slowly(group, row, wide, slots)

    def replay_sealed(self, rows: SealedRows) -> bool:
        """The same for rows from a checkpoint, all at once where nothing is in their way."""
        group = self.groups.get(rows.group)
        if group is None:
            return False
        living = rows.columns >= 0
        slots = np.full(len(living), -1, np.int64)
        slots[living] = group.slots(rows.columns[living])
        if (slots[living] >= 0).all() and group.adopt(rows.times, slots, rows.values):
            return True
        known = [self.replay(row) for row in rows.rows()]
        return all(known)

    def forget_empty(self) -> None:
        """Drops series without samples, after replay or a deletion."""
        for group in list(self.groups.values()):
            self._drop(group, group.idle_slots(NO_TIME + 1))
        self._aliases.clear()

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> HeadSource:
        """Series that pass and may have samples in the range, a clock a group."""
        table = self._recent(matchers, start_ms, end_ms)
        views = [
            self.groups[number].view(slots, start_ms, end_ms)
            for number, slots in zip(table.groups, table.slots, strict=True)
        ]
        return HeadSource(table.series, views)

    def values(
        self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Collection[str]:
        """Values of a label in the series that `select` finds."""
        found = self.matching(matchers, start_ms, end_ms)
        numbers = [_NO_SLOTS, *(group.series[slots] for group, slots in found)]
        return values_among(self.index, name, bitmap(np.concatenate(numbers)), self.index.labels)

    def matching(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[tuple[Group, Slots]]:
        """Slots, group by group, whose series pass and may have samples in the range."""
        table = self._recent(matchers, start_ms, end_ms)
        for number, slots in zip(table.groups, table.slots, strict=True):
            yield self.groups[number], slots

    def _recent(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> HeadTable:
        """Series that pass and whose group and own newest sample reach into the range."""
        table = self._matching(tuple(matchers))
        found = [
            (self.groups[number], slots)
            for number, slots in zip(table.groups, table.slots, strict=True)
        ]
        if all(_all_recent(group, start_ms, end_ms) for group, _ in found):
            return table
        recent = [_recent(group, slots, start_ms, end_ms) for group, slots in found]
        if all(mask.all() for mask in recent):
            return table
        return self._table(
            [
                (group, slots[mask])
                for (group, slots), mask in zip(found, recent, strict=True)
                if mask.any()
            ]
        )

    def _matching(self, matchers: tuple[Matcher, ...]) -> HeadTable:
        """Every series that passes: looked for once, until a series comes or goes."""

        def load() -> tuple[HeadTable, int]:
            numbers = np.asarray(match(self.index, matchers).to_array(), np.uint32)
            table = self._table(list(self._by_group(numbers)))
            return table, table_bytes(table.series)

        key = (self.tenant, self.index.generation, matchers)
        found: HeadTable = self._tables.get(key, load)
        return found

    def _table(self, groups: Sequence[tuple[Group, Slots]]) -> HeadTable:
        return HeadTable(
            table_of([self._labels(group, slots) for group, slots in groups]),
            [group.number for group, _ in groups],
            [slots for _, slots in groups],
        )

    def few(
        self, matchers: Sequence[Matcher], series_max: int
    ) -> Iterator[tuple[Labels, Group, int]]:
        """The series that pass, each with its group and its column there. Raises NotAtHand."""
        numbers = match_few(self.index, matchers, series_max)
        if numbers is None:
            raise NotAtHand
        for number, labels in zip(numbers, self.index.labels(numbers), strict=True):
            ref = self._ref(number)
            yield labels, self.groups[ref >> _COLUMN_BITS], ref & _COLUMN_MASK

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Whether any sample may lie in the range."""
        groups = self.groups.values()
        return any(each.time_min <= end_ms and each.time_max >= start_ms for each in groups)

    def definitions(self) -> Iterator[Definition]:
        """What a fresh log segment must define so that older ones can go."""
        for group in self.groups.values():
            columns, slots = group.live_columns()
            for run in runs_of(range(len(columns))):
                told = columns[run].tolist(), self._labels(group, slots[run])
                yield Definition(self.tenant, group.number, group.clock, *told)

    def drop_idle(self, before_ms: int) -> None:
        """Forgets series whose samples are all in blocks, and groups without series."""
        for group in list(self.groups.values()):
            self._drop(group, group.idle_slots(before_ms))

    def exchange(self, group: Group) -> None:
        """Puts a group in the place of the one with its number."""
        if self._group_of_clock.get(group.clock) is self.groups[group.number]:
            self._group_of_clock[group.clock] = group
        self.groups[group.number] = group

    def _append(
        self, batch: Batch, group: Group, time_ms: int, columns: Slots, values: ValueArray
    ) -> None:
        first = _first_of_run(columns)
        slots = group.slots(columns) if first is None else group.run(first, len(columns))
        if slots.min(initial=0) < 0:
            gone = slots < 0
            batch.forgotten.extend((columns[gone] + (group.number << _COLUMN_BITS)).tolist())
            columns, values, slots = columns[~gone], values[~gone], slots[~gone]
            first = None
        if time_ms <= batch.past_ms and group.unresolved(time_ms):
            self._resolve(group, slots, time_ms)
        batch.accepted += len(slots)
        if time_ms <= max(group.time_max, batch.past_ms):
            taken = self._judge(batch, group, time_ms, columns, values)
            if not taken.all():
                columns, values, slots = columns[taken], values[taken], slots[taken]
                first = None
        if len(slots):
            before = group.late_bytes
            group.put(time_ms, slots, values)
            batch.late_bytes += group.late_bytes - before
            batch.rows.append(_group_row(group.number, time_ms, first, columns, values))

    def _is_late(self, row: Row) -> bool:
        for number, columns, _ in _split(row):
            group = self.groups.get(number)
            if group is not None:
                slots = group.slots(columns)
                if (group.last(slots[slots >= 0]) > row.time_ms).any():
                    return True
        return False

    def _judge(
        self, batch: Batch, group: Group, time_ms: int, columns: Slots, values: ValueArray
    ) -> NDArray[np.bool_]:
        """Which samples are to be stored; the others are there already, or refused."""
        slots = group.slots(columns)
        last = group.last(slots)
        taken = last < time_ms
        old = np.flatnonzero(~taken)
        existing = self._existing(group, time_ms, slots[old])
        bits = existing.view(np.uint64)
        absent = bits == ABSENT_BITS
        late = absent & (last[old] - time_ms <= batch.window_ms)
        taken[old[late]] = True
        refused = np.flatnonzero(~late & (absent | (bits != values[old].view(np.uint64))))
        for index in refused.tolist():
            at = int(old[index])
            value = float(values[at])
            reason = OUT_OF_ORDER
            if not absent[index]:
                reason = duplicate(time_ms, float(existing[index]), value)
            ref = (group.number << _COLUMN_BITS) | int(columns[at])
            batch.rejections.append(Rejection(ref, time_ms, value, reason))
        batch.accepted -= len(refused)
        return taken

    def _existing(self, group: Group, time_ms: int, slots: Slots) -> ValueArray:
        values = group.existing(time_ms, slots)
        if time_ms <= self._past.newest_ms():
            missing = np.flatnonzero(values.view(np.uint64) == ABSENT_BITS)
            if len(missing):
                labels = self._labels(group, slots[missing])
                values[missing] = self._past.values_at(labels, time_ms)
        return values

    def _resolve(self, group: Group, slots: Slots, time_ms: int) -> None:
        unknown = group.unresolved_slots(slots, time_ms)
        if len(unknown):
            last = self._past.last_times(self._labels(group, unknown), time_ms)
            group.resolve(unknown, last, time_ms)

    def _replay_slowly(self, group: Group, row: GroupRow, columns: Slots, slots: Slots) -> bool:
        known = slots >= 0
        complete = True
        for at in np.flatnonzero(~known).tolist():
            alias = self._aliases.get((group.number << _COLUMN_BITS) | int(columns[at]))
            if alias is None:
                complete = False
                continue
            value = row.values[at : at + 1]
            number, column = alias >> _COLUMN_BITS, alias & _COLUMN_MASK
            complete &= self.replay(GroupRow(number, row.time_ms, column, None, value))
        slots, values = slots[known], row.values[known]
        absent = group.existing(row.time_ms, slots).view(np.uint64) == ABSENT_BITS
        if absent.any():
            group.put(row.time_ms, slots[absent], values[absent])
        return complete

    def _drop(self, group: Group, slots: Slots) -> None:
        if len(slots):
            self.index.remove(group.series[slots].tolist())
            group.drop(slots)
        if group.width == 0:
            del self.groups[group.number]
            if self._group_of_clock.get(group.clock) is group:
                del self._group_of_clock[group.clock]

    def _group(self, clock: str, fresh: int) -> Group:
        """The clock's group, or a new one where it has no room for more columns."""
        group = self._group_of_clock.get(clock)
        if group is None or not _has_room(group, fresh):
            group = Group(self._next_group(), clock, self._settings)
            self.groups[group.number] = self._group_of_clock[clock] = group
        return group

    def _labels(self, group: Group, slots: Slots) -> list[Labels]:
        return self.index.labels(group.series[slots].tolist())

    def _by_group(self, numbers: NDArray[np.uint32]) -> Iterator[tuple[Group, Slots]]:
        refs = np.sort(self._refs[numbers])
        groups = refs >> _COLUMN_BITS
        for first, last in runs(groups):
            group = self.groups[int(groups[first])]
            yield group, group.slots(refs[first:last] & _COLUMN_MASK)

    def _ref(self, number: int) -> int:
        return int(self._refs[number])

    def _set_refs(self, numbers: Sequence[int], group: int, columns: Sequence[int]) -> None:
        top = max(numbers) + 1
        if top > len(self._refs):
            refs = np.full(max(top, len(self._refs) * 5 // 4), -1, np.int64)
            refs[: len(self._refs)] = self._refs
            self._refs = refs
        self._refs[np.asarray(numbers)] = (group << _COLUMN_BITS) | np.asarray(columns, np.int64)


def _has_room(group: Group, fresh: int) -> bool:
    """Whether new columns go into the group: numbers are left, and most of those given out still live.

    Numbers are never used twice, so series that come and go would make a group's table grow for ever.
    """
    dead = group.columns - group.width
    return group.columns + fresh <= _COLUMN_MASK and dead <= max(_DEAD_COLUMNS, 4 * group.width)


def _all_recent(group: Group, start_ms: int, end_ms: int) -> bool:
    """Whether `_recent` would leave out none, told without looking at each."""
    return group.time_min <= end_ms and group.all_reach(start_ms)


def _recent(group: Group, slots: Slots, start_ms: int, end_ms: int) -> NDArray[np.bool_]:
    """Which slots of a group that reaches into the range have their newest sample not before it."""
    if group.time_min > end_ms or group.time_max < start_ms:
        return np.zeros(len(slots), np.bool_)
    return np.greater_equal(group.last(slots), start_ms)


def _split(row: Row) -> Iterator[tuple[int, Slots, ValueArray]]:
    """The row's samples, group by group."""
    refs, values = row.refs, row.values
    if len(refs) == 0:
        return
    number = int(refs[0]) >> _COLUMN_BITS
    # What belongs to a group below is negative, and as a word without a sign beyond every column.
    columns = refs - (number << _COLUMN_BITS)
    if int(columns.view(np.uint64).max()) <= _COLUMN_MASK:
        yield number, columns, values
        return
    groups = refs >> _COLUMN_BITS
    for number in dict.fromkeys(groups.tolist()):
        here = groups == number
        yield number, refs[here] & _COLUMN_MASK, values[here]


def _first_of_run(columns: Slots) -> int | None:
    """The first of columns that follow each other, as most do; else None."""
    first, steps = int(columns[0]), len(columns) - 1
    is_run = int(columns[-1]) - first == steps and (columns[1:] > columns[:-1]).all()
    return first if is_run else None


def _group_row(
    number: int, time_ms: int, first: int | None, columns: Slots, values: ValueArray
) -> GroupRow:
    if first is None:
        return GroupRow(number, time_ms, 0, columns.astype(np.uint32), values)
    return GroupRow(number, time_ms, first, None, values)
