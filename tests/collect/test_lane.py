"""One agent's target on the real store: any order of delivery leaves what delivery in order would have left."""

import random

import pytest
from tests.collect.clocks import ManualClock
from tests.collect.conftest import TENANT, make_target
from tests.collect.reading import latest, samples

from meterhall.app.clock import SystemClock
from meterhall.collect.fetch import Failure, FailureKind
from meterhall.collect.lane import Lane, Reported, Sessions
from meterhall.collect.schedule import offset_ms, tick_after
from meterhall.ingest.allowance import Allowance
from meterhall.ingest.backfill import BackfillWriter
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.limits import ProjectLimits
from meterhall.model.target import MonitoringStatus, TargetReport
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore
from meterhall.wire.page import PageReader
from meterhall.wire.reading import BodyReading

ALLOWANCE = Allowance(ProjectLimits, SystemClock())

INTERVAL_MS = 60_000
TARGET = make_target(interval_ms=INTERVAL_MS)
HOUR_MS = 3_600_000


class Rig:
    """A lane that can be begun anew, as by a restart of the service, over one store."""

    def __init__(self, directory):
        self.clock = ManualClock()
        self.store = EmbeddedStore(directory, StoreSettings(), self.clock)
        self.catalog = MetadataCatalog()
        self.now_ms = self.clock.now_ms()
        # The first tick of the last six hours.
        self.first_ms = tick_after(
            self.now_ms - 6 * HOUR_MS, INTERVAL_MS, offset_ms(TARGET.target_id, INTERVAL_MS)
        )
        self.restart()

    def restart(self):
        self.lane = Lane(
            TARGET, Sessions(self.session(self.catalog, 1), self.session(MetadataCatalog(), None))
        )

    def session(self, catalog, appends):
        def begin(target):
            writer = BackfillWriter(self.store.writer(target.tenant), appends)
            return ScrapeSession(target, writer, catalog, ScrapeLimits(), ALLOWANCE)

        return begin

    def tick_ms(self, number):
        return self.first_ms + number * INTERVAL_MS

    def take(self, number, page=None, failure=None):
        outcome = failure or BodyReading(PageReader(100), (page or f"a {number}\n").encode(), "")
        taken = self.lane.take(Reported(self.tick_ms(number), 0.5, outcome))
        taken.committed.durable.result(10)
        self.lane.settle(taken)
        return taken

    def fill(self, numbers):
        for number in numbers:
            self.take(number)

    def end_filling(self):
        durable = self.lane.end_filling()
        if durable is not None:
            durable.result(10)

    def stop(self):
        report = TargetReport(TARGET.target_id, MonitoringStatus.STOPPED, -1, "silent", self.now_ms)
        durable = self.lane.stop(report)
        if durable is not None:
            durable.result(10)

    def points(self, name="a"):
        (points,) = samples(self.store, TENANT, name).values()
        return points

    def values(self, name="a"):
        return [point for point in self.points(name) if point[1] != "stale"]

    def seen(self, time_ms, name="a"):
        """What an instant query at that time would answer."""
        return list(latest(self.store, TENANT, name, time_ms).values())


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


def test_in_order_it_is_an_ordinary_target(rig):
    rig.fill(range(5))
    assert rig.points() == [(rig.tick_ms(n), float(n)) for n in range(5)]
    assert (rig.lane.state.health, rig.lane.state.last_scrape_ms) == ("up", rig.tick_ms(4))
    assert not rig.lane.is_filling
    assert rig.catalog.families(TENANT) == {}


def test_a_gap_is_filled_behind_the_live_scrapes(rig):
    """Live first, then five hours from the spool while live ones go on: far outside the late window."""
    rig.fill(range(10))
    live = iter(range(310, 360))
    for number in range(10, 310):
        if number % 30 == 10:
            rig.take(next(live))
        rig.take(number)
    rig.fill(live)
    assert rig.lane.is_filling
    rig.end_filling()
    assert rig.values() == [(rig.tick_ms(n), float(n)) for n in range(360)]
    assert [rig.seen(rig.tick_ms(n)) for n in range(360)] == [[float(n)] for n in range(360)]
    assert [value for _, value in rig.values("up")] == [1.0] * 360
    assert rig.lane.state.last_scrape_ms == rig.tick_ms(359)


