"""Which series a selection has: of one source, and of several sources together.

Series are ordered by clock, so that those of one clock are a slice. Tables never change; a block's are kept and
met again by the next query, which is why they are told apart by identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import Labels
from meterhall.model.ordering import runs_of

Positions = NDArray[np.int64]

_TABLE_BYTES, _SERIES_BYTES = 1024, 40


@dataclass(frozen=True, slots=True, eq=False)
class SeriesTable:
    """Series of one source; those of clock c are `bounds[c]` to `bounds[c + 1]`, at least one."""

    labels: Sequence[Labels]
    bounds: Positions

    @property
    def clocks(self) -> int:
        """How many clocks there are."""
        return len(self.bounds) - 1

    def clock_of(self) -> Positions:
        """The clock of each series."""
        return np.repeat(np.arange(self.clocks), np.diff(self.bounds))


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """The series of several tables, each label set once; series share a clock that share it everywhere.

    Of table t, clock c is `clocks[t][c]`, or -1 where it has nothing of it, and series s stands at
    `places[t][s]`, which means something only where its clock is there.
    """

    table: SeriesTable
    clocks: Sequence[Positions]
    places: Sequence[Positions]


def table_of(groups: Sequence[Sequence[Labels]]) -> SeriesTable:
    """Series given clock by clock."""
    sizes = np.fromiter(map(len, groups), np.int64, len(groups))
    return SeriesTable([labels for group in groups for labels in group], edges(sizes))


def table_bytes(table: SeriesTable) -> int:
    """What a table takes in memory with the arrays that go with it, roughly; its labels are the index's."""
    return _TABLE_BYTES + _SERIES_BYTES * len(table.labels)


def edges(sizes: Positions) -> Positions:
    """Where runs of these sizes begin, and the end of the last."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def spread(begin: Positions, sizes: Positions) -> Positions:
    """The numbers of several runs, one after the other: `sizes[n]` of them from `begin[n]` on."""
    own = edges(sizes)
    return np.arange(own[-1]) + np.repeat(begin - own[:-1], sizes)


def united(tables: Sequence[SeriesTable]) -> Union:
    """The union; later tables give the order, because a block's pages are copied in runs and the head's rows are not."""
    if len(tables) == 1:
        (table,) = tables
        return Union(table, [np.arange(table.clocks)], [np.arange(len(table.labels))])
    from_last = range(len(tables) - 1, -1, -1)
    numbers: dict[Labels, int] = {}
    rows: dict[int, Positions] = {}
    for number in from_last:
        same = number + 1 in rows and _same(tables[number].labels, tables[number + 1].labels)
        rows[number] = rows[number + 1] if same else _numbered(numbers, tables[number].labels)
    key = np.zeros(len(numbers), np.int64)
    clock_of: dict[int, Positions] = {}
    for number in from_last:
        found = np.full(len(numbers), -1)
        found[rows[number]] = tables[number].clock_of()
        clock_of[number] = found
        _, key = np.unique(key * (tables[number].clocks + 1) + found + 1, return_inverse=True)
    order = np.argsort(key, kind="stable")
    bounds = edges(np.bincount(key))
    known = list(numbers)
    return Union(
        SeriesTable([known[row] for row in order.tolist()], bounds),
        [clock_of[number][order][bounds[:-1]] for number in range(len(tables))],
        [_places(rows[number], order) for number in range(len(tables))],
    )


def _same(some: Sequence[Labels], others: Sequence[Labels]) -> bool:
    """Whether these are the very same label sets, as of blocks that share them; that costs a tenth of numbering them."""
    pairs = zip(runs_of(some), runs_of(others), strict=False)
    return len(some) == len(others) and all(all(map(is_, *runs)) for runs in pairs)


def _numbered(numbers: dict[Labels, int], labels: Sequence[Labels]) -> Positions:
    """The number of each label set, given out in order of appearance."""
    place = numbers.setdefault
    return np.array([place(each, len(numbers)) for each in labels], np.int64)


def _places(rows: Positions, order: Positions) -> Positions:
    places = np.zeros(len(order), np.int64)
    places[rows] = np.arange(len(rows))
    return places[order]
