"""Deleting samples: out of every answer at once and for ever, nothing else gone, what comes later stays."""

import random
import threading

import numpy as np
import pytest
from tests.tsdb.power_cut import PowerCutDisk, Snapshots, restore
from tests.tsdb.stores import NAME, NOW, TENANT, StandingClock, append, dump, open_store, series
from tests.tsdb.test_upkeep import FullDisk

from meterhall.model.errors import StoreUnavailable
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb.filenames import block_paths
from meterhall.tsdb.verify import verify

SPAN = 1000
DAY = 4 * SPAN
BASE = NOW // DAY * DAY
OTHER = Tenant("kr", "p2")
FOREVER = (-(2**63), 2**63 - 1)


def equal(name, value):
    return Matcher(MatchOp.EQUAL, name, value)


def opened(directory, disk=None, **changes):
    changes = {
        "block_span_ms": SPAN,
        "merged_span_ms": DAY,
        "log_segment_bytes": 3000,
        "out_of_order_window_ms": 3 * DAY,
    } | changes
    return open_store(directory, StandingClock(BASE + 100 * DAY), disk, **changes)


def fill(store, tenant=TENANT, first=BASE, last=BASE + 3 * DAY, width=3):
    labels = [series("m", i=str(place)) for place in range(width)]
    writer = store.writer(tenant)
    for time_ms in range(first, last, 100):
        forgotten = True
        # A flush may drop what is interned and has no sample yet.
        while forgotten:
            refs = writer.intern("c", labels)
            said = writer.append([Row(time_ms, refs, np.arange(float(width)) + time_ms % 977)])
            forgotten = bool(said.forgotten)
    said.durable.result(10)


def without(found, matchers, start_ms, end_ms):
    """The oracle: `dump` less what a deletion means."""
    left = {}
    for labels, samples in found.items():
        values = dict(labels)
        meant = all(each.matches(values.get(each.name, "")) for each in matchers)
        kept = {
            time: bits
            for time, bits in samples.items()
            if not (meant and start_ms <= time <= end_ms)
        }
        if kept:
            left[labels] = kept
    return left


RANGES = [
    pytest.param(FOREVER, id="all time"),
    pytest.param((BASE + 250, BASE + DAY + 250), id="blocks alone"),
    pytest.param((BASE + 3 * DAY - 500, FOREVER[1]), id="the head alone"),
    pytest.param((BASE + DAY + 1, BASE + 3 * DAY - 300), id="head and blocks"),
    pytest.param((BASE + DAY, BASE + DAY), id="one instant"),
    pytest.param((BASE - 10, BASE - 1), id="nothing"),
]


@pytest.mark.parametrize("span", RANGES)
@pytest.mark.parametrize("matchers", [[equal("i", "1")], [equal("__name__", "m")]])
def test_what_is_deleted_is_gone_and_nothing_else(tmp_path, span, matchers):
    store = opened(tmp_path)
    for tenant in (TENANT, OTHER):
        fill(store, tenant, last=BASE + 2 * DAY)
    store.maintain()
    for tenant in (TENANT, OTHER):
        fill(store, tenant, first=BASE + 2 * DAY)
    other = dump(store, OTHER)
    expected = without(dump(store), matchers, *span)
    # What a selector finds is remembered; a deletion counts all the same.
    assert store.reader(TENANT).label_values("i", [[NAME], matchers], *FOREVER) == ["0", "1", "2"]
    store.delete(TENANT, matchers, *span)

    def check():
        assert dump(store) == expected
        assert dump(store, OTHER) == other
        reader = store.reader(TENANT)
        assert reader.series([[NAME]], *FOREVER) == sorted(expected)
        values = sorted({dict(labels)["i"] for labels in expected})
        assert reader.label_values("i", [], *FOREVER) == values
        assert reader.label_values("i", [[NAME]], *FOREVER) == values
        assert reader.label_values("i", [[NAME], matchers], *FOREVER) == values
        assert reader.label_names([], *FOREVER) == (["__name__", "i"] if values else [])

    check()
    store.close()
    store = opened(tmp_path)
    check()
    store.clean(TENANT)
    check()
    store.maintain()
    check()
    store.close()
    store = opened(tmp_path)
    check()
    store.close()


def test_what_is_appended_after_a_deletion_stays_whatever_its_time(tmp_path):
    store = opened(tmp_path)
    fill(store)
    store.maintain()
    store.delete(TENANT, [equal("i", "1")], *FOREVER)
    mine = series("m", i="1")
    again = [(BASE + 100, 5.0), (BASE + 3 * DAY - 100, 6.0), (BASE + DAY, 7.0)]
    said = append(store.writer(TENANT), mine, *again)
    assert not said.rejections
    expected = {time for time, _ in again}
    for _ in range(2):
        assert set(dump(store)[mine]) == expected
        store.flush(BASE + 4 * DAY)
        assert set(dump(store)[mine]) == expected
        store.clean(TENANT)
        assert set(dump(store)[mine]) == expected
        store.close()
        store = opened(tmp_path)
    store.close()


