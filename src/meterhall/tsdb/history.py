"""One tenant's samples in blocks: what reading and the head's rules ask of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, ABSENT_BITS, TimestampArray, ValueArray
from meterhall.ports.series import NewestSample
from meterhall.tsdb import block_at_hand
from meterhall.tsdb.at_hand import Samples, gathered
from meterhall.tsdb.block import Block, TenantBlock
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.cache import NotAtHand
from meterhall.tsdb.matching import Postings, bitmap, values_among
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.series_table import SeriesTable, Union, table_bytes, united
from meterhall.tsdb.stacking import Source
from meterhall.tsdb.tombstones import EVER, Erasure, Living, Tombstones
from meterhall.tsdb.wal import NO_TIME

# So many blocks are asked at once; half a day is in no more.
_BLOCKS_MAX = 8


@dataclass(frozen=True, slots=True)
class History:
    """Implements `head.Past`, and the reader's way to blocks. Thread-safe."""

    tenant: Owner
    blocks: BlockSet
    tombstones: Tombstones

    def newest_ms(self) -> int:
        """No block has a sample of the tenant after this. A bound: any tenant's newest will do."""
        return self.blocks.newest_ms()

    def before_ms(self) -> int:
        """No sample before it is ever seen again."""
        return self._erasure.before_ms

    def last_times(self, series: Sequence[Labels], since_ms: int) -> TimestampArray:
        """Each series' newest sample in blocks, where that is at or after `since_ms`.

        Newest blocks first: a series that was found is not looked for in blocks that end before.
        """
        erasure = self._erasure
        newest = np.full(len(series), NO_TIME)
        waiting = np.arange(len(series))
        for block in sorted(self.blocks.blocks, key=_newest, reverse=True):
            waiting = waiting[newest[waiting] < _newest(block)]
            if _newest(block) < since_ms or len(waiting) == 0:
                break
            here = block.tenant(self.tenant)
            if here is not None:
                wanted = [series[row] for row in waiting.tolist()]
                found = _last_times(here, erasure, wanted)
                newest[waiting] = np.maximum(newest[waiting], found)
        return newest

    def values_at(self, series: Sequence[Labels], time_ms: int) -> ValueArray:
        """Each series' value at one instant."""
        values = np.full(len(series), ABSENT)
        for here, erasure in self._parts(time_ms, time_ms):
            if here.has_instant(time_ms):
                numbers = _numbers(here, erasure, series, time_ms)
                known = np.flatnonzero(numbers >= 0)
                found = here.values_at(numbers[known], time_ms)
                present = found.view(np.uint64) != ABSENT_BITS
                values[known[present]] = found[present]
        return values

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterator[Source]:
        """Sources of each block that may hold samples of the range."""
        for here, erasure in self._parts(start_ms, end_ms):
            if not erasure.touches(here.block):
                yield here.select(matchers, start_ms, end_ms)
                continue
            for each in erasure.living(here, here.passing(matchers), start_ms, end_ms):
                yield here.living(each)

    def united(self, tables: Sequence[SeriesTable]) -> Union:
        """The union of tables, made once for as long as these are the same."""

        def load() -> tuple[Union, int]:
            made = united(tables)
            return made, table_bytes(made.table) + sum(map(table_bytes, tables))

        if len(tables) == 1:
            return united(tables)
        found: Union = self.blocks.selections.get((self.tenant, *tables), load)
        return found

    def newest(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[NewestSample]:
        """Newest samples block by block: a series may be there several times. Raises NotAtHand."""
        found: list[NewestSample] = []
        for here in self.indexes_at_hand(start_ms, end_ms):
            found += block_at_hand.newest(here, matchers, start_ms, end_ms, series_max)
        return found

    def at_hand(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[tuple[Labels, Samples]]:
        """All samples in the range of each series that passes, block by block. Raises NotAtHand."""
        return gathered(
            part
            for here in self.indexes_at_hand(start_ms, end_ms)
            for part in block_at_hand.samples(here, matchers, start_ms, end_ms, series_max)
        )

    def values(
        self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[Collection[str]]:
        """Values of a label in the series that `select` finds, block by block."""
        for here, erasure in self._parts(start_ms, end_ms):
            numbers = _alive(here, erasure.living(here, here.passing(matchers), start_ms, end_ms))
            yield values_among(here, name, numbers, here.labels.all)

    def indexes(self, start_ms: int, end_ms: int) -> Iterator[Postings]:
        """The tenant's index in each block that may hold samples of the range."""
        for here, erasure in self._parts(start_ms, end_ms):
            if erasure.touches(here.block):
                yield _Survivors(here, erasure, (start_ms, end_ms))
            else:
                yield here

    def indexes_at_hand(self, start_ms: int, end_ms: int) -> Iterator[TenantBlock]:
        """The same where they are few and in memory.

        Raises NotAtHand, also where something of a block is hidden.
        """
        erasure = self._erasure
        blocks = [block for block in self.blocks.blocks if block.overlaps(start_ms, end_ms)]
        if len(blocks) > _BLOCKS_MAX or any(map(erasure.touches, blocks)):
            raise NotAtHand
        for block in blocks:
            here = block.tenant_at_hand(self.tenant)
            if here is not None:
                yield here

    @property
    def _erasure(self) -> Erasure:
        """What is hidden. Take it before the blocks: it is forgotten once they are written without it."""
        return self.tombstones.of(self.tenant)

    def _parts(self, start_ms: int, end_ms: int) -> Iterator[tuple[TenantBlock, Erasure]]:
        erasure = self._erasure
        for block in self.blocks.blocks:
            if block.overlaps(start_ms, end_ms):
                here = block.tenant(self.tenant)
                if here is not None:
                    yield here, erasure


class _Survivors:
    """Implements `matching.Postings` over those series of a block of which something may be seen."""

    def __init__(self, here: TenantBlock, erasure: Erasure, within: tuple[int, int]) -> None:
        self._here = here
        self._numbers = _alive(here, erasure.living(here, here.every(), *within))

    def every(self) -> BitMap:
        """All of them."""
        return self._numbers

    def names(self) -> Collection[str]:
        """Their label names."""
        labels = self._here.labels.all(self._numbers)
        return {name for pairs in labels for name, _ in pairs}

    def values(self, name: str) -> Collection[str]:
        """Their values of a label."""
        return values_among(self._here, name, self._numbers, self._here.labels.all)

    def series(self, name: str, value: str) -> BitMap | None:
        """Those that carry the pair."""
        found = self._here.series(name, value)
        return None if found is None else found & self._numbers


def _numbers(
    here: TenantBlock, erasure: Erasure, series: Sequence[Labels], time_ms: int
) -> NDArray[np.int64]:
    """Each series' number in a block, or -1 where it has none that may be seen at the time."""
    numbers = np.array([here.find(labels) for labels in series], np.int64)
    if erasure.touches(here.block):
        there = bitmap(numbers[numbers >= 0])
        seen = _alive(here, erasure.living(here, there, time_ms, time_ms))
        numbers[~np.isin(numbers, np.asarray(seen.to_array(), np.int64))] = -1
    return numbers


def _alive(here: TenantBlock, living: Iterator[Living]) -> BitMap:
    """Series whose clock reaches into a range in which they may be seen."""
    found = BitMap()
    for numbers, start_ms, end_ms in living:
        found |= here.alive(numbers, start_ms, end_ms)
    return found


def _newest(block: Block) -> int:
    return block.footer.newest_ms


def _last_times(here: TenantBlock, erasure: Erasure, series: Sequence[Labels]) -> TimestampArray:
    """Each series' newest sample in one block, NO_TIME where there is none."""
    newest = np.full(len(series), NO_TIME)
    sources, rows = _known(here, erasure, series, EVER)
    selection = StoredSelection(sources, *EVER)
    for group in selection.groups():
        present = group.values.view(np.uint64) != ABSENT_BITS
        targets = [rows[selection.labels[row]] for row in group.rows.tolist()]
        newest[targets] = np.where(present, group.times, NO_TIME).max(axis=1)
    return newest


def _known(
    here: TenantBlock, erasure: Erasure, series: Sequence[Labels], within: tuple[int, int]
) -> tuple[list[Source], dict[Labels, int]]:
    """The series that a block has and that may be seen, and where each stands in `series`."""
    numbers = BitMap()
    rows: dict[Labels, int] = {}
    for row, labels in enumerate(series):
        number = here.find(labels)
        if number >= 0:
            numbers.add(number)
            rows[labels] = row
    return [here.living(each) for each in erasure.living(here, numbers, *within)], rows
