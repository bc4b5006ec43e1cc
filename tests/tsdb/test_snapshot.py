"""Snapshots: what was there at that moment and nothing else, whatever the store does afterwards."""

import errno
import shutil
import threading

import pytest
from tests.tsdb.stores import TENANT, append, dump, series
from tests.tsdb.test_deletion import BASE, DAY, FOREVER, OTHER, equal, fill, opened

from meterhall.model.errors import StoreUnavailable
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import block_paths
from meterhall.tsdb.verify import verify


def restored(directory, name, target):
    """As the page for operators says: a copy in the place of the store's directory."""
    shutil.copytree(directory / "snapshots" / name, target)
    return opened(target)


def test_a_snapshot_answers_as_the_store_did(tmp_path):
    live = tmp_path / "live"
    store = opened(live)
    fill(store)
    fill(store, OTHER)
    store.maintain()
    store.delete(TENANT, [equal("i", "1")], BASE, BASE + 2 * DAY)
    expected = dump(store), dump(store, OTHER)
    name = store.snapshot()
    without_head = store.snapshot(skip_head=True)
    # Whatever comes: more samples, deletions, merges, and the end of what was linked.
    fill(store, first=BASE + 3 * DAY, last=BASE + 6 * DAY)
    store.delete(OTHER, [], *FOREVER)
    for _ in range(10):
        store.maintain()
    store.flush(BASE + 9 * DAY)
    store.close()
    assert verify(live / "snapshots" / name).faults == ()
    back = restored(live, name, tmp_path / "back")
    assert (dump(back), dump(back, OTHER)) == expected
    append(back.writer(TENANT), series("new"), (BASE + 3 * DAY, 1.0))
    back.maintain()
    back.close()
    back = restored(live, without_head, tmp_path / "older")
    for tenant, all_of_it in zip((TENANT, OTHER), expected, strict=True):
        for labels, samples in dump(back, tenant).items():
            assert samples.items() <= all_of_it[labels].items()
    back.close()


def test_a_snapshot_takes_no_space_of_its_own(tmp_path):
    store = opened(tmp_path)
    fill(store)
    store.maintain()
    name = store.snapshot()
    for _, path in block_paths(tmp_path / "snapshots" / name):
        assert path.samefile(tmp_path / "blocks" / path.name)
    store.close()


def test_beside_appends_and_a_busy_upkeep_a_snapshot_is_whole(tmp_path):
    store = opened(tmp_path / "live", maintain_interval_s=0.001)
    stop = threading.Event()

    def feed():
        step = 0
        while not stop.is_set():
            fill(store, first=BASE + step * 1000, last=BASE + (step + 1) * 1000)
            step += 1
            stop.wait(0.01)

    thread = threading.Thread(target=feed)
    thread.start()
    names = []
    try:
        for _ in range(6):
            before = dump(store)
            names.append((store.snapshot(), before, dump(store)))
    finally:
        stop.set()
        thread.join()
    store.close()
    for name, before, after in names:
        back = restored(tmp_path / "live", name, tmp_path / name)
        found = dump(back)
        back.close()
        for labels, samples in before.items():
            assert samples.items() <= found[labels].items()
        for labels, samples in found.items():
            assert samples.items() <= after[labels].items()


class NoLinks(Disk):
    """Full for links, from the third on, while `full`."""

    full = True
    links = 0

    def link(self, source, target):
        self.links += 1
        if self.full and self.links > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().link(source, target)


def test_a_snapshot_that_fails_leaves_nothing(tmp_path):
    disk = NoLinks()
    store = opened(tmp_path, disk)
    fill(store)
    store.maintain()
    with pytest.raises(StoreUnavailable, match="No space"):
        store.snapshot()
    assert list((tmp_path / "snapshots").iterdir()) == []
    disk.full = False
    assert store.snapshot()
    store.close()


def test_what_a_crash_left_of_one_is_removed_at_the_next_start(tmp_path):
    store = opened(tmp_path)
    fill(store)
    name = store.snapshot()
    store.close()
    whole = tmp_path / "snapshots" / name
    shutil.copytree(whole, whole.with_name("x.partial"))
    opened(tmp_path).close()
    assert list((tmp_path / "snapshots").iterdir()) == [whole]
