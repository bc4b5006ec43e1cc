"""Flush, merge and retention: what they leave, what they do when the disk refuses, and beside appends."""

import errno
import threading

import numpy as np
import pytest
from tests.tsdb.stores import NOW, TENANT, StandingClock, append, dump, open_store, series

from meterhall.model.samples import Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb import upkeep
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import block_paths, segment_paths, temporary_paths
from meterhall.tsdb.memory import give_back
from meterhall.tsdb.settings import StoreSettings

SPAN = 1000
DAY = 4 * SPAN
BASE = NOW // DAY * DAY


class FullDisk(Disk):
    """Full for whatever has a name with `word` in it, while `full`."""

    def __init__(self, word):
        self.word = word
        self.full = False
        self._names = {}

    def create(self, path):
        handle = super().create(path)
        self._names[handle] = path.name
        return handle

    def write(self, handle, pieces):
        if self.full and self.word in self._names[handle]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(handle, pieces)


def scrapes(store, first, last, width=4):
    writer = store.writer(TENANT)
    labels = [series("m", i=str(place)) for place in range(width)]
    for time_ms in range(first, last, 50):
        refs = writer.intern("c", labels)
        said = writer.append([Row(time_ms, refs, np.arange(width) + time_ms % 977)])
        assert not said.forgotten
        assert not said.rejections


def opened(directory, disk=None, clock=None, **changes):
    return open_store(
        directory,
        clock or StandingClock(BASE + 10 * DAY),
        disk,
        **{"block_span_ms": SPAN, "merged_span_ms": DAY} | changes,
    )


