"""A block's bytes up to its directory, against a writer that takes one series after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tsdb.stores import Unsynced

from meterhall.model.labels import METRIC_NAME, label_value, make_labels
from meterhall.model.samples import ABSENT, ABSENT_BITS, NAN, STALE
from meterhall.tsdb import block_writer, selection, slabs
from meterhall.tsdb.aside import Aside
from meterhall.tsdb.block_format import (
    HEADER,
    PAGE,
    Directory,
    IndexColumns,
    crc,
    decode_footer,
    encode_clocks,
    encode_index,
)
from meterhall.tsdb.block_writer import BlockWriter, Span
from meterhall.tsdb.label_numbers import LabelNumbers
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import encode_page
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.series_table import table_of
from meterhall.tsdb.stacking import PieceReading

OWNER = Owner("kr", "p")
PAGE_MAX, PAGE_WORTH, SLAB, STACK = 40, 8, 150, 60


@pytest.fixture(autouse=True, scope="module")
def small_sizes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_writer, "PAGE_VALUES_MAX", PAGE_MAX)
        patch.setattr(block_writer, "_PAGE_VALUES_WORTH", PAGE_WORTH)
        patch.setattr(slabs, "_SLAB_VALUES", SLAB)
        patch.setattr(selection, "STACK_CELLS_MAX", STACK)
        yield


class Listed:
    """Implements `stacking.Source` with matrices at hand."""

    def __init__(self, clocks):
        self.table = table_of([labels for labels, _, _ in clocks])
        self._pieces = [(times, values) for _, times, values in clocks]
        self.times_max = np.array([len(times) for times, _ in self._pieces])

    def read(self, clock, places):
        times, values = self._pieces[clock]
        return times, values[places - self.table.bounds[clock]]

    def reading(self, clocks, places, picks):
        return PieceReading.of(self, clocks, places, picks)


def random_sources(random):
    """A few sources with mostly the same series, whose times may overlap."""
    names = [f"m{number}" for number in range(random.integers(1, 6))] + [""]
    series = sorted(
        {
            make_labels({METRIC_NAME: random.choice(names), "i": str(number), "A": extra})
            for number in range(random.integers(1, 40))
            for extra in random.choice(["", "", "x"], 1)
        }
    )
    hosts = random.integers(0, random.integers(1, 5), len(series))
    apart = random.integers(0, 2)
    return [
        Listed([*random_clocks(random, series, hosts, 100 * apart * number)])
        for number in range(random.integers(1, 4))
    ]


def random_clocks(random, series, hosts, begin_ms):
    for host in np.unique(hosts).tolist():
        labels = [series[place] for place in np.flatnonzero(hosts == host)]
        random.shuffle(labels)
        # Most of them: some series are not in every source.
        labels = labels[: max(1, len(labels) - random.integers(0, 3))]
        times = np.flatnonzero(random.random(random.choice([3, 12, 12, 90])) < 0.7)
        times = begin_ms + np.append(times, 95)
        values = random.choice([1.0, 2.5, 3.0, STALE, NAN], (len(labels), len(times)))
        holes = random.random(values.shape) < random.choice([0, 0.1, 0.7, 1], (len(labels), 1))
        values[holes] = ABSENT
        yield labels, times, values


def series_by_series(selected):
    """All series with samples: (metric, labels, times, values, cells that were read, samples)."""
    labels, clocks = selected.labels, selected.clock_keys()
    metrics = [label_value(each, METRIC_NAME) for each in labels]
    order = sorted(
        range(len(labels)), key=lambda row: (metrics[row], int(clocks[row]), labels[row])
    )
    size = max(1, SLAB * len(order) // max(1, selected.samples_max))
    for first in range(0, len(order), size):
        lines = {}
        for stack in selected.some(np.array(order[first : first + size])):
            for row, clock, values in zip(stack.rows, stack.clock_of, stack.values, strict=True):
                length = stack.lengths[clock]
                lines[int(row)] = stack.times[clock, :length], values[:length]
        for row in order[first : first + size]:
            times, values = lines.get(row, ((), np.empty(0)))
            present = values.view(np.uint64) != ABSENT_BITS
            cells, count = len(values), int(present.sum())
            if 2 * count < cells:
                times, values = times[present], values[present]
            if count:
                yield metrics[row], labels[row], times, values, cells, count


def plain_block(selected):
    """The bytes of all pages, and the sections of index, clocks and pages."""
    series, clocks, clock_of, pages, table, waiting = [], {}, [], [HEADER], [], []

    def page():
        if waiting:
            data = encode_page(np.concatenate(waiting), np.array([len(line) for line in waiting]))
            table.append((sum(map(len, pages)), len(data), crc(data), len(waiting)))
            pages.append(data)
            waiting.clear()

    last = None
    for metric, labels, times, values, cells, _ in series_by_series(selected):
        size = sum(map(len, waiting))
        if size + cells > PAGE_MAX or (metric != last and size >= PAGE_WORTH):
            page()
        last = metric
        series.append(labels)
        clock_of.append(clocks.setdefault(times.tobytes(), (len(clocks), times))[0])
        waiting.append(values)
    page()
    sections = (
        encode_index(plain_index(series, clock_of)),
        encode_clocks([times for _, times in clocks.values()]),
        np.array(table, PAGE).tobytes(),
    )
    return b"".join(pages), sections if series else ()


def plain_index(series, clock_of):
    pairs = sorted({pair for labels in series for pair in labels})
    symbols = sorted({text for pair in pairs for text in pair})
    postings = [[at for at, labels in enumerate(series) if pair in labels] for pair in pairs]
    columns = (
        [symbols.index(name) for name, _ in pairs],
        [symbols.index(value) for _, value in pairs],
        [len(labels) for labels in series],
        [pairs.index(pair) for labels in series for pair in labels],
        clock_of,
        [len(numbers) for numbers in postings],
        [number for numbers in postings for number in numbers],
    )
    return IndexColumns(symbols, *(np.array(column, np.int64) for column in columns))


def written_block(path, selected):
    """The same of a block that was written, and how many samples it has."""
    disk = Unsynced()
    with Aside(path, disk) as file:
        writer = BlockWriter(file.handle, Span(0, 1000), disk, lambda: None)
        writer.tenant(OWNER, selected, LabelNumbers.of([selected.labels]))
        samples = writer.finish()
        if not samples:
            return samples, HEADER, ()
        file.keep()
    data = path.read_bytes()
    footer = decode_footer(data)
    description = data[footer.first_copy : footer.second_copy]
    entry = Directory(description[footer.directory_offset :]).find(OWNER)
    assert entry.samples == samples
    sections = tuple(
        description[section.offset : section.offset + section.bytes]
        for section in (entry.index, entry.clocks, entry.pages)
    )
    return samples, data[: footer.first_copy], sections


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_bytes_are_those_of_a_writer_that_takes_series_by_series(tmp_path_factory, seed):
    sources = random_sources(np.random.default_rng(seed))
    selected = StoredSelection(sources, -(2**40), 2**40)
    samples, pages, sections = written_block(tmp_path_factory.mktemp("block") / "b", selected)
    assert samples == sum(count for *_, count in series_by_series(selected))
    assert (pages, sections) == plain_block(selected)
