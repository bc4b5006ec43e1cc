"""The checkpoint: the log shrinks to what the head holds, and a start from it finds the same."""

import errno
from itertools import pairwise

import numpy as np
import pytest
from tests.tsdb.stores import NOW, TENANT, StandingClock, append, dump, open_store, series

from meterhall.model.samples import Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb import checkpoint_works
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import segment_paths, temporary_paths
from meterhall.tsdb.wal_format import Kind, frames, is_checkpoint

SPAN = 1000
BASE = NOW // (4 * SPAN) * 4 * SPAN
OTHER = Tenant("jp", "q")


def opened(directory, disk=None, **changes):
    return open_store(
        directory,
        StandingClock(BASE + 10**6),
        disk,
        **{"block_span_ms": SPAN, "merged_span_ms": 4 * SPAN, "log_segment_bytes": 3000} | changes,
    )


def scrapes(store, first, last, tenant=TENANT, width=40, gap=None):
    """Rows of one clock; with `gap`, one series of them is missing at a time."""
    writer = store.writer(tenant)
    refs = writer.intern("c", [series("m", i=str(place)) for place in range(width)])
    for time_ms in range(first, last, 50):
        keep = np.arange(width) != (time_ms // 50 % width if gap else -1)
        values = np.arange(width) * 0.5 + time_ms % 977
        said = writer.append([Row(time_ms, refs[keep], values[keep])])
        assert not said.forgotten
        assert not said.rejections
    said.durable.result(10)


def filled(directory, disk=None, **changes):
    """A store with sealed and raw rows, gaps, late samples, a series that came late, two tenants."""
    store = opened(directory, disk, **changes)
    scrapes(store, BASE, BASE + SPAN, gap=True)
    scrapes(store, BASE, BASE + 300, OTHER, width=3)
    append(store.writer(TENANT), series("late"), (BASE + SPAN, 1.0), (BASE + 7, 2.0))
    append(store.writer(TENANT), series("m", i="7"), (BASE + 13, 3.0))
    return store


def both(store):
    return dump(store), dump(store, OTHER)


def checkpointed(store):
    store.flush(0)


def restarted(store, directory, **changes):
    store.close()
    return opened(directory, **changes)


def test_a_start_finds_what_the_head_held(tmp_path):
    store = filled(tmp_path)
    expected = both(store)
    before = sum(path.stat().st_size for _, path in segment_paths(tmp_path))
    checkpointed(store)
    ((_, path),) = segment_paths(tmp_path)
    assert is_checkpoint(memoryview(path.read_bytes()))
    assert path.stat().st_size < before / 2
    for _ in range(2):
        store = restarted(store, tmp_path)
        assert both(store) == expected
        checkpointed(store)
    scrapes(store, BASE + SPAN, BASE + 2 * SPAN)
    append(store.writer(TENANT), series("m", i="7"), (BASE + 113, 4.0))
    expected = both(store)
    store = restarted(store, tmp_path)
    assert both(store) == expected
    store.close()


def test_a_back_fill_is_sealed_too(tmp_path):
    store = opened(tmp_path, out_of_order_window_ms=10 * SPAN)
    scrapes(store, BASE + 2 * SPAN, BASE + 2 * SPAN + 100)
    scrapes(store, BASE, BASE + SPAN, gap=True)
    expected = both(store)
    before = sum(path.stat().st_size for _, path in segment_paths(tmp_path))
    checkpointed(store)
    ((_, path),) = segment_paths(tmp_path)
    assert path.stat().st_size < before / 2
    store = restarted(store, tmp_path, out_of_order_window_ms=10 * SPAN)
    assert both(store) == expected
    checkpointed(store)
    store = restarted(store, tmp_path)
    assert both(store) == expected
    store.close()


def test_judgement_is_the_same_after_it(tmp_path):
    store = filled(tmp_path, out_of_order_window_ms=SPAN)
    checkpointed(store)
    store = restarted(store, tmp_path, out_of_order_window_ms=SPAN)
    writer = store.writer(TENANT)
    repeated = append(writer, series("m", i="3"), (BASE, 1.5 + BASE % 977))
    assert (repeated.accepted, repeated.rejections) == (1, [])
    assert "duplicate" in append(writer, series("m", i="3"), (BASE, 7.0)).rejections[0].reason
    too_late = append(writer, series("m", i="3"), (BASE - 51, 7.0))
    assert too_late.rejections[0].reason == "out of order sample"
    store.close()


def test_rows_that_blocks_hold_are_left_out(tmp_path):
    store = filled(tmp_path)
    expected = both(store)
    cut = BASE + 175
    flushed = store.flush(cut)
    assert flushed > 100
    assert both(store) == expected
    store = restarted(store, tmp_path)
    assert both(store) == expected
    groups = [group for head in store._tenants.heads() for group in head.groups.values()]
    assert min(group.time_min for group in groups) >= cut
    store.close()


def test_series_that_were_dropped_stay_dropped(tmp_path):
    store = opened(tmp_path, seal_rows=4)
    scrapes(store, BASE, BASE + 400, width=40)
    scrapes(store, BASE + 400, BASE + 2000, width=3)
    store.flush(BASE + 500)
    assert store.head_stats(TENANT, 9).series == 3
    expected = both(store)
    store = restarted(store, tmp_path)
    assert both(store) == expected
    assert store.head_stats(TENANT, 9).series == 3
    scrapes(store, BASE + 2000, BASE + 2500, width=40)
    expected = both(store)
    checkpointed(store)
    store = restarted(store, tmp_path)
    assert both(store) == expected
    store.close()


class CheckpointDisk(Disk):
    """Fails at one operation on a checkpoint; `unlink` is left undone, as a crash would."""

    def __init__(self, operation):
        self.operation = operation
        self.names = {}
        self.failing = True

    def create(self, path):
        handle = super().create(path)
        self.names[handle] = path.name
        return handle

    def _fail(self, operation, name):
        if self.failing and operation == self.operation and name.endswith(".tmp"):
            raise OSError(errno.EIO, "no")

    def write(self, handle, pieces):
        self._fail("write", self.names[handle])
        return super().write(handle, pieces)

    def sync(self, handle):
        self._fail("sync", self.names[handle])
        super().sync(handle)

    def rename(self, source, target):
        if target.suffix == ".wal":
            self._fail("rename", source.name)
        super().rename(source, target)

    def unlink(self, path):
        if not (self.failing and self.operation == "unlink" and path.suffix == ".wal"):
            super().unlink(path)


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "unlink"])
def test_a_step_that_fails_loses_nothing(tmp_path, operation):
    disk = CheckpointDisk(operation)
    store = filled(tmp_path, disk)
    expected = both(store)
    if operation == "unlink":
        checkpointed(store)
        assert len(segment_paths(tmp_path)) > 2
    else:
        with pytest.raises(OSError, match="no"):
            checkpointed(store)
        assert temporary_paths(tmp_path) == []
    assert both(store) == expected
    store = restarted(store, tmp_path)
    assert both(store) == expected
    checkpointed(store)
    assert len(segment_paths(tmp_path)) == 1
    assert both(store) == expected
    store.close()


