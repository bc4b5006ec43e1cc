"""Rules of their own: never less than promised, no half-deleted answers, and the space given back (Q9)."""

import random

import numpy as np
import pytest
from tests.tsdb.power_cut import PowerCutDisk, Snapshots, restore
from tests.tsdb.stores import NOW, TENANT, StandingClock, append, dump, open_store, series

from meterhall.model.retention import ProjectRetention, Retention
from meterhall.model.samples import OUT_OF_BOUNDS, Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb.filenames import block_paths

SPAN = 1000
DAY = 4 * SPAN
STEP = 200
BASE = NOW // DAY * DAY
OTHER = Tenant("kr", "p2")
JOBS = ("web", "db")


class Kept:
    """A store that is fed and asked as time goes on, with rules that a test may change."""

    def __init__(self, directory, disk=None, **changes):
        self.directory = directory
        self.clock = StandingClock(BASE)
        self.rules = {}
        self.gone = []
        self.changes = {
            "block_span_ms": SPAN,
            "merged_span_ms": DAY,
            "retention_ms": 1000 * DAY,
            "log_segment_bytes": 4000,
        } | changes
        self.open(disk)

    def open(self, disk=None):
        self.store = open_store(self.directory, self.clock, disk, **self.changes)
        self.store.retain(self)

    def retentions(self):
        return self.rules

    def departed(self):
        return self.gone

    def rule(self, own=(0, 0), tenant=TENANT, **jobs):
        by_job = {job: Retention(*rule) for job, rule in jobs.items()}
        self.rules = {
            **self.rules,
            (tenant.region, tenant.project): ProjectRetention(Retention(*own), by_job),
        }

    def feed(self, days, tenants=(TENANT, OTHER), width=1):
        labels = [series("m", job=job, i=str(i)) for job in JOBS for i in range(width)]
        labels.append(series("m", i="x"))
        end = self.clock.time_ms + int(days * DAY)
        while self.clock.time_ms < end:
            for tenant in tenants:
                writer = self.store.writer(tenant)
                refs = writer.intern("c", labels)
                said = writer.append(
                    [Row(self.clock.time_ms, refs, np.random.default_rng(7).random(len(refs)))]
                )
                assert not said.rejections
            self.clock.time_ms += STEP
            if self.clock.time_ms % SPAN == 0:
                self.store.maintain()
        said.durable.result(10)

    def first(self, tenant=TENANT, job="web"):
        """Where the samples of a workspace begin; fails where there is a hole in them."""
        found = {
            dict(labels).get("job", ""): samples
            for labels, samples in dump(self.store, tenant).items()
        }
        times = sorted(found.get(job, {}))
        assert times == list(range(times[0], self.clock.time_ms, STEP)) if times else True
        return (times or [self.clock.time_ms])[0]

    def settle(self):
        for _ in range(30):
            self.store.maintain()

    def bytes(self):
        return sum(path.stat().st_size for _, path in block_paths(self.directory))


def test_a_project_that_keeps_less_and_one_that_keeps_more_than_the_store(tmp_path):
    it = Kept(tmp_path, retention_ms=5 * DAY)
    it.rule((2 * DAY, 0))
    it.rule((9 * DAY, 0), OTHER)
    third = Tenant("kr", "p3")
    it.feed(12, (TENANT, OTHER, third))
    now = it.clock.time_ms
    for tenant, days in ((TENANT, 2), (OTHER, 9), (third, 5)):
        assert now - (days + 1) * DAY <= it.first(tenant) <= now - days * DAY, tenant
    it.store.close()
    it.open()
    assert it.first(OTHER) <= now - 9 * DAY
    it.store.close()


@pytest.mark.parametrize("past", [0, 1, STEP, DAY - 1])
def test_a_sample_is_seen_until_its_time_is_over(tmp_path, past):
    it = Kept(tmp_path)
    it.rule((2 * DAY, 0))
    it.feed(4)
    it.clock.time_ms += past
    it.settle()
    oldest = min(min(samples) for samples in dump(it.store).values())
    assert oldest <= it.clock.time_ms - 2 * DAY
    assert oldest == (it.clock.time_ms - 2 * DAY) // DAY * DAY
    it.store.close()