def test_the_newest_samples_from_memory_alone_are_not_deleted_ones(tmp_path):
    store = opened(tmp_path)
    fill(store)
    store.maintain()
    store.delete(TENANT, [equal("i", "1")], BASE + 3 * DAY - 300, FOREVER[1])
    found = store.reader(TENANT).newest([equal("i", "1")], BASE + 3 * DAY - 300, 2**62, 10)
    assert not found
    store.delete(TENANT, [equal("i", "1")], *FOREVER)
    store.flush(BASE + 4 * DAY)
    fill(store, first=BASE + 4 * DAY, last=BASE + 4 * DAY + 200, width=1)
    assert not store.reader(TENANT).newest([equal("i", "1")], *FOREVER, 10)
    store.close()


def test_space_is_given_back_and_the_tombstone_forgotten(tmp_path):
    store = opened(tmp_path)
    fill(store, width=50)
    fill(store, OTHER)
    store.flush(BASE + 3 * DAY)
    before = sum(path.stat().st_size for _, path in block_paths(tmp_path))
    other = dump(store, OTHER)
    store.delete(TENANT, [], *FOREVER)
    assert dump(store) == {}
    assert store.active_series(TENANT) == 0
    for _ in range(20):
        store.maintain()
    after = sum(path.stat().st_size for _, path in block_paths(tmp_path))
    assert after < before / 3
    store.flush(BASE + 5 * DAY)
    store.maintain()
    assert list(store._tombstones.pending) == []
    assert dump(store, OTHER) == other
    assert b"p1" not in b"".join(path.read_bytes() for _, path in block_paths(tmp_path))
    store.close()


@pytest.mark.parametrize("word", ["TOMBSTONES", ".wal"])
def test_a_full_disk_refuses_and_nothing_is_gone(tmp_path, word):
    disk = FullDisk(word)
    store = opened(tmp_path, disk, log_retry_s=0.01)
    fill(store)
    expected = dump(store)
    disk.full = True
    if word == ".wal":
        # A log that has nothing to write would not notice.
        append(store.writer(TENANT), series("m", i="0"), (BASE + 3 * DAY, 1.0), wait=False)
    with pytest.raises(StoreUnavailable):
        store.delete(TENANT, [NAME], *FOREVER)
    assert all(
        expected[labels].items() <= samples.items() for labels, samples in dump(store).items()
    )
    disk.full = False
    store.delete(TENANT, [NAME], *FOREVER)
    assert dump(store) == {}
    store.close()


def operations(random_, step):
    """(what, arguments): appends now and late, deletions, upkeep, restarts."""
    what = random_.choices(
        ["append", "late", "delete", "maintain", "flush", "clean", "reopen"],
        [60, 10, 8, 8, 3, 3, 4],
    )[0]
    span = sorted(BASE + random_.randrange(-100, 100 * step + 200) for _ in range(2))
    matchers = random_.choice([[equal("i", str(random_.randrange(4)))], [NAME]])
    return what, span, matchers


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_deletions_appends_and_upkeep(tmp_path, seed):
    random_ = random.Random(seed)
    store = opened(tmp_path)
    held = {}
    labels = [series("m", i=str(place)) for place in range(4)]
    for step in range(250):
        what, span, matchers = operations(random_, step)
        if what in ("append", "late"):
            time_ms = BASE + 100 * step - (random_.randrange(99) + 1 if what == "late" else 0)
            time_ms -= 100 * random_.randrange(step + 1) if what == "late" else 0
            some = random_.sample(labels, random_.randrange(1, 5))
            refs = store.writer(TENANT).intern("c", some)
            values = np.full(len(some), float(step))
            said = store.writer(TENANT).append([Row(time_ms, refs, values)])
            said.durable.result(10)
            refused = {each.ref for each in said.rejections}
            for each, ref in zip(some, refs.tolist(), strict=True):
                if ref not in refused:
                    held.setdefault(each, {})[time_ms] = int(values[0].view(np.uint64))
        elif what == "delete":
            store.delete(TENANT, matchers, *span)
            held = without(held, matchers, *span)
        elif what == "flush":
            store.flush(BASE + 100 * step)
        elif what == "reopen":
            store.close()
            store = opened(tmp_path)
        else:
            store.maintain() if what == "maintain" else store.clean(TENANT)
        if step % 5 == 0 or what != "append":
            assert dump(store) == held, (step, what)
    store.close()
    assert verify(tmp_path).faults == ()


