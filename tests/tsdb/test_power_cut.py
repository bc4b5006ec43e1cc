"""A power cut at many moments: only what was synced survives for sure, names only where their directory was synced.

Two kinds of cut: the strict one drops everything that was not synced; the lax one keeps, by lot, parts of it. In
METERHALL_TORTURE=1 (`make torture`) the power is cut after every sync, otherwise after every few.
"""

import os
import random
import sys
import threading
from pathlib import Path

import numpy as np
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


class PowerCutDisk(Unsynced):
    """Keeps, beside the real files, what the platter holds; shows it at every sync."""

    def __init__(self, root, on_sync):
        self._root = root
        self._on_sync = on_sync
        self._lock = threading.RLock()
        self._paths = {}
        self._contents = {}
        self._names = {}

    def create(self, path):
        handle = super().create(path)
        with self._lock:
            self._paths[handle] = path
        return handle

    def close(self, handle):
        with self._lock:
            self._paths.pop(handle, None)
        super().close(handle)

    def sync(self, handle):
        with self._lock:
            path = self._paths[handle]
            self._contents[path.stat().st_ino] = path.read_bytes()
            self._on_sync(self)

    def cut(self, path, size):
        with self._lock:
            super().cut(path, size)
            self._contents[path.stat().st_ino] = path.read_bytes()

    def sync_directory(self, path):
        with self._lock:
            files = [each for each in path.iterdir() if each.is_file()]
            self._names[path] = {each.name: each.stat().st_ino for each in files}
            self._on_sync(self)

    def platter(self):
        """What would be found after a cut now: {path below the root: content}."""
        return {
            (path / name).relative_to(self._root): self._contents.get(inode, b"")
            for path, names in self._names.items()
            if path.is_relative_to(self._root)
            for name, inode in names.items()
        }

    def lax_platter(self, lots):
        """The same where the kernel had written more, here and there, before the cut."""
        kept = dict(self.platter())
        for path in sorted(self._root.glob("*/*")):
            if path.is_file() and lots.random() < 0.5:
                synced = self._contents.get(path.stat().st_ino, b"")
                whole = path.read_bytes()
                size = lots.randint(min(len(synced), len(whole)), len(whole))
                kept[path.relative_to(self._root)] = whole[:size]
        return kept


class Snapshots:
    """Every n-th sync: the platter, and what had been acknowledged by then."""

    def __init__(self, stride):
        self.stride = stride
        self.syncs = 0
        self.now_ms = NOW
        self.acknowledged = set()
        self.lots = random.Random(20261125)
        self.taken = []

    def __call__(self, disk):
        self.syncs += 1
        if self.syncs % self.stride == 0:
            lax = len(self.taken) % 2
            platter = disk.lax_platter(self.lots) if lax else disk.platter()
            self.taken.append((platter, set(self.acknowledged), self.now_ms))


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
    snapshots = Snapshots(STRIDE)
    run(tmp_path / "live", snapshots)
    assert len(snapshots.taken) > 30
    samples = 0
    for number, (platter, acknowledged, now_ms) in enumerate(snapshots.taken):
        directory = tmp_path / str(number)
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


def restore(directory: Path, platter):
    for name in DIRECTORIES:
        (directory / name).mkdir(parents=True)
    for path, content in platter.items():
        (directory / path).write_bytes(content)
