"""Reading one immutable block. Thread-safe; nothing is decoded before it is asked for.

Pages are read with pread, not through a mapping: a sector that cannot be read, or a file cut short
under us, is then an error of one page, where a mapping would kill the process (SIGBUS). Decoded pieces are
kept in the store's ByteCache.

A damaged page reads as if its series had no samples there; it is named in the log and counted, once.
"""

import os
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray
from pyroaring import BitMap

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.ports.series import NewestSample
from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb.block_format import (
    FOOTER_BYTES,
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
)
from meterhall.tsdb.block_reading import BlockReading
from meterhall.tsdb.cache import ByteCache, NotAtHand
from meterhall.tsdb.matching import match_few
from meterhall.tsdb.merging import Piece, clip, runs
from meterhall.tsdb.newest import newest_present
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import decode_page
from meterhall.tsdb.stacking import Bulk, Pick

_log = structlog.get_logger()
_Numbers = NDArray[np.int64]

# What a loaded index takes for each series with everything that hangs on it, roughly.
_SERIES_BYTES = 600
# What a broken stream raises, from pcodec and from the readers of tables.
_BROKEN = (DamagedError, OSError, ValueError, RuntimeError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class Caches:
    """What all blocks share."""

    pages: ByteCache
    indexes: ByteCache


class Block:
    """One block file. Raises DamagedError or OSError where it cannot be used at all."""

    def __init__(self, number: int, path: Path, caches: Caches) -> None:
        self.number = number
        self.path = path
        self._caches = caches
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # The file may be unlinked while a query reads it; the descriptor goes with the last user.
        weakref.finalize(self, os.close, self._handle)
        self.bytes = os.fstat(self._handle).st_size
        tail = min(2 * FOOTER_BYTES, self.bytes)
        self.footer: Footer = decode_footer(self.pread(self.bytes - tail, tail))
        self._reported: set[object] = set()

    @property
    def damaged(self) -> bool:
        """Whether anything in it was found broken so far. Such a block is left as it is."""
        return bool(self._reported)

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
        try:
            entry = self.directory().find(tenant)
            return None if entry is None else self.part(entry)
        except _BROKEN as error:
            self.report((tenant, "index"), f"index of {tenant.region}/{tenant.project}: {error}")
            return None

    def tenant_at_hand(self, tenant: Owner) -> "TenantBlock":
        """The tenant's part where it is in memory. Raises NotAtHand, also where there is none."""
        found: TenantBlock = self._caches.indexes.at_hand((self.number, tenant))
        return found

    def page_at_hand(self, key: tuple[Owner, int]) -> ValueArray:
        """A decoded page that is in memory. Raises NotAtHand."""
        values: ValueArray = self._caches.pages.at_hand((self.number, *key))
        return values

    def part(self, entry: Entry) -> "TenantBlock":
        """A tenant's part; raises one of the errors of broken streams."""

        def load() -> tuple[TenantBlock, int]:
            loaded = TenantBlock(self, entry)
            return loaded, _SERIES_BYTES * entry.series

        found: TenantBlock = self._caches.indexes.get((self.number, entry.tenant), load)
        return found

    def entries(self) -> Iterator[Entry]:
        """All tenants, in the directory's order; raises DamagedError."""
        directory = self.directory()
        for number in range(len(directory)):
            yield directory.entry(number)

    def section(self, section: Section) -> bytes:
        """A piece of the description, from whichever copy is sound."""
        for copy in (self.footer.first_copy, self.footer.second_copy):
            data = self.pread(copy + section.offset, section.bytes)
            if crc(data) == section.crc:
                return data
            self.report((copy, section.offset), f"description at {copy + section.offset}")
        raise DamagedError(f"section at {section.offset} is damaged in both copies")

    def pread(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer where it ends."""
        return os.pread(self._handle, size, offset)

    def page(self, key: tuple[Owner, int], place: np.void, lengths: _Numbers) -> ValueArray | None:
        """A decoded page, or None where it is damaged."""

        def load() -> tuple[ValueArray, int]:
            data = self.pread(int(place["offset"]), int(place["bytes"]))
            if len(data) != place["bytes"] or crc(data) != place["crc"]:
                raise DamagedError("checksum is wrong")
            values = decode_page(data, lengths)
            values.flags.writeable = False
            return values, values.nbytes

        try:
            values: ValueArray = self._caches.pages.get((self.number, *key), load)
        except _BROKEN as error:
            offset = int(place["offset"])
            self.report(offset, f"page at {offset} ({place['bytes']} bytes): {error}")
            return None
        return values

    def report(self, piece: object, reason: str) -> None:
        """Names a damaged piece, once."""
        if piece not in self._reported:
            self._reported.add(piece)
            QUARANTINED.inc()
            _log.error("block.quarantined", file=self.path.name, reason=reason)


class TenantBlock:
    """One tenant's part of a block: its index (see `matching.Postings`) and its samples."""

    def __init__(self, block: Block, entry: Entry) -> None:
        self.block = block
        self.entry = entry
        self.index: IndexColumns = decode_index(block.section(entry.index))
        self.clocks: Sequence[TimestampArray] = decode_clocks(block.section(entry.clocks))
        self.pages = np.frombuffer(block.section(entry.pages), PAGE)
        series_ends = np.cumsum(self.pages["series"].astype(np.int64))
        self._page_starts = np.concatenate(([0], series_ends[:-1]))
        clock_lengths = np.fromiter(map(len, self.clocks), np.int64, len(self.clocks))
        self.lengths = clock_lengths[self.index.clocks]
        ends = np.cumsum(self.lengths)
        # Where a series begins in the flat array of its page.
        self._begins = ends - self.lengths
        self._begins -= np.repeat(self._begins[self._page_starts], self.pages["series"])
        self._pair_ends = np.cumsum(self.index.widths)
        self._posting_ends = np.cumsum(self.index.posting_lengths)
        self._labels: dict[int, Labels] = {}
        self._pairs: list[tuple[str, str]] = [
            (self.index.symbols[name], self.index.symbols[value])
            for name, value in zip(
                self.index.names.tolist(), self.index.values.tolist(), strict=True
            )
        ]
        self._values: dict[str, dict[str, int]] = {}
        for number, (name, value) in enumerate(self._pairs):
            self._values.setdefault(name, {})[value] = number
        self._postings: dict[int, BitMap] = {}

    def every(self) -> BitMap:
        """All series."""
        return BitMap(range(len(self.index.widths)))

    def names(self) -> Iterable[str]:
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
            known = BitMap(self.index.postings[begin:end].astype(np.uint32))
            self._postings[number] = known
        return known

    def labels(self, number: int) -> Labels:
        """The label set of a series."""
        known = self._labels.get(number)
        if known is None:
            end = int(self._pair_ends[number])
            begin = end - int(self.index.widths[number])
            known = tuple(self._pairs[pair] for pair in self.index.pairs[begin:end].tolist())
            self._labels[number] = known
        return known

    def all_labels(self, numbers: Iterable[int]) -> list[Labels]:
        """The label sets of series."""
        return [self.labels(number) for number in numbers]

    def alive(self, numbers: BitMap, start_ms: int, end_ms: int) -> BitMap:
        """Those of the series whose clock reaches into the range."""
        inside = np.array(
            [times[0] <= end_ms and times[-1] >= start_ms for times in self.clocks], np.bool_
        )
        if inside.all():
            return numbers
        series = np.asarray(numbers.to_array(), np.int64)
        return BitMap(series[inside[self.index.clocks[series]]].astype(np.uint32))

    def find(self, labels: Labels) -> int | None:
        """The number of a label set, or None where the block has no such series."""
        found: BitMap | None = None
        for name, value in labels:
            here = self.series(name, value)
            if here is None:
                return None
            found = here if found is None else found & here
        for number in found or ():
            if int(self.index.widths[number]) == len(labels):
                return int(number)
        return None

    def every_part(self) -> "BlockParts":
        """All series, clock by clock, over all time."""
        footer = self.block.footer
        return self.parts(np.arange(len(self.lengths)), footer.oldest_ms, footer.newest_ms)

    def parts(self, numbers: _Numbers, start_ms: int, end_ms: int) -> "BlockParts":
        """These series, clock by clock, as far as they may have samples in the range."""
        order = np.argsort(self.index.clocks[numbers], kind="stable")
        numbers = numbers[order]
        clocks = self.index.clocks[numbers]
        parts = BlockParts(self, start_ms, end_ms)
        for first, last in runs(clocks):
            times = self.clocks[int(clocks[first])]
            if times[0] <= end_ms and times[-1] >= start_ms:
                parts.append(BlockPart(self, numbers[first:last], times, start_ms, end_ms))
        return parts

    def living_parts(self, living: tuple[BitMap, int, int]) -> "BlockParts":
        """Series over a range, as `tombstones` gives them."""
        numbers, start_ms, end_ms = living
        return self.parts(np.asarray(numbers.to_array(), np.int64), start_ms, end_ms)

    def read(self, numbers: _Numbers, times: TimestampArray) -> ValueArray:
        """Values of series that share the clock `times`."""
        out = np.full((len(numbers), len(times)), ABSENT)
        page_of = np.searchsorted(self._page_starts, numbers, "right") - 1
        order = np.argsort(page_of, kind="stable")
        for first, last in runs(page_of[order]):
            rows = order[first:last]
            page = int(page_of[rows[0]])
            flat = self.page(page)
            if flat is None:
                continue
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

    def newest(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[NewestSample]:
        """The newest sample in the range of each series that passes, from what is in memory.

        Raises NotAtHand where that is not enough.
        """
        for matcher in matchers:
            pair = self._values.get(matcher.name, {}).get(matcher.value)
            if pair is not None and pair not in self._postings:
                raise NotAtHand
        numbers = match_few(self, matchers, series_max)
        if numbers is None:
            raise NotAtHand
        found: list[NewestSample] = []
        for number in numbers:
            times = self.clocks[int(self.index.clocks[number])]
            last = int(times.searchsorted(end_ms, "right"))
            if last and times[last - 1] >= start_ms:
                page = int(self._page_starts.searchsorted(number, "right")) - 1
                flat = self.block.page_at_hand((self.entry.tenant, page))
                begin = int(self._begins[number])
                sample = newest_present(times, flat[begin : begin + len(times)], start_ms, last)
                if sample is not None:
                    found.append((self.labels(number), *sample))
        return found

    def places(self, numbers: _Numbers) -> tuple[_Numbers, _Numbers]:
        """Page, and beginning in its flat array, of each series."""
        page_of = np.searchsorted(self._page_starts, numbers, "right") - 1
        return page_of, self._begins[numbers]

    def page(self, page: int) -> ValueArray | None:
        """All values of a page, or None where it is damaged."""
        first = int(self._page_starts[page])
        place = self.pages[page]
        lengths = self.lengths[first : first + int(place["series"])]
        return self.block.page((self.entry.tenant, page), place, lengths)


class BlockPart:
    """Series of one clock in one block; implements `selection.Part`."""

    def __init__(
        self,
        tenant: TenantBlock,
        numbers: _Numbers,
        times: TimestampArray,
        start_ms: int,
        end_ms: int,
    ) -> None:
        self._tenant = tenant
        self.numbers = numbers
        self.times = times
        self._range = (start_ms, end_ms)
        self.labels: Sequence[Labels] = [tenant.labels(number) for number in numbers.tolist()]
        first = int(times.searchsorted(start_ms, "left"))
        # No series of the part has more samples than this in the range.
        self.times_max = int(times.searchsorted(end_ms, "right")) - first

    def read(self, pick: _Numbers) -> Piece:
        """Samples of the series at these positions of `labels`."""
        values = self._tenant.read(self.numbers[pick], self.times)
        return clip((self.times, values), *self._range)


class BlockParts(list[BlockPart], Bulk):
    """Parts of one block, of which page is decoded once for all."""

    def __init__(self, tenant: TenantBlock, start_ms: int, end_ms: int) -> None:
        super().__init__()
        self._tenant = tenant
        self._range = (start_ms, end_ms)

    def reading(self, picks: Sequence[Pick]) -> BlockReading:
        """Series of several clocks; a pick of part -1 has nothing here."""
        nothing = np.empty(0, np.int64)
        numbers = [self[part].numbers[places] if part >= 0 else nothing for part, places in picks]
        clocks = [self[part].times if part >= 0 else nothing for part, _ in picks]
        return BlockReading(self._tenant, numbers, clocks, *self._range)
