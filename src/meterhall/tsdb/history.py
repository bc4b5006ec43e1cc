"""One tenant's samples in blocks: what reading and the head's rules ask of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, ABSENT_BITS, TimestampArray, ValueArray
from meterhall.ports.series import NewestSample
from meterhall.tsdb.block import Block, BlockSource, TenantBlock
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.cache import NotAtHand
from meterhall.tsdb.matching import Postings, match, values_among
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.series_table import SeriesTable, Union, table_bytes, united
from meterhall.tsdb.stacking import Source
from meterhall.tsdb.wal import NO_TIME

# `newest` asks no more blocks than this; usually one or two are in the range.
_BLOCKS_MAX = 4
_EVER = (NO_TIME + 1, -NO_TIME - 2)


@dataclass(frozen=True, slots=True)
class History:
    """Implements `head.Past`, and the reader's way to blocks. Thread-safe."""

    tenant: Owner
    blocks: BlockSet

    def newest_ms(self) -> int:
        """No block has a sample of the tenant after this. A bound: any tenant's newest will do."""
        return self.blocks.newest_ms()

    def last_times(self, series: Sequence[Labels], since_ms: int) -> TimestampArray:
        """Each series' newest sample in blocks, where that is at or after `since_ms`.

        Newest blocks first: a series that was found is not looked for in blocks that end before.
        """
        newest = np.full(len(series), NO_TIME)
        waiting = np.arange(len(series))
        for block in sorted(self.blocks.blocks, key=_newest, reverse=True):
            waiting = waiting[newest[waiting] < _newest(block)]
            if _newest(block) < since_ms or len(waiting) == 0:
                break
            here = block.tenant(self.tenant)
            if here is not None:
                found = _last_times(here, [series[row] for row in waiting.tolist()])
                newest[waiting] = np.maximum(newest[waiting], found)
        return newest

    def values_at(self, series: Sequence[Labels], time_ms: int) -> ValueArray:
        """Each series' value at one instant."""
        values = np.full(len(series), ABSENT)
        for here in self._parts(time_ms, time_ms):
            if here.has_instant(time_ms):
                numbers = np.array([here.find(labels) for labels in series], np.int64)
                known = np.flatnonzero(numbers >= 0)
                found = here.values_at(numbers[known], time_ms)
                present = found.view(np.uint64) != ABSENT_BITS
                values[known[present]] = found[present]
        return values

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterator[Source]:
        """One source for each block that may hold samples of the range."""
        for here in self._parts(start_ms, end_ms):
            yield here.select(matchers, start_ms, end_ms)

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
        blocks = [block for block in self.blocks.blocks if block.overlaps(start_ms, end_ms)]
        if len(blocks) > _BLOCKS_MAX:
            raise NotAtHand
        for block in blocks:
            here = block.tenant_at_hand(self.tenant)
            if here is not None:
                found += here.newest(matchers, start_ms, end_ms, series_max)
        return found

    def values(
        self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[Collection[str]]:
        """Values of a label in the series that `select` finds, block by block."""
        for here in self._parts(start_ms, end_ms):
            numbers = here.alive(match(here, matchers), start_ms, end_ms)
            yield values_among(here, name, numbers, here.all_labels)

    def indexes(self, start_ms: int, end_ms: int) -> Iterator[Postings]:
        """The tenant's index in each block that may hold samples of the range."""
        yield from self._parts(start_ms, end_ms)

    def _parts(self, start_ms: int, end_ms: int) -> Iterator[TenantBlock]:
        for block in self.blocks.blocks:
            if block.overlaps(start_ms, end_ms):
                here = block.tenant(self.tenant)
                if here is not None:
                    yield here


def _newest(block: Block) -> int:
    return block.footer.newest_ms


def _last_times(here: TenantBlock, series: Sequence[Labels]) -> TimestampArray:
    """Each series' newest sample in one block, NO_TIME where there is none."""
    newest = np.full(len(series), NO_TIME)
    source, rows = _known(here, series, *_EVER)
    selection = StoredSelection([source], *_EVER)
    for group in selection.groups():
        present = group.values.view(np.uint64) != ABSENT_BITS
        targets = [rows[selection.labels[row]] for row in group.rows.tolist()]
        newest[targets] = np.where(present, group.times, NO_TIME).max(axis=1)
    return newest


def _known(
    here: TenantBlock, series: Sequence[Labels], start_ms: int, end_ms: int
) -> tuple[Source, dict[Labels, int]]:
    """The series that a block has, as a source, and where each stands in `series`."""
    numbers = []
    rows: dict[Labels, int] = {}
    for row, labels in enumerate(series):
        number = here.find(labels)
        if number >= 0:
            numbers.append(number)
            rows[labels] = row
    table = here.table(np.asarray(numbers, np.int64))
    return BlockSource(here, table, start_ms, end_ms), rows