def test_a_workspace_keeps_less_and_another_more_than_its_project(tmp_path):
    it = Kept(tmp_path)
    it.rule((4 * DAY, 0), web=(DAY, 0), db=(8 * DAY, 0))
    it.feed(10)
    now = it.clock.time_ms
    assert [it.first(job=job) for job in ("web", "db", "")] == [
        now - DAY,
        now - 8 * DAY,
        now - 4 * DAY,
    ]
    assert it.first(OTHER) == BASE
    it.settle()
    assert [it.first(job=job) for job in ("web", "db", "")] == [
        now - DAY,
        now - 8 * DAY,
        now - 4 * DAY,
    ]
    it.store.close()


def test_shortened_and_lengthened_again_nothing_comes_back_in_pieces(tmp_path):
    it = Kept(tmp_path)
    it.feed(8)
    it.rule((2 * DAY, 0))
    it.store.maintain()
    cut = it.clock.time_ms - 2 * DAY
    assert it.first() == cut
    it.rule((100 * DAY, 0))
    for _ in range(3):
        it.store.maintain()
        assert it.first() == cut
    it.rules = {}
    it.feed(1)
    assert it.first() == cut
    it.store.close()
    it.open()
    assert it.first() == cut
    it.store.close()


@pytest.mark.parametrize("seed", range(4))
def test_any_rules_in_any_order_leave_whole_ends(tmp_path, seed):
    """`first` fails on a hole; here the promise: what no rule has ended so far is there."""
    random_ = random.Random(seed)
    it = Kept(tmp_path, retention_ms=6 * DAY)
    ended = {"web": BASE, "": BASE}
    shown = dict(ended)
    for step in range(14):
        own = random_.choice([0, 1, 2, 3, 5, 9]) * DAY
        job = random_.choice([0, 0, 1, 4, 9]) * DAY
        if random_.random() < 0.2:
            it.rules, own, job = {}, 0, 0
        else:
            it.rule((own, 0), web=(job, 0))
        it.feed(random_.choice([0.25, 0.5, 1, 2]), (TENANT, OTHER))
        it.store.maintain()
        if step % 5 == 4:
            it.store.close()
            it.open()
        now = it.clock.time_ms
        of_job = job or own or 6 * DAY
        ended["web"] = max(ended["web"], now - of_job)
        ended[""] = max(ended[""], now - (own or 6 * DAY))
        for name, over in ended.items():
            first = it.first(job=name)
            assert first <= max(over, BASE), (step, name)
            assert first >= shown[name], (step, name)
            shown[name] = first
        assert it.first(OTHER) <= max(BASE, now - 6 * DAY)
    it.store.close()


