"""Reading one immutable block. Thread-safe; nothing is decoded before it is asked for.

Pages are read with pread, not through a mapping: a sector that cannot be read, or a file cut short
under us, is then an error of one page, where a mapping would kill the process (SIGBUS). Decoded pieces are
kept in the store's ByteCache.

A damaged page reads as if its series had no samples there. Each damaged piece goes to quarantine once.
"""

import os
import weakref
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.tsdb.block_format import (
    FOOTER_BYTES,
    HEADER,
    PAGE,
    DamagedError,
    Directory,
    Entry,
    Footer,
    IndexColumns,
    Section,
    crc,
    decode_clocks,
    decode_footer,
    decode_index,
    encode_footer,
)
from meterhall.tsdb.block_labels import BlockLabels
from meterhall.tsdb.block_reading import BlockReading, BlockTable, Clocks, Page
from meterhall.tsdb.cache import ByteCache
from meterhall.tsdb.matching import bitmap, match
from meterhall.tsdb.merging import Piece, clip, is_full, runs
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import decode_page
from meterhall.tsdb.series_table import SeriesTable, edges, table_bytes
from meterhall.tsdb.stacking import Picks

T = TypeVar("T")

_Numbers = NDArray[np.int64]

# What a loaded index takes for each series with everything that hangs on it, roughly.
_SERIES_BYTES = 600
# That a tenant has nothing in a block is known by an entry of the cache.
_ABSENT_BYTES = 200
# A bitmap with its entry in the cache; its numbers take two bytes each at most.
_BITMAP_BYTES = 1024
# What a broken stream raises, from pcodec and from the readers of tables.
_BROKEN = (DamagedError, OSError, ValueError, RuntimeError, IndexError, TypeError)


# Where a damaged piece goes: file, offset, the bytes as they were read, and what is wrong.
OnDamage = Callable[[str, int, bytes, str], None]


@dataclass(frozen=True, slots=True)
class Caches:
    """What all blocks share."""

    pages: ByteCache
    indexes: ByteCache
    selections: ByteCache


