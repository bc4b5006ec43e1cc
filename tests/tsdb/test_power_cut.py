"""A power cut at many moments: only what was synced survives, names only where their directory was synced."""

import threading
from pathlib import Path

import numpy as np
from tests.tsdb.stores import NOW, TENANT, StandingClock, dump, open_store, series

from meterhall.model.samples import Row
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import DIRECTORIES

SPAN = 500
WIDTH = 3
LABELS = [series("m", place=str(place)) for place in range(WIDTH)]


class PowerCutDisk(Disk):
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
            super().sync(handle)
            path = self._paths[handle]
            self._contents[path.stat().st_ino] = path.read_bytes()
            self._on_sync(self)

    def cut(self, path, size):
        with self._lock:
            super().cut(path, size)
            self._contents[path.stat().st_ino] = path.read_bytes()

    def sync_directory(self, path):
        with self._lock:
            super().sync_directory(path)
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


class Snapshots:
    """Every n-th sync: the platter, and what had been acknowledged by then."""

    def __init__(self, stride):
        self.stride = stride
        self.syncs = 0
        self.acknowledged = set()
        self.taken = []

    def __call__(self, disk):
        self.syncs += 1
        if self.syncs % self.stride == 0:
            self.taken.append((disk.platter(), set(self.acknowledged)))


def run(directory, snapshots):
    """Scrapes, some late, with flushes and merges between them; returns all that was sent."""
    disk = PowerCutDisk(directory, snapshots)
    store = open_busy(directory, disk)
    writer = store.writer(TENANT)
    sent = {}
    for step in range(400):
        time_ms = NOW + 20 * step - (300 if step % 9 == 5 else 0) - step % 9
        refs = writer.intern("c", LABELS)
        values = np.arange(WIDTH) + float(step)
        said = writer.append([Row(time_ms, refs, values)])
        assert not said.forgotten
        assert not said.rejections
        sent[time_ms] = step
        said.durable.result(10)
        snapshots.acknowledged.add(time_ms)
        if step % 20 == 19:
            store.maintain()
    store.close()
    return sent


def open_busy(directory, disk=None):
    return open_store(
        directory,
        StandingClock(NOW + 10**6),
        disk,
        block_span_ms=SPAN,
        merged_span_ms=4 * SPAN,
        log_segment_bytes=2000,
        log_checkpoint_bytes=1500,
        out_of_order_window_ms=1000,
    )


def test_what_was_acknowledged_survives(tmp_path):
    snapshots = Snapshots(stride=13)
    sent = run(tmp_path / "live", snapshots)
    assert len(snapshots.taken) > 30
    for number, (platter, acknowledged) in enumerate(snapshots.taken):
        directory = tmp_path / str(number)
        restore(directory, platter)
        store = open_busy(directory)
        found = dump(store)
        store.close()
        for place, labels in enumerate(LABELS):
            samples = {
                time: float(np.uint64(bits).view("f8"))
                for time, bits in found.get(labels, {}).items()
            }
            assert acknowledged <= set(samples), number
            assert all(value - place == sent[time] for time, value in samples.items())


def restore(directory: Path, platter):
    for name in DIRECTORIES:
        (directory / name).mkdir(parents=True)
    for path, content in platter.items():
        (directory / path).write_bytes(content)
