"""A power cut at many moments: only what was synced survives for sure, names only where their directory was synced.

In METERHALL_TORTURE=1 (`make torture`) the power is cut after every sync, otherwise after every few.
"""

import os
import sys

import numpy as np
from tests.tsdb.power_cut import PowerCutDisk, Snapshots, restore
from tests.tsdb.stores import (
    NOW,
    TENANT,
    StandingClock,
    Unsynced,
    append,
    dump,
    open_store,
    series,
)

from meterhall.model.samples import Row
from meterhall.tsdb import verify
from meterhall.tsdb.filenames import DIRECTORIES

SPAN = 500
WIDTH = 3
STEPS, STRIDE = (1200, 1) if os.environ.get("METERHALL_TORTURE") else (300, 13)
RETENTION_MS = 6000
BACK_MS = 2005
LABELS = [series("m", place=str(place)) for place in range(WIDTH)]


def value_of(time_ms):
    return float(time_ms - NOW)


def run(directory, snapshots):
    """Scrapes, some late, some very late, series that are born with old samples, flush, merge and retention."""
    clock = StandingClock(NOW)
    store = open_busy(directory, clock, PowerCutDisk(directory, snapshots))
    writer = store.writer(TENANT)

    def send(labels, clock_name, time_ms):
        refs = writer.intern(clock_name, labels)
        row = Row(time_ms, refs, value_of(time_ms) + np.arange(len(labels)))
        said = writer.append([row], any_age=True)
        assert not said.forgotten
        assert not said.rejections
        said.durable.result(10)
        snapshots.acknowledged.update((each, time_ms) for each in labels)

    for step in range(STEPS):
        time_ms = NOW + 20 * step - (300 if step % 9 == 5 else 0) - step % 9
        clock.time_ms = snapshots.now_ms = NOW + 20 * step
        send(LABELS, "c", time_ms)
        if step % 10 == 3:
            send(LABELS[:1], "c", NOW + 20 * step - BACK_MS)
            send([series("born", step=str(step))], f"b{step}", NOW + 20 * step - BACK_MS)
        if step % 20 == 19:
            store.maintain()
    store.close()


def open_busy(directory, clock, disk=None):
    return open_store(
        directory,
        clock,
        disk,
        block_span_ms=SPAN,
        merged_span_ms=4 * SPAN,
        log_segment_bytes=2000,
        log_checkpoint_bytes=1500,
        out_of_order_window_ms=1000,
        retention_ms=RETENTION_MS,
        late_bytes_max=1500,
    )


def test_what_was_acknowledged_survives(tmp_path):
    snapshots = Snapshots(STRIDE, NOW)
    run(tmp_path / "live", snapshots)
    assert len(snapshots.taken) > 30
    samples = 0
    for number, (platter, acknowledged, now_ms) in enumerate(snapshots.taken):
        directory = tmp_path / str(number)
        for name in DIRECTORIES:
            (directory / name).mkdir(parents=True)
        restore(directory, platter)
        assert verify.verify(directory).faults == (), number
        store = open_busy(directory, StandingClock(now_ms), Unsynced())
        append(store.writer(TENANT), series("after"), (now_ms, 1.0))
        store.maintain()
        found = {
            (labels, time): float(np.uint64(bits).view("f8"))
            for labels, held in dump(store).items()
            for time, bits in held.items()
        }
        store.close()
        assert found.pop((series("after"), now_ms)) == 1.0
        promised = {each for each in acknowledged if each[1] >= now_ms - RETENTION_MS}
        assert promised <= set(found), number
        samples += len(promised)
        for (labels, time_ms), value in found.items():
            place = int(dict(labels).get("place", 0))
            assert value == value_of(time_ms) + place, number
    cuts = len(snapshots.taken)
    sys.stdout.write(
        f"\npower cut: {cuts} cuts, {samples:,} samples looked for, 0 lost, 0 invented\n"
    )


def test_what_a_kill_left_unsynced_is_synced_before_anybody_hears_that_it_is_there(tmp_path):
    store = open_store(tmp_path / "live")
    append(store.writer(TENANT), series("m"), (NOW, 1.0))
    store.close()
    # So far nothing is on this disk's platter: the kernel had all of it in memory.
    disk = PowerCutDisk(tmp_path / "live", lambda _: None)
    store = open_store(tmp_path / "live", disk=disk)
    again = append(store.writer(TENANT), series("m"), (NOW, 1.0))
    assert (again.accepted, again.rejections) == (1, [])
    restore(tmp_path / "after", disk.platter())
    store.close()
    store = open_store(tmp_path / "after")
    assert dump(store) == {series("m"): {NOW: 0x3FF0000000000000}}
    store.close()
