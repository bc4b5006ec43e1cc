"""Late samples that wait for blocks: bounded, called out, refused to who can wait, and then gone."""

import threading

import numpy as np
import pytest
from tests.tsdb.stores import TENANT, append, dump, series
from tests.tsdb.test_upkeep import BASE, DAY, SPAN, FullDisk, opened, scrapes

from meterhall.model.errors import StoreUnavailable
from meterhall.model.samples import Row
from meterhall.tsdb.backlog import Backlog
from meterhall.tsdb.filenames import block_paths

LATE_MAX = 4000


def test_who_steps_over_the_line_calls_once():
    backlog = Backlog(100)
    for count, called in [(0, False), (99, False), (1, True), (50, False), (50, False)]:
        backlog.add(count)
        assert backlog.due.is_set() == called
        backlog.due.clear()
        backlog.check(lambda: True)
    backlog.add(1)
    with pytest.raises(StoreUnavailable):
        backlog.check(lambda: True)
    backlog.check(lambda: False)
    backlog.measured(99)
    backlog.check(lambda: True)
    backlog.add(1)
    assert backlog.due.is_set()


def back_fill(store, first, count):
    """Samples of a series, one by one; (times that were taken, whether some was refused)."""
    taken = []
    for step in range(count):
        time_ms = first + 3 * step
        try:
            said = append(
                store.writer(TENANT), series("m", i="1"), (time_ms, 5.0), any_age=True, wait=False
            )
        except StoreUnavailable:
            return taken, True
        assert said.accepted == 1
        taken.append(time_ms)
    return taken, False


def test_back_fill_waits_while_blocks_cannot_be_written(tmp_path):
    disk = FullDisk(".block")
    store = opened(tmp_path, disk, late_bytes_max=LATE_MAX)
    scrapes(store, BASE + DAY, BASE + 2 * DAY)
    disk.full = True
    taken, refused = back_fill(store, BASE + 1, 1000)
    assert refused
    assert store._upkeep.backlog._bytes < 2 * LATE_MAX + 500
    scrapes(store, BASE + 2 * DAY, BASE + 2 * DAY + SPAN)
    append(store.writer(TENANT), series("m", i="0"), (BASE + 2 * DAY - 7, 1.0))
    newer = (BASE + 2 * DAY + 2 * SPAN, 1.0)
    append(store.writer(TENANT), series("m", i="1"), newer, newer, any_age=True)
    disk.full = False
    store.maintain()
    more, refused = back_fill(store, BASE + 2, 10)
    assert not refused
    late = {time for time in dump(store)[series("m", i="1")] if time < BASE + DAY}
    assert late == {*taken, *more}
    store.close()


def test_the_backlog_calls_the_upkeep(tmp_path):
    store = opened(tmp_path, late_bytes_max=LATE_MAX)
    scrapes(store, BASE + DAY, BASE + 2 * DAY)
    taken, refused = back_fill(store, BASE, 30)
    assert not refused
    pause = threading.Event()
    for _ in range(4000):
        if block_paths(tmp_path) and store._upkeep.backlog._bytes < LATE_MAX:
            break
        pause.wait(0.005)
    else:
        raise AssertionError("nothing was flushed")
    assert {time for time in dump(store)[series("m", i="1")] if time < BASE + DAY} == {*taken}
    store.close()


def test_long_back_fill_leaves_few_blocks_and_little_memory(tmp_path):
    store = opened(tmp_path, late_bytes_max=LATE_MAX)
    scrapes(store, BASE + DAY, BASE + 2 * DAY, width=20)
    before = sum(map(len, dump(store).values()))
    labels = [series("m", i=str(place)) for place in range(20)]
    writer = store.writer(TENANT)
    peak = 0
    for step in range(400):
        refs = writer.intern("c", labels)
        time_ms = BASE + step * DAY // 400
        said = append(writer, series("n"), (time_ms, 1.0), clock="n", any_age=True, wait=False)
        assert said.accepted == 1
        row = Row(time_ms, refs, np.arange(20.0) + step)
        assert writer.append([row], any_age=True).accepted == 20
        if step % 4 == 3:
            store.maintain()
        peak = max(peak, store._upkeep.backlog._bytes)
    assert LATE_MAX // 2 < peak < 2 * LATE_MAX
    assert len(block_paths(tmp_path)) < 20
    assert sum(map(len, dump(store).values())) == before + 400 * 21
    store.close()
