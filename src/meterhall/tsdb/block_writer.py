"""Writing one block: the samples of many tenants in one span, from any sources.

Series are laid out by metric, then clock, then labels. They are read a few at a time, so that memory is
bounded by a slab and not by the block. A page holds at most PAGE_VALUES_MAX values (or one series)
and ends with its metric, except that small metrics share a page until it is worth one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import METRIC_NAME, Labels, label_value
from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
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
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import temporary
from meterhall.tsdb.ordering import in_order
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import PAGE_VALUES_MAX, encode_page
from meterhall.tsdb.selection import StoredSelection

# Below this many values a page takes in the next metric too: each page costs some 60 bytes.
_PAGE_VALUES_WORTH = 4096
# How many values are in hand at a time, as float64.
_SLAB_VALUES = 4 << 20
# A series that fills less than half of its clock gets a clock of its own.
_CLOCK_FILL = 2

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """What a block covers: `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int


class BlockWriter:
    """Writes aside, syncs, renames. Use: `tenant` for each in directory order, then `finish`.

    A context manager: what was not finished leaves nothing behind.
    """

    def __init__(self, path: Path, span: Span, disk: Disk, check: Callable[[], None]) -> None:
        """`check` is called now and then and may raise to stop the work."""
        self._path = path
        self._span = span
        self._disk = disk
        self._check = check
        self._temporary = temporary(path)
        self._handle = disk.create(self._temporary)
        self._offset = 0
        self._description: list[bytes] = []
        self._described = 0
        self._entries: list[Entry] = []

    def tenant(self, tenant: Owner, selection: StoredSelection) -> int:
        """Writes one tenant's samples; returns how many. A tenant without any leaves no trace."""
        columns = _Columns(self._write_page)
        for metric, labels, line in _series(selection, self._check):
            columns.add(metric, labels, line)
        columns.flush()
        if not columns.series:
            return 0
        index = build_index(columns.series, columns.clock_of)
        self._entries.append(
            Entry(
                tenant,
                len(columns.series),
                columns.samples,
                min(int(clock[0]) for clock in columns.clocks),
                max(int(clock[-1]) for clock in columns.clocks),
                self._describe(encode_index(index)),
                self._describe(encode_clocks(columns.clocks)),
                self._describe(np.array(columns.pages, PAGE).tobytes()),
            )
        )
        return columns.samples

    def finish(self) -> bool:
        """Makes the block durable under its name; False where it would have been empty."""
        if not self._entries:
            return False
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
                sum(entry.samples for entry in self._entries),
                sum(entry.series for entry in self._entries),
            )
        )
        self._disk.write(self._handle, [description, description, footer, footer])
        self._disk.sync(self._handle)
        self._disk.rename(self._temporary, self._path)
        self._disk.sync_directory(self._path.parent)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close(self._handle)
        self._disk.remove(self._temporary)

    def _write_page(self, page: bytes) -> int:
        if self._offset == 0:
            self._offset = self._disk.write(self._handle, [HEADER])
        offset = self._offset
        self._offset += self._disk.write(self._handle, [page])
        return offset

    def _describe(self, data: bytes) -> Section:
        section = Section(self._described, len(data), crc(data))
        self._description.append(data)
        self._described += len(data)
        return section


# A clock, a series' values at its times, and how many of them are not ABSENT.
_Line = tuple[TimestampArray, ValueArray, int]


class _Columns:
    """One tenant's series on their way into pages."""

    def __init__(self, write_page: Callable[[bytes], int]) -> None:
        self.series: list[Labels] = []
        self.clock_of: list[int] = []
        self.clocks: list[TimestampArray] = []
        self.pages: list[tuple[int, int, int, int]] = []
        self.samples = 0
        self._write_page = write_page
        self._clock_numbers: dict[bytes, int] = {}
        self._times: TimestampArray | None = None
        self._number = -1
        self._waiting: list[ValueArray] = []
        self._waiting_values = 0
        self._metric = ""

    def add(self, metric: str, labels: Labels, line: _Line) -> None:
        """The next series."""
        times, values, count = line
        full = self._waiting_values + len(values) > PAGE_VALUES_MAX
        if full or (metric != self._metric and self._waiting_values >= _PAGE_VALUES_WORTH):
            self.flush()
        self._metric = metric
        if count * _CLOCK_FILL < len(values):
            present = values.view(np.uint64) != ABSENT_BITS
            times, values = times[present], values[present]
        self.samples += count
        self.series.append(labels)
        self.clock_of.append(self._clock(times))
        self._waiting.append(values)
        self._waiting_values += len(values)

    def flush(self) -> None:
        """Writes what waits as one page."""
        if self._waiting:
            lengths = np.fromiter(map(len, self._waiting), np.int64, len(self._waiting))
            page = encode_page(np.concatenate(self._waiting), lengths)
            offset = self._write_page(page)
            self.pages.append((offset, len(page), crc(page), len(self._waiting)))
            self._waiting, self._waiting_values = [], 0

    def _clock(self, times: TimestampArray) -> int:
        # Neighbours mostly share the very array.
        if times is not self._times:
            self._times = times
            key = times.tobytes()
            self._number = self._clock_numbers.setdefault(key, len(self.clocks))
            if self._number == len(self.clocks):
                self.clocks.append(times.copy())
        return self._number


def _series(
    selection: StoredSelection, check: Callable[[], None]
) -> Iterator[tuple[str, Labels, _Line]]:
    """Every series with samples, its metric first: by metric, then clock, then labels.

    Sources keep a clock's series together, blocks a metric's. So a slab of metrics is read at a time, and
    given out metric by metric.
    """
    labels = selection.labels
    metrics = [label_value(each, METRIC_NAME) for each in labels]
    order = _order(metrics, selection.clock_keys().tolist(), labels)
    slab_series = max(1, _SLAB_VALUES * len(labels) // max(1, selection.samples_max))
    for first in range(0, len(order), slab_series):
        check()
        slab = np.asarray(order[first : first + slab_series], np.int64)
        lines = _read_slab(selection, slab)
        for row, line in zip(slab.tolist(), lines, strict=True):
            if line is not None:
                yield metrics[row], labels[row], line


def _order(metrics: Sequence[str], clocks: Sequence[int], series: Sequence[Labels]) -> list[int]:
    """Places of all series: by metric, then clock, then labels."""
    places: dict[str, dict[int, list[int]]] = {}
    for place, (metric, clock) in enumerate(zip(metrics, clocks, strict=True)):
        places.setdefault(metric, {}).setdefault(clock, []).append(place)
    order: list[int] = []
    for metric in in_order(places):
        of_metric = places[metric]
        for clock in in_order(of_metric):
            order += in_order(of_metric[clock], key=series.__getitem__)
    return order


def _read_slab(selection: StoredSelection, slab: Positions) -> list[_Line | None]:
    """The slab's series; None for those that have no sample."""
    lines: list[_Line | None] = [None] * len(slab)
    place_of = np.empty(len(selection.labels), np.int64)
    place_of[slab] = np.arange(len(slab))
    for stack in selection.some(slab):
        clocks = [times[:length] for times, length in zip(stack.times, stack.lengths, strict=True)]
        padding = stack.values.shape[1] - stack.lengths[stack.clock_of]
        counts = (stack.values.view(np.uint64) != ABSENT_BITS).sum(axis=1) - padding
        numbers = (place_of[stack.rows], stack.clock_of, counts)
        rows = zip(*(each.tolist() for each in numbers), stack.values, strict=True)
        for place, clock, count, values in rows:
            if count:
                times = clocks[clock]
                lines[place] = (times, values[: len(times)], count)
    return lines


def in_directory_order(tenants: Sequence[Owner]) -> list[Owner]:
    """The order in which `BlockWriter.tenant` wants them."""
    return sorted(tenants, key=tenant_order)