class Block:
    """One block file. Raises DamagedError or OSError where it cannot be used at all."""

    def __init__(self, number: int, path: Path, caches: Caches, on_damage: OnDamage) -> None:
        self.number = number
        self.path = path
        self._caches = caches
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # The file may be unlinked while a query reads it; the descriptor goes with the last user.
        weakref.finalize(self, os.close, self._handle)
        self.bytes = os.fstat(self._handle).st_size
        self._on_damage = on_damage
        self._reported: set[object] = set()
        # Whether anything in it cannot be read, as far as is known. Such a block is left as it is.
        self.damaged = False
        size = min(2 * FOOTER_BYTES, self.bytes)
        tail = self.pread(self.bytes - size, size)
        self.footer: Footer = decode_footer(tail)
        if tail != encode_footer(self.footer) * 2:
            self._report("footer", self.bytes - size, tail, "a copy of the footer is damaged")
        head = self.pread(0, len(HEADER))
        if head != HEADER:
            self._report("header", 0, head, "header is damaged")

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Whether any sample may lie in the range, both ends included."""
        return self.footer.oldest_ms <= end_ms and self.footer.newest_ms >= start_ms

    def directory(self) -> Directory:
        """The block's tenants; raises DamagedError where both copies are broken."""

        def load() -> tuple[Directory, int]:
            footer = self.footer
            section = Section(footer.directory_offset, footer.directory_bytes, footer.directory_crc)
            return Directory(self.section(section)), section.bytes

        found: Directory = self._caches.indexes.get((self.number, "directory"), load)
        return found

    def tenant(self, tenant: Owner) -> "TenantBlock | None":
        """The tenant's part; None where there is none, or none that can be read."""

        def load() -> tuple[TenantBlock | None, int]:
            entry = self.directory().find(tenant)
            if entry is None:
                return None, _ABSENT_BYTES
            return TenantBlock(self, entry), _SERIES_BYTES * entry.series

        try:
            found: TenantBlock | None = self._caches.indexes.get((self.number, tenant), load)
        except _BROKEN as error:
            self.damaged = True
            who = f"{tenant.region}/{tenant.project}"
            self._report((tenant, "index"), 0, b"", f"index of {who}: {error}")
            return None
        return found

    def tenant_at_hand(self, tenant: Owner) -> "TenantBlock | None":
        """The tenant's part, or None, where either is known without searching. Else raises NotAtHand."""
        found: TenantBlock | None = self._caches.indexes.at_hand((self.number, tenant))
        return found

    def page_at_hand(self, key: tuple[Owner, int]) -> Page:
        """A decoded page that is in memory. Raises NotAtHand."""
        page: Page = self._caches.pages.at_hand((self.number, *key))
        return page

    def selected(self, key: tuple[Hashable, ...], load: Callable[[], tuple[T, int]]) -> T:
        """What a selector found here lately; `load` finds it and says how many bytes it takes."""
        found: T = self._caches.selections.get((self.number, *key), load)
        return found

    def entries(self) -> Iterator[Entry]:
        """All tenants, in the directory's order; raises DamagedError."""
        directory = self.directory()
        for number in range(len(directory)):
            yield directory.entry(number)

    def section(self, section: Section) -> bytes:
        """A piece of the description, from whichever copy is sound. Both are read, so that damage is not left unseen."""
        sound = None
        for copy in (self.footer.first_copy, self.footer.second_copy):
            at, data, reason = copy + section.offset, b"", "checksum is wrong"
            try:
                data = self.pread(at, section.bytes)
            except OSError as error:
                reason = str(error.strerror)
            if len(data) == section.bytes and crc(data) == section.crc:
                sound = data
            else:
                self._report(at, at, data, f"description: {reason}")
        if sound is None:
            self.damaged = True
            raise DamagedError(f"section at {section.offset} is damaged in both copies")
        return sound

    def pread(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer where it ends."""
        return os.pread(self._handle, size, offset)

    def page(self, key: tuple[Owner, int], place: np.void, lengths: _Numbers) -> Page | None:
        """A decoded page, or None where it is damaged."""

        data = b""

        def load() -> tuple[Page, int]:
            nonlocal data
            data = self.pread(int(place["offset"]), int(place["bytes"]))
            if len(data) != place["bytes"] or crc(data) != place["crc"]:
                raise DamagedError("checksum is wrong")
            values = decode_page(data, lengths)
            values.flags.writeable = False
            return Page(values, is_full(values)), values.nbytes

        try:
            page: Page = self._caches.pages.get((self.number, *key), load)
        except _BROKEN as error:
            self.damaged = True
            offset = int(place["offset"])
            self._report(offset, offset, data, f"page: {error}")
            return None
        return page

    def _report(self, piece: object, offset: int, data: bytes, reason: str) -> None:
        """Once for each piece."""
        if piece not in self._reported:
            self._reported.add(piece)
            self._on_damage(self.path.name, offset, data, reason)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A series: its times, its page, and where in the page its values begin."""

    labels: Labels
    times: TimestampArray
    page: tuple[Owner, int]
    begin: int

    def values(self, page: Page) -> ValueArray:
        """Its values in a page. A view."""
        return page.values[self.begin : self.begin + len(self.times)]


class TenantBlock:
    """One tenant's part of a block: its index (see `matching.Postings`) and its samples."""

    def __init__(self, block: Block, entry: Entry) -> None:
        self.block = block
        self.entry = entry
        self.index: IndexColumns = decode_index(block.section(entry.index))
        clocks = decode_clocks(block.section(entry.clocks))
        clock_lengths = np.fromiter(map(len, clocks), np.int64, len(clocks))
        self.clocks = Clocks(np.concatenate(clocks), edges(clock_lengths))
        # From here on every clock has begun; until there none has ended.
        self._all_begun_ms = max((int(times[0]) for times in clocks), default=0)
        self._all_end_ms = min((int(times[-1]) for times in clocks), default=0)
        self.pages = np.frombuffer(block.section(entry.pages), PAGE)
        series_ends = np.cumsum(self.pages["series"].astype(np.int64))
        self._page_starts = np.concatenate(([0], series_ends[:-1]))
        self.lengths = clock_lengths[self.index.clocks]
        ends = np.cumsum(self.lengths)
        # Where a series begins in the flat array of its page.
        self._begins = ends - self.lengths
        self._begins -= np.repeat(self._begins[self._page_starts], self.pages["series"])
        self._posting_ends = np.cumsum(self.index.posting_lengths)
        self.labels = BlockLabels(self.index)
        self._values: dict[str, dict[str, int]] = {}
        for number, (name, value) in enumerate(self.labels.pairs):
            self._values.setdefault(name, {})[value] = number
        self._postings: dict[int, BitMap] = {}
        # Late samples ask for the same series again and again.
        self._found: dict[Labels, int] = {}
        self._instants: TimestampArray | None = None
        # Where series lie that were asked for at once, by their matchers.
        self.places: dict[tuple[Matcher, ...], list[Place]] = {}

    def every(self) -> BitMap:
        """All series."""
        return BitMap(range(len(self.index.widths)))

    def names(self) -> Collection[str]:
        """Label names."""
        return self._values

    def values(self, name: str) -> Collection[str]:
        """Values of a label."""
        return self._values.get(name, ())

    def series(self, name: str, value: str) -> BitMap | None:
        """Series that carry the pair."""
        number = self._values.get(name, {}).get(value)
        if number is None:
            return None
        known = self._postings.get(number)
        if known is None:
            end = int(self._posting_ends[number])
            begin = end - int(self.index.posting_lengths[number])
            known = bitmap(self.index.postings[begin:end])
            self._postings[number] = known
        return known

    def alive(self, numbers: BitMap, start_ms: int, end_ms: int) -> BitMap:
        """Those of the series whose clock reaches into the range."""
        if start_ms <= self._all_end_ms and end_ms >= self._all_begun_ms:
            return numbers
        inside = self.clocks.reaching(start_ms, end_ms)
        series = _numbers(numbers)
        return bitmap(series[inside[self.index.clocks[series]]])

    def find(self, labels: Labels) -> int:
        """The number of a label set, or -1 where the block has no such series."""
        number = self._found.get(labels)
        if number is None:
            number = self._found[labels] = self._find(labels)
        return number

    def _find(self, labels: Labels) -> int:
        found: BitMap | None = None
        for name, value in labels:
            here = self.series(name, value)
            if here is None:
                return -1
            found = here if found is None else found & here
        for number in found or ():
            if int(self.index.widths[number]) == len(labels):
                return int(number)
        return -1

    def has_instant(self, time_ms: int) -> bool:
        """Whether any clock ticks at a time."""
        if self._instants is None:
            self._instants = np.unique(self.clocks.times)
        at = int(self._instants.searchsorted(time_ms))
        return at < len(self._instants) and int(self._instants[at]) == time_ms

    def values_at(self, numbers: _Numbers, time_ms: int) -> ValueArray:
        """Values of some series at one instant, ABSENT where there is none."""
        values = np.full(len(numbers), ABSENT)
        clock_of = self.index.clocks[numbers]
        for clock in np.unique(clock_of).tolist():
            times = self.clocks.part(clock)
            at = int(times.searchsorted(time_ms))
            if at == len(times) or times[at] != time_ms:
                continue
            rows = np.flatnonzero(clock_of == clock)
            page_of = self._pages_of(numbers[rows])
            for number in np.unique(page_of).tolist():
                page = self.page(number)
                if page is not None:
                    here = rows[page_of == number]
                    values[here] = page.values[self._begins[numbers[here]] + at]
        return values

    def everything(self) -> "BlockSource":
        """All series over all time."""
        footer = self.block.footer
        table = self.table(np.arange(len(self.lengths)))
        return BlockSource(self, table, footer.oldest_ms, footer.newest_ms)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> "BlockSource":
        """Series that pass all matchers and whose clock reaches into the range."""
        key = tuple(matchers)

        def load() -> tuple[BlockTable, int]:
            table = self.table(_numbers(self.passing(key)))
            return table, table_bytes(table.series)

        table = self.block.selected((self.entry.tenant, key), load)
        if start_ms > self._all_end_ms or end_ms < self._all_begun_ms:
            table = table.some(self.clocks.reaching(start_ms, end_ms)[table.clocks])
        return BlockSource(self, table, start_ms, end_ms)

    def table(self, numbers: _Numbers) -> BlockTable:
        """These series, by clock."""
        numbers = numbers[np.argsort(self.index.clocks[numbers], kind="stable")]
        clocks, sizes = np.unique(self.index.clocks[numbers], return_counts=True)
        series = SeriesTable(self.labels.all(numbers.tolist()), edges(sizes))
        page_of = self._pages_of(numbers)
        return BlockTable(series, numbers, clocks, page_of, self._begins[numbers])

    def passing(self, matchers: Sequence[Matcher]) -> BitMap:
        """Series that pass all matchers, looked for once. Not to be changed."""

        def load() -> tuple[BitMap, int]:
            found = match(self, matchers)
            return found, _BITMAP_BYTES + 2 * len(found)

        return self.block.selected((self.entry.tenant, "passing", *matchers), load)

    def living(self, living: tuple[BitMap, int, int]) -> "BlockSource":
        """Series over a range, as `tombstones` gives them, as far as their clock reaches into it."""
        numbers, start_ms, end_ms = living
        reaching = self.alive(numbers, start_ms, end_ms)
        table = self.table(_numbers(reaching))
        return BlockSource(self, table, start_ms, end_ms)

    def read(self, numbers: _Numbers, times: TimestampArray) -> ValueArray:
        """Values of series that share the clock `times`."""
        if len(numbers) == 1:
            return self._read_one(int(numbers[0]), len(times))
        out = np.full((len(numbers), len(times)), ABSENT)
        page_of = self._pages_of(numbers)
        order = np.argsort(page_of, kind="stable")
        for first, last in runs(page_of[order]):
            rows = order[first:last]
            page = int(page_of[rows[0]])
            found = self.page(page)
            if found is None:
                continue
            flat = found.values
            begins = self._begins[numbers[rows]]
            if (np.diff(begins) == len(times)).all() and (np.diff(rows) == 1).all():
                begin = int(begins[0])
                whole = flat[begin : begin + len(rows) * len(times)].reshape(len(rows), -1)
                if len(rows) == len(numbers):
                    return whole
                out[rows] = whole
            else:
                out[rows] = flat[begins[:, None] + np.arange(len(times))]
        return out

    def _read_one(self, number: int, length: int) -> ValueArray:
        page = self.page(int(self._page_starts.searchsorted(number, "right")) - 1)
        if page is None:
            return np.full((1, length), ABSENT)
        begin = int(self._begins[number])
        return page.values[None, begin : begin + length]

    def must_unpack(self, name: str, value: str) -> bool:
        """Whether it takes work to tell which series carry a pair."""
        number = self._values.get(name, {}).get(value)
        return number is not None and number not in self._postings

    def place(self, number: int) -> "Place":
        """Where a series lies."""
        page = int(self._page_starts.searchsorted(number, "right")) - 1
        times = self.clocks.part(int(self.index.clocks[number]))
        begin = int(self._begins[number])
        return Place(self.labels.one(number), times, (self.entry.tenant, page), begin)

    def _pages_of(self, numbers: _Numbers) -> _Numbers:
        return np.searchsorted(self._page_starts, numbers, "right") - 1

    def page(self, number: int) -> Page | None:
        """A decoded page, or None where it is damaged."""
        first = int(self._page_starts[number])
        place = self.pages[number]
        lengths = self.lengths[first : first + int(place["series"])]
        return self.block.page((self.entry.tenant, number), place, lengths)


def _numbers(series: BitMap) -> _Numbers:
    return np.asarray(series.to_array(), np.int64)


class BlockSource:
    """Implements `stacking.Source`: series of one block over a range."""

    def __init__(self, tenant: TenantBlock, table: BlockTable, start_ms: int, end_ms: int) -> None:
        self._tenant = tenant
        self._table = table
        self._range = (start_ms, end_ms)
        self.table = table.series
        self._cut = tenant.clocks.cut(table.clocks, start_ms, end_ms)
        self.times_max = self._cut.counts

    def read(self, clock: int, places: _Numbers) -> Piece:
        """Samples of series of one clock, which stand at these places of the table."""
        times = self._tenant.clocks.part(int(self._table.clocks[clock]))
        values = self._tenant.read(self._table.numbers[places], times)
        return clip((times, values), *self._range)

    def reading(self, clocks: _Numbers, places: _Numbers, picks: Picks) -> BlockReading:
        """Of each pick the clock here, or -1, and of each of its rows the place here."""
        table = self._table
        where = (table.page_of[places], table.begins[places])
        times = self._tenant.clocks.times
        return BlockReading(self._tenant, times, self._cut.of(clocks), where, picks)