def test_a_silent_agents_series_end_where_the_next_scrape_was_due(rig):
    rig.fill(range(3))
    rig.stop()
    due_ms = rig.tick_ms(3)
    assert rig.points()[-1] == (due_ms - 1, "stale")
    assert (rig.seen(due_ms - 2), rig.seen(due_ms)) == ([2.0], [])
    assert rig.points("up")[-1] == (due_ms - 1, "stale")
    assert rig.lane.stopped
    rig.stop()
    assert len(rig.points()) == 4


def test_what_comes_back_later_meets_no_marker(rig):
    """Stopped, then live again, then filled: every instant has the value that it had on the host."""
    rig.fill(range(3))
    rig.stop()
    rig.take(100)
    assert not rig.lane.stopped
    assert rig.seen(rig.tick_ms(99)) == []
    rig.fill(range(3, 100))
    rig.end_filling()
    assert rig.values() == [(rig.tick_ms(n), float(n)) for n in range(101)]
    assert [rig.seen(rig.tick_ms(n)) for n in range(101)] == [[float(n)] for n in range(101)]


def test_an_unfilled_hole_shows(rig):
    """The spool had lost scrapes 6 to 49: they show as a gap, not as old values."""
    rig.fill(range(3))
    rig.take(60)
    rig.fill([3, 4, 5])
    rig.end_filling()
    rig.fill(range(50, 60))
    assert rig.seen(rig.tick_ms(5)) == [5.0]
    assert rig.seen(rig.tick_ms(6)) == []
    assert rig.seen(rig.tick_ms(49)) == []
    assert rig.seen(rig.tick_ms(50)) == [50.0]


@pytest.mark.parametrize("seed", range(6))
def test_any_order_with_repetitions_and_restarts_stores_each_scrape_once(rig, seed):
    """Q7, and the service killed between batches: a ledger of what was sent is the store's content."""
    rolls = random.Random(seed)
    deliveries = [n for n in range(40) for _ in range(rolls.choice((1, 1, 2, 3)))]
    rolls.shuffle(deliveries)
    for number in deliveries:
        if rolls.random() < 0.1:
            rig.restart()
        if rolls.random() < 0.1:
            rig.end_filling()
        if not rig.lane.knows(rig.tick_ms(number)):
            rig.take(number)
    rig.end_filling()
    assert rig.values() == [(rig.tick_ms(n), float(n)) for n in range(40)]
    assert rig.values("up") == [(rig.tick_ms(n), 1.0) for n in range(40)]
    assert [rig.seen(rig.tick_ms(n)) for n in range(40)] == [[float(n)] for n in range(40)]


def test_failures_are_failures_in_a_gap_too(rig):
    rig.take(0)
    rig.take(10)
    refused = Failure(FailureKind.CONNECT, "connection refused")
    rig.take(1)
    rig.take(2, failure=refused)
    rig.take(3)
    assert rig.seen(rig.tick_ms(2)) == []
    assert rig.seen(rig.tick_ms(3)) == [3.0]
    assert [value for _, value in rig.values("up")] == [1, 1, 0, 1, 1]
    # The newest scrape decides what is shown, not the last to arrive.
    assert rig.lane.state.health == "up"


def test_only_the_newest_scrape_is_reported(rig):
    refused = Failure(FailureKind.HTTP, "404 Not Found", 404)
    newest = rig.take(5, failure=refused).report
    assert newest is not None
    assert (newest.status, newest.result_code) == (MonitoringStatus.HTTP_ERROR, 404)
    assert rig.take(4).report is None
    assert (rig.lane.state.health, rig.lane.state.last_error) == ("down", "404 Not Found")
    unreadable = rig.take(6, page="a x\n").report
    assert unreadable is not None
    assert (unreadable.status, unreadable.result_code) == (MonitoringStatus.UNREACHABLE, -3)
    assert unreadable.fail_reason == "line 1: value is not a number"


def test_what_the_target_declares_survives_the_end_of_a_back_fill(rig):
    page = "# TYPE a gauge\na 1\n"
    rig.take(5, page=page)
    rig.take(4, page=page)
    rig.end_filling()
    assert list(rig.catalog.families(TENANT)) == ["a"]


def test_a_removed_targets_series_end_now(rig):
    rig.take(0)
    durable = rig.lane.end(rig.now_ms)
    assert durable is not None
    durable.result(10)
    assert rig.points()[-1] == (rig.now_ms, "stale")
