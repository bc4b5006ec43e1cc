"""Writing one block: the samples of many tenants in one span, from any sources.

Series are laid out by metric, then clock, then labels. They are read a slab at a time, so that memory is
bounded by that and not by the block. A page holds at most PAGE_VALUES_MAX values (or one series)
and ends with its metric, except that small metrics share a page until it is worth one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.tsdb.block_format import (
    HEADER,
    PAGE,
    Entry,
    Footer,
    Section,
    build_index,
    crc,
    encode_clocks,
    encode_directory,
    encode_footer,
    encode_index,
    tenant_order,
)
from meterhall.tsdb.disk import SYNCED_BYTES, Disk
from meterhall.tsdb.label_numbers import LabelNumbers
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import PAGE_VALUES_MAX, encode_page
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.series_table import Positions
from meterhall.tsdb.slabs import Slab, slabs

# Below this many values a page takes in the next metric too: each page costs some 60 bytes.
_PAGE_VALUES_WORTH = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """What a block covers: `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int


class BlockWriter:
    """Writes into an empty file. Use: `tenant` for each in directory order, then `finish`."""

    def __init__(self, handle: int, span: Span, disk: Disk, check: Callable[[], None]) -> None:
        """`check` is called now and then and may raise to stop the work."""
        self._handle = handle
        self._span = span
        self._disk = disk
        self._check = check
        self._offset = self._synced = 0
        self._description: list[bytes] = []
        self._described = 0
        self._entries: list[Entry] = []

    def tenant(self, tenant: Owner, selection: StoredSelection, labels: LabelNumbers) -> None:
        """Writes one tenant's samples, of series with these labels. A tenant without any leaves no trace."""
        columns = _Columns(self._write_page)
        for slab in slabs(selection, labels):
            self._check()
            columns.add(slab)
            # Not held while the next is read.
            del slab
        columns.flush()
        if not columns.samples:
            return
        rows = columns.rows
        index = build_index(labels.some(rows), columns.clock_of)
        self._entries.append(
            Entry(
                tenant,
                len(rows),
                columns.samples,
                min(int(clock[0]) for clock in columns.clocks),
                max(int(clock[-1]) for clock in columns.clocks),
                self._describe(encode_index(index)),
                self._describe(encode_clocks(columns.clocks)),
                self._describe(np.array(columns.pages, PAGE).tobytes()),
            )
        )

    def finish(self) -> int:
        """Makes the file durable and returns how many samples it has; without any there is no block."""
        if not self._entries:
            return 0
        samples = sum(entry.samples for entry in self._entries)
        directory = self._describe(encode_directory(self._entries))
        description = b"".join(self._description)
        footer = encode_footer(
            Footer(
                self._offset,
                self._offset + len(description),
                len(description),
                directory.offset,
                directory.bytes,
                directory.crc,
                self._span.start_ms,
                self._span.end_ms,
                min(entry.oldest_ms for entry in self._entries),
                max(entry.newest_ms for entry in self._entries),
                samples,
                sum(entry.series for entry in self._entries),
            )
        )
        self._disk.write(self._handle, [description, description, footer, footer])
        self._disk.sync(self._handle)
        return samples

    def _write_page(self, page: bytes) -> int:
        if self._offset == 0:
            self._offset = self._disk.write(self._handle, [HEADER])
        offset = self._offset
        self._offset += self._disk.write(self._handle, [page])
        if self._offset - self._synced >= SYNCED_BYTES:
            self._disk.sync(self._handle)
            self._synced = self._offset
        return offset

    def _describe(self, data: bytes) -> Section:
        section = Section(self._described, len(data), crc(data))
        self._description.append(data)
        self._described += len(data)
        return section


class _Columns:
    """One tenant's series on their way into pages."""

    def __init__(self, write_page: Callable[[bytes], int]) -> None:
        self.clocks: list[TimestampArray] = []
        self.pages: list[tuple[int, int, int, int]] = []
        self.samples = 0
        self._write_page = write_page
        self._rows: list[Positions] = []
        self._clock_of: list[Positions] = []
        self._clock_numbers: dict[bytes, int] = {}
        self._metric = -1
        # What waits for its page, and how many values that are.
        self._values: list[ValueArray] = []
        self._lengths: list[Positions] = []
        self._waiting = 0

    @property
    def rows(self) -> Positions:
        """The series, by their numbers in the selection."""
        return np.concatenate(self._rows)

    @property
    def clock_of(self) -> Positions:
        """The clock of each series."""
        return np.concatenate(self._clock_of)

    def add(self, slab: Slab) -> None:
        """The next series."""
        self.samples += int(slab.samples.sum())
        self._rows.append(slab.rows)
        self._clock_of.append(self._clocks(slab))
        numbers = (each.tolist() for each in (slab.metrics, slab.cells, slab.lengths))
        first = 0
        for place, (metric, cells, length) in enumerate(zip(*numbers, strict=True)):
            full = self._waiting + cells > PAGE_VALUES_MAX
            if full or (metric != self._metric and self._waiting >= _PAGE_VALUES_WORTH):
                self._wait(slab, first, place)
                self.flush()
                first = place
            self._metric = metric
            self._waiting += length
        self._wait(slab, first, len(slab.rows))

    def flush(self) -> None:
        """Writes what waits as one page."""
        if self._waiting:
            lengths = np.concatenate(self._lengths)
            page = encode_page(np.concatenate(self._values), lengths)
            offset = self._write_page(page)
            self.pages.append((offset, len(page), crc(page), len(lengths)))
            self._values, self._lengths, self._waiting = [], [], 0

    def _wait(self, slab: Slab, first: int, end: int) -> None:
        """Takes the values of neighbours, which are counted already."""
        self._values += slab.values(first, end)
        self._lengths.append(slab.lengths[first:end])

    def _clocks(self, slab: Slab) -> Positions:
        """The clock of each series, numbered in the order in which they come."""
        number_of = np.empty(len(slab.clocks), np.int64)
        for clock in dict.fromkeys(slab.clock_of.tolist()):
            times = slab.clocks[clock]
            number = self._clock_numbers.setdefault(times.tobytes(), len(self.clocks))
            if number == len(self.clocks):
                self.clocks.append(times.copy())
            number_of[clock] = number
        return number_of[slab.clock_of]


def in_directory_order(tenants: Sequence[Owner]) -> list[Owner]:
    """The order in which `BlockWriter.tenant` wants them."""
    return sorted(tenants, key=tenant_order)