def test_blocks_appear_merge_by_day_and_the_log_is_cut(tmp_path):
    store = opened(tmp_path, log_segment_bytes=500)
    counts = []
    for span in range(12):
        scrapes(store, BASE + span * SPAN, BASE + (span + 1) * SPAN)
        store.maintain()
        counts.append(len(block_paths(tmp_path)))
    assert counts == [0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5]
    footers = [block.footer for block in store._blocks.blocks]
    assert [footer.span_end_ms - footer.span_start_ms for footer in footers][:2] == [DAY, DAY]
    ((_, oldest),) = segment_paths(tmp_path)[:1]
    assert oldest.name > "00000010.wal"
    expected = dump(store)
    assert {len(samples) for samples in expected.values()} == {12 * SPAN // 50}
    store.close()
    store = opened(tmp_path)
    assert dump(store) == expected
    store.close()


def test_spans_merge_before_their_day_is_over(tmp_path):
    assert StoreSettings().merge_spans_ms() == [hours * 3_600_000 for hours in (24, 8, 2)]
    store = opened(tmp_path, merged_span_ms=16 * SPAN)
    expected = {}
    for part in range(11):
        scrapes(store, BASE + part * SPAN, BASE + (part + 1) * SPAN)
        expected = dump(store)
        store.maintain()
        assert dump(store) == expected
    # The newest half span stays in the head: ten are in blocks, two times four of them in one each.
    assert len(list(block_paths(tmp_path))) == 2 + 2
    store.close()


def test_late_samples_reach_the_day_they_belong_to(tmp_path):
    store = opened(tmp_path, out_of_order_window_ms=3 * DAY, late_bytes_max=1)
    scrapes(store, BASE, BASE + 2 * DAY)
    store.maintain()
    before = dump(store)
    late = series("m", i="1")
    append(store.writer(TENANT), late, *((BASE + 7 + step * 100, 5.0) for step in range(30)))
    expected = {**before, late: {**before[late]}}
    expected[late].update({BASE + 7 + step * 100: 0x4014000000000000 for step in range(30)})
    assert dump(store) == expected
    store.maintain()
    assert dump(store) == expected
    days = [block for block in store._blocks.blocks if block.footer.span_start_ms == BASE]
    assert len(days) == 1
    store.close()
    store = opened(tmp_path)
    assert dump(store) == expected
    store.close()


def test_a_back_fill_flushes_itself_and_no_more(tmp_path):
    store = opened(tmp_path, out_of_order_window_ms=3 * DAY, late_bytes_max=5000)
    scrapes(store, BASE, BASE + DAY)
    store.maintain()
    before = sum(block.footer.samples for block in store._blocks.blocks)
    mark_ms = store._blocks.mark.time_ms
    late = series("m", i="1")
    append(store.writer(TENANT), late, *((BASE + 7 + step * 50, 5.0) for step in range(30)))
    expected = dump(store)
    store.maintain()
    # Thirty sparse rows take more than the bound; some may have come when the upkeep was done already.
    written = sum(block.footer.samples for block in store._blocks.blocks) - before
    assert 0 < written <= 30
    assert store._blocks.mark.time_ms == mark_ms
    assert dump(store) == expected
    store.close()
    store = opened(tmp_path)
    assert dump(store) == expected
    store.close()


def test_back_fill_into_an_empty_past(tmp_path):
    store = opened(tmp_path)
    scrapes(store, BASE + 2 * DAY, BASE + 3 * DAY)
    store.maintain()
    old = series("old")
    samples = [(BASE - 20 * DAY + step * SPAN, float(step)) for step in range(60)]
    said = append(store.writer(TENANT), old, *samples)
    assert not said.rejections
    store.flush(BASE + 2 * DAY)
    assert [*dump(store)[old]] == [time for time, _ in samples]
    said = append(store.writer(TENANT), old, samples[3])
    assert (said.accepted, list(said.rejections)) == (1, [])
    said = append(store.writer(TENANT), old, (samples[3][0], 7.0))
    assert "duplicate sample" in said.rejections[0].reason
    store.close()


@pytest.mark.parametrize("word", [".block", "MANIFEST"])
def test_a_full_disk_stops_a_flush_and_loses_nothing(tmp_path, word):
    disk = FullDisk(word)
    store = opened(tmp_path, disk)
    scrapes(store, BASE, BASE + 3 * SPAN)
    expected = dump(store)
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        store.maintain()
    assert dump(store) == expected
    assert temporary_paths(tmp_path) == []
    assert block_paths(tmp_path) == []
    append(store.writer(TENANT), series("m", i="0"), (BASE + 333, 1.0))
    expected[series("m", i="0")][BASE + 333] = 0x3FF0000000000000
    disk.full = False
    store.maintain()
    assert len(block_paths(tmp_path)) == 2
    assert dump(store) == expected
    store.close()
    store = opened(tmp_path)
    assert dump(store) == expected
    store.close()


def test_retention_drops_whole_blocks(tmp_path):
    clock = StandingClock(BASE + 3 * DAY)
    store = opened(tmp_path, clock=clock, retention_ms=3 * DAY)
    scrapes(store, BASE, BASE + 3 * DAY)
    store.maintain()
    oldest = BASE + DAY - 50
    clock.time_ms = oldest + 3 * DAY
    store.maintain()
    assert min(dump(store)[series("m", i="0")]) == BASE
    clock.time_ms += 1
    store.maintain()
    assert min(dump(store)[series("m", i="0")]) == BASE + DAY
    store.close()


def damage(store, block, what):
    """Breaks a part of a block's file for good."""
    data = bytearray(block.path.read_bytes())
    footer = block.footer
    places = {
        "page": [8 + 30],
        "a description": [footer.first_copy + footer.directory_offset],
        "both descriptions": [
            copy + footer.directory_offset for copy in (footer.first_copy, footer.second_copy)
        ],
        "footer": [len(data) - 30],
    }
    for place in places[what]:
        data[place] ^= 0xFF
    block.path.write_bytes(data)


@pytest.mark.parametrize("what", ["page", "a description", "both descriptions", "footer"])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_damaged_block_holds_up_neither_merging_nor_retention(tmp_path, what, reopened):
    clock = StandingClock(BASE + 3 * DAY)
    store = opened(tmp_path, clock=clock)
    scrapes(store, BASE, BASE + DAY - SPAN)
    store.flush(BASE + DAY - SPAN)
    bad = store._blocks.blocks[1]
    damage(store, bad, what)
    if reopened:
        store.close()
        store = opened(tmp_path, clock=clock)
    scrapes(store, BASE + DAY - SPAN, BASE + 3 * DAY)
    store.maintain()
    store.maintain()
    left = [block for block in store._blocks.blocks if block.footer.span_end_ms <= BASE + DAY]
    assert len([block for block in left if block.number != bad.number]) == 1
    found = dump(store)[series("m", i="0")]
    gone = set(range(BASE + SPAN, BASE + 2 * SPAN, 50))
    assert set(range(BASE, BASE + 3 * DAY, 50)) - gone <= set(found)
    clock.time_ms = BASE + 4 * DAY
    store.close()
    store = opened(tmp_path, clock=clock, retention_ms=3 * DAY)
    store.maintain()
    assert bad.path.name not in {path.name for _, path in block_paths(tmp_path)}
    assert min(dump(store)[series("m", i="0")]) == BASE + DAY
    store.close()


class HookedDisk(Disk):
    """Calls something once, when the first block is about to be written."""

    def __init__(self):
        self.hook = None

    def create(self, path):
        if self.hook is not None and ".block" in path.name:
            hook, self.hook = self.hook, None
            hook()
        return super().create(path)


@pytest.mark.parametrize("who", [TENANT, Tenant("kr", "born")])
@pytest.mark.parametrize(("clock", "name"), [("c", "m"), ("c", "new"), ("born", "new")])
def test_what_is_born_during_a_flush_survives_it(tmp_path, who, clock, name):
    disk = HookedDisk()
    store = opened(tmp_path, disk)
    scrapes(store, BASE, BASE + 3 * SPAN)
    labels = series(name, i="0")
    times = [BASE + 7, BASE + SPAN + 7]

    def born():
        said = append(
            store.writer(who), labels, *((time, 5.0) for time in times), clock=clock, any_age=True
        )
        assert said.accepted

    disk.hook = born
    store.maintain()
    assert disk.hook is None
    for _ in range(2):
        assert set(times) <= set(dump(store, who)[labels])
        store.close()
        store = opened(tmp_path)
        assert set(times) <= set(dump(store, who)[labels])
        store.flush(BASE + 4 * SPAN)
    store.close()


def test_quiet_series_are_forgotten_and_come_back(tmp_path):
    store = opened(tmp_path)
    writer = store.writer(TENANT)
    quiet = series("quiet")
    (ref,) = writer.intern("q", [quiet])
    append(writer, quiet, (BASE, 1.0), clock="q")
    scrapes(store, BASE, BASE + 4 * SPAN)
    store.maintain()
    assert store.head_stats(TENANT, 9).series == 4
    said = writer.append([Row(BASE + 4 * SPAN, np.array([ref]), np.array([2.0]))])
    assert list(said.forgotten) == [ref]
    (again,) = writer.intern("q", [quiet])
    assert again != ref
    append(writer, quiet, (BASE + 4 * SPAN, 2.0), clock="q")
    assert [*dump(store)[quiet]] == [BASE, BASE + 4 * SPAN]
    store.close()


def test_appends_and_queries_beside_a_busy_upkeep(tmp_path):
    store = opened(tmp_path, maintain_interval_s=0.001)
    stop = threading.Event()
    faults = []

    def query():
        seen = 0
        while not stop.is_set():
            found = sum(map(len, dump(store).values()))
            if found < seen:
                faults.append((seen, found))
            seen = found

    reader = threading.Thread(target=query)
    reader.start()
    writer = store.writer(TENANT)
    labels = [series("m", i=str(place)) for place in range(4)]
    for step in range(1500):
        refs = writer.intern("c", labels)
        said = writer.append([Row(BASE + step * 20, refs, np.arange(4.0) + step)])
        assert not said.forgotten
    said.durable.result(10)
    stop.set()
    reader.join()
    assert faults == []
    assert {len(samples) for samples in dump(store).values()} == {1500}
    assert block_paths(tmp_path)
    store.close()


def test_memory_is_given_back_once_when_blocks_were_written(tmp_path, monkeypatch):
    given = []

    def counted():
        given.append(len(block_paths(tmp_path)))
        give_back()

    monkeypatch.setattr(upkeep, "give_back", counted)
    store = opened(tmp_path)
    scrapes(store, BASE, BASE + DAY + SPAN)
    assert store.flush(BASE + DAY - SPAN)
    assert given == [3]
    store.maintain()
    assert given == [3, 1], "after the flush and the merge, once"
    store.maintain()
    assert given == [3, 1], "nothing was done"
    store.close()