def test_a_power_cut_leaves_a_deletion_done_or_not_begun(tmp_path):
    snapshots = Snapshots(stride=4)
    disk = PowerCutDisk(tmp_path / "live", snapshots)
    store = opened(tmp_path / "live", disk)
    states = []
    labels = [series("m", i=str(place)) for place in range(3)]
    for step in range(90):
        writer = store.writer(TENANT)
        refs = writer.intern("c", labels)
        said = writer.append([Row(BASE + 100 * step, refs, np.arange(3.0) + step)])
        said.durable.result(10)
        snapshots.acknowledged.add(("sample", step))
        if step % 10 == 9:
            store.delete(TENANT, [equal("i", str(step // 10 % 3))], BASE, BASE + 100 * step - 500)
            snapshots.acknowledged.add(("deletion", step))
            store.maintain()
            states.append(dump(store))
    store.close()
    assert len(snapshots.taken) > 30
    for number, (platter, acknowledged, _) in enumerate(snapshots.taken):
        directory = tmp_path / str(number)
        restore(directory, platter)
        store = opened(directory)
        found = dump(store)
        store.close()
        check_cut(found, labels, acknowledged)


def check_cut(found, labels, acknowledged):
    """Every acknowledged deletion holds; of one more all or nothing is gone; no other sample is missing."""
    samples = max((step for what, step in acknowledged if what == "sample"), default=-1)
    done = {step for what, step in acknowledged if what == "deletion"}
    begun = done | {samples} if samples % 10 == 9 else done
    allowed = []
    for deletions in (done, begun):
        expected = {}
        for place, each in enumerate(labels):
            gone = max((step for step in deletions if step // 10 % 3 == place), default=None)
            last = -1 if gone is None else gone - 5
            kept = {BASE + 100 * step for step in range(last + 1, samples + 1)}
            expected[each] = kept
        allowed.append(expected)
    times = {each: set(found.get(each, {})) for each in labels}
    # The sample after the last acknowledged one may be there too.
    following = BASE + 100 * (samples + 1)
    assert {each: held - {following} for each, held in times.items()} in allowed


def test_a_deletion_beside_a_busy_upkeep_and_appends(tmp_path):
    store = opened(tmp_path, maintain_interval_s=0.001)
    stop = threading.Event()

    def others():
        step = 0
        while not stop.is_set():
            fill(store, OTHER, BASE + step * 300, BASE + (step + 1) * 300)
            step += 1

    thread = threading.Thread(target=others)
    thread.start()
    try:
        for round_ in range(15):
            begin = BASE + round_ * SPAN
            fill(store, first=begin, last=begin + SPAN)
            store.delete(TENANT, [equal("i", "1")], begin, begin + SPAN)
            found = dump(store)
            assert series("m", i="1") not in found
            assert len(found[series("m", i="0")]) == (round_ + 1) * SPAN // 100
    finally:
        stop.set()
        thread.join()
    store.close()


def test_what_is_appended_after_a_deletion_beside_a_checkpoint_stays(tmp_path):
    """The checkpoint's number was free when the process died: the next one's log must not begin with it."""
    store = opened(tmp_path)
    append(store.writer(TENANT), series("m"), (BASE, 1.0))
    store._wal.reserve()
    store.delete(TENANT, [Matcher(MatchOp.EQUAL, "__name__", "m")], *FOREVER)
    store.close()
    for step in (1, 2):
        store = opened(tmp_path)
        append(store.writer(TENANT), series("m"), (BASE + step, 1.0))
        store.close()
    store = opened(tmp_path)
    assert list(dump(store)[series("m")]) == [BASE + 1, BASE + 2]
    store.close()


def test_what_is_appended_after_a_deletion_beside_a_merge_stays(tmp_path):
    """The merge's number was used up and never published when the process died: the next block must not have it."""
    store = opened(tmp_path)
    append(store.writer(TENANT), series("m"), (BASE, 1.0))
    store.flush(BASE + SPAN)
    store._blocks.new_path()
    store.delete(TENANT, [Matcher(MatchOp.EQUAL, "__name__", "m")], *FOREVER)
    store.close()
    store = opened(tmp_path)
    append(store.writer(TENANT), series("m"), (BASE, 1.0))
    store.flush(BASE + SPAN)
    assert list(dump(store)[series("m")]) == [BASE]
    store.close()


def test_what_is_deleted_after_a_checkpoint_stays_away(tmp_path):
    """A start takes the checkpoint's rows as they lie, and must look into them for what a deletion means."""
    store = opened(tmp_path)
    fill(store, last=BASE + SPAN)
    store.flush(0)
    expected = without(dump(store), [equal("i", "1")], BASE + 200, BASE + 700)
    store.delete(TENANT, [equal("i", "1")], BASE + 200, BASE + 700)
    assert dump(store) == expected
    store.close()
    store = opened(tmp_path)
    assert dump(store) == expected
    store.close()
