"""A disk that refuses its n-th call, for every n: writers are told to come again, readers go on, nothing is lost.

The fault ends, and service is back without a restart. After a restart everything acknowledged is there, and `verify` is
content. With METERHALL_TORTURE=1 every n, otherwise every few.
"""

import errno
import os
import threading

import pytest
from tests.tsdb.stores import NOW, TENANT, StandingClock, dump, open_store, series

from meterhall.model.errors import StoreUnavailable
from meterhall.model.samples import rows_of
from meterhall.tsdb import verify
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.disk import Disk

SPAN = 200
STEPS = 16
WIDTH = 2
STRIDE = 1 if os.environ.get("METERHALL_TORTURE") else 23


class RefusingDisk(Disk):
    """Counts what changes the disk. Refuses call `first` and the `count - 1` that follow, until it is healed."""

    def __init__(self, first=None, count=1, code=errno.EIO):
        self.calls = 0
        self.refused = 0
        self.calls_when_healed = 0
        self._first, self._count, self._code = first, count, code
        self._lock = threading.Lock()

    def heal(self):
        self.calls_when_healed = self.calls
        self._first = None

    def _call(self, word):
        with self._lock:
            self.calls += 1
            first = self._first
            if first is not None and first <= self.calls < first + self._count:
                self.refused += 1
                raise OSError(self._code, f"{word} refused")

    def create(self, path):
        self._call("create")
        return super().create(path)

    def write(self, handle, pieces):
        try:
            self._call("write")
        except OSError:
            # A full disk takes a part.
            whole = b"".join(pieces)
            super().write(handle, [whole[: len(whole) // 2]])
            raise
        return super().write(handle, pieces)

    def sync(self, handle):
        self._call("sync")

    def truncate(self, handle, size):
        self._call("truncate")
        super().truncate(handle, size)

    def cut(self, path, size):
        self._call("cut")
        super().cut(path, size)

    def rename(self, source, target):
        self._call("rename")
        super().rename(source, target)

    def unlink(self, path):
        if path.exists():
            self._call("unlink")
        super().unlink(path)

    def sync_directory(self, path):
        self._call("sync of a directory")


def opened(directory, disk):
    return open_store(
        directory,
        StandingClock(NOW + 10**6),
        disk,
        block_span_ms=SPAN,
        merged_span_ms=2 * SPAN,
        log_segment_bytes=700,
        log_retry_s=0.001,
        late_bytes_max=600,
    )


class Sender:
    """Sends until it is told that the samples are there, as senders do; keeps the ledger."""

    def __init__(self, disk):
        self.disk = disk
        self.ledger = {}

    def send(self, store, places, time_ms, value):
        labels = [series("m", place=str(place)) for place in places]
        pause = threading.Event()
        for turn in range(2000):
            try:
                self.append(store, labels, time_ms, value)
            except StoreUnavailable:
                if turn == 3:
                    self.compare(store)
                    # Space is back, or the cable.
                    self.disk.heal()
                pause.wait(0.002)
                continue
            for each in labels:
                self.ledger.setdefault(each, {})[time_ms] = value
            return
        raise AssertionError("the store did not recover")

    def append(self, store, labels, time_ms, value):
        writer = store.writer(TENANT)
        row = rows_of(time_ms, writer.intern("c", labels), [value] * len(labels))
        said = writer.append([row], any_age=True)
        assert (said.accepted, said.forgotten) == (len(labels), [])
        said.durable.result(10)

    def compare(self, store):
        found = dump(store)
        for labels, samples in self.ledger.items():
            assert set(samples) <= set(found.get(labels, {})), labels


def turn(store):
    """Upkeep, as its thread does it: what the disk refuses is tried again at the next turn."""
    try:
        store.maintain()
    except (OSError, StoreUnavailable, DamagedError):
        return False
    return True


def story(directory, disk):
    """Scrapes and late samples with flush, merge and a restart between; what was acknowledged."""
    sender = Sender(disk)
    store = None
    for part in range(2):
        store = start(directory, disk)
        for step in range(STEPS):
            time_ms = NOW + 50 * (STEPS * part + step)
            sender.send(store, range(WIDTH), time_ms, float(step))
            if step % 4 == 3:
                sender.send(store, [0], time_ms - 377, float(step))
            if step % 5 == 4:
                turn(store)
        sender.compare(store)
        store.close()
    disk.heal()
    store = opened(directory, disk)
    assert turn(store)
    sender.compare(store)
    store.close()
    return sender.ledger


def start(directory, disk):
    """Opens; a disk that cannot even make the directories is healed."""
    try:
        return opened(directory, disk)
    except OSError:
        assert not (directory / "MANIFEST").exists(), "a store that was there must open"
        disk.heal()
        return opened(directory, disk)


def as_floats(store):
    return {
        labels: {
            time: memoryview(int(bits).to_bytes(8, "little")).cast("d")[0]
            for time, bits in held.items()
        }
        for labels, held in dump(store).items()
    }


@pytest.mark.parametrize(
    ("code", "count"),
    [(errno.EIO, 1), (errno.ENOSPC, 10**9), (errno.EACCES, 4)],
    ids=["EIO once", "full until there is space", "permission lost for a while"],
)
def test_every_call_may_be_refused(tmp_path, code, count):
    undisturbed = RefusingDisk()
    expected = story(tmp_path / "sound", undisturbed)
    for first in range(1 + count % STRIDE, undisturbed.calls_when_healed + 1, STRIDE):
        directory = tmp_path / str(first)
        disk = RefusingDisk(first, count, code)
        ledger = story(directory, disk)
        assert disk.refused, first
        assert ledger == expected, first
        assert verify.verify(directory).faults == (), first
        store = opened(directory, Disk())
        assert as_floats(store) == expected, first
        store.close()