def test_a_log_that_has_grown_is_cut_by_upkeep(tmp_path):
    store = opened(tmp_path, block_span_ms=10**6, merged_span_ms=10**6, log_checkpoint_bytes=5000)
    sizes = []
    for part in range(8):
        scrapes(store, BASE + part * 500, BASE + (part + 1) * 500)
        store.maintain()
        sizes.append(sum(path.stat().st_size for _, path in segment_paths(tmp_path)))
    assert sum(after < before for before, after in pairwise(sizes)) > 1
    assert max(sizes) < 20_000
    expected = both(store)
    store = restarted(store, tmp_path)
    assert both(store) == expected
    store.close()


@pytest.mark.parametrize(
    ("rows_max", "cells_max", "pieces"), [(512, 10**6, 1), (12, 10**6, 2), (512, 300, 3)]
)
def test_neighbouring_pieces_become_one_while_that_stays_small(
    tmp_path, monkeypatch, rows_max, cells_max, pieces
):
    """Twelve rows and four were sealed, and four are raw."""
    monkeypatch.setattr(checkpoint_works, "SEALED_ROWS_MAX", rows_max)
    monkeypatch.setattr(checkpoint_works, "_JOINED_CELLS_MAX", cells_max)
    store = opened(tmp_path)
    scrapes(store, BASE, BASE + SPAN)
    expected = dump(store)
    checkpointed(store)
    ((_, path),) = segment_paths(tmp_path)
    kinds = [each.kind for each in frames(memoryview(path.read_bytes()))]
    assert kinds.count(Kind.SEALED) == pieces
    store = restarted(store, tmp_path)
    assert dump(store) == expected
    store.close()


def test_damage_costs_only_the_rows_that_it_hits(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_works, "SEALED_ROWS_MAX", 12)
    store = filled(tmp_path)
    expected, _ = both(store)
    checkpointed(store)
    store.close()
    ((_, path),) = segment_paths(tmp_path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        data = bytearray(whole)
        data[position] ^= 0xFF
        path.write_bytes(data)
        store = opened(tmp_path)
        found, _ = both(store)
        store.close()
        for labels, samples in found.items():
            assert samples.items() <= expected[labels].items()
        lost = sum(map(len, expected.values())) - sum(map(len, found.values()))
        # Twelve rows, of twenty, lie in the largest piece.
        assert lost <= 12 * 40, position
        for _, each in segment_paths(tmp_path)[1:]:
            each.unlink()