def test_by_size_the_oldest_go_and_the_newest_stay(tmp_path):
    it = Kept(tmp_path)
    it.feed(8, width=20)
    it.store.flush(it.clock.time_ms)
    it.settle()
    whole = sum(
        it.store._upkeep.retainer._bytes_of(block, it.store._head(TENANT).tenant, "")
        for block in it.store._blocks.blocks
    )
    assert abs(whole - it.bytes() / 2) < it.bytes() / 10
    it.rule((0, whole // 2))
    it.settle()
    first = it.first(job="")
    assert BASE + 3 * DAY <= first <= BASE + 5 * DAY
    assert it.first(OTHER, "") == BASE
    it.rule((0, 0), web=(0, whole // 10))
    it.settle()
    assert it.first(job="") == first
    web = {dict(labels).get("job"): min(samples) for labels, samples in dump(it.store).items()}
    assert web["web"] > first
    assert web["db"] == first
    it.store.close()


def test_the_whole_store_by_size(tmp_path):
    it = Kept(tmp_path)
    it.feed(8, width=20)
    it.store.flush(it.clock.time_ms)
    size = it.bytes()
    it.store.close()
    it.changes["retention_bytes"] = size // 2
    it.open()
    it.settle()
    assert it.bytes() <= size // 2
    assert it.first(job="") == it.first(OTHER, "") > BASE
    it.store.close()


def test_space_is_given_back_whole_files_first(tmp_path):
    it = Kept(tmp_path)
    it.feed(8, width=20)
    it.settle()
    before, files = it.bytes(), len(block_paths(tmp_path))
    it.rule((DAY, 0))
    it.settle()
    assert before * 0.5 < it.bytes() < before * 0.7
    assert len(block_paths(tmp_path)) == files
    it.rule((DAY, 0), OTHER)
    it.settle()
    assert it.bytes() < before / 3
    assert len(block_paths(tmp_path)) < files
    it.store.close()


def test_what_is_past_the_own_retention_is_not_taken(tmp_path):
    it = Kept(tmp_path, retention_ms=5 * DAY)
    it.rule((DAY, 0))
    it.rule((9 * DAY, 0), OTHER)
    it.clock.time_ms += 20 * DAY
    for tenant in (TENANT, OTHER):
        append(it.store.writer(tenant), series("m"), (it.clock.time_ms, 1.0))
    it.store.maintain()
    old = series("old")
    (refused,) = append(it.store.writer(TENANT), old, (it.clock.time_ms - 2 * DAY, 1.0)).rejections
    assert refused.reason == OUT_OF_BOUNDS
    said = append(it.store.writer(OTHER), old, (it.clock.time_ms - 8 * DAY, 1.0))
    assert not said.rejections
    it.store.close()


def test_nothing_goes_before_the_rules_are_known(tmp_path):
    it = Kept(tmp_path, retention_ms=3 * DAY)
    it.rule((50 * DAY, 0))
    it.feed(5)
    it.store.close()
    it.clock.time_ms += 20 * DAY
    it.store = open_store(tmp_path, it.clock, awaits_rules=True, **it.changes)
    it.store.maintain()
    assert min(map(min, dump(it.store).values())) == BASE
    it.store.retain(it)
    it.store.maintain()
    assert min(map(min, dump(it.store).values())) == BASE
    assert min(map(min, dump(it.store, OTHER).values())) >= BASE + 4 * DAY
    it.store.close()


def test_a_power_cut_leaves_no_hole(tmp_path):
    snapshots = Snapshots(stride=7)
    it = Kept(tmp_path / "live", PowerCutDisk(tmp_path / "live", snapshots))
    promised = []
    for days in (0, 3, 1, 6, 2, 9, 1):
        it.rule((days * DAY, 0), web=(max(0, days - 1) * DAY, 0))
        it.feed(1.5)
        promised.append((snapshots.syncs, it.clock.time_ms))
    it.store.close()
    for number, (platter, _, _) in enumerate(snapshots.taken):
        after = Kept.__new__(Kept)
        after.directory, after.clock = tmp_path / str(number), StandingClock(it.clock.time_ms)
        after.rules, after.gone, after.changes = {}, [], it.changes
        restore(after.directory, platter)
        after.open()
        for samples in dump(after.store).values():
            times = sorted(samples)
            assert times == list(range(times[0], times[-1] + 1, STEP)), number
        after.store.close()


def test_a_deleted_project_gives_its_space_back_and_is_not_seen_again(tmp_path):
    it = Kept(tmp_path)
    it.feed(5, width=10)
    before = it.bytes()
    it.gone = [("kr", "p1"), ("jp", "p1")]
    it.settle()
    assert dump(it.store) == {}
    assert it.store.active_series(TENANT) == 0
    assert it.bytes() < before * 0.7
    assert it.first(OTHER) == BASE
    it.store.close()
    it.open()
    it.settle()
    assert dump(it.store) == {}
    assert it.first(OTHER) == BASE
    it.store.close()
