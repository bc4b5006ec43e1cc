"""The fleet on a real control plane and a real store, under a clock that the test moves."""

import asyncio
from dataclasses import replace

import pytest
from tests.collect.clocks import ManualClock
from tests.collect.exporters import until
from tests.collect.reading import samples

from meterhall.app.clock import SystemClock
from meterhall.collect.fleet import Fleet, FleetSettings
from meterhall.collect.lane import Reported, Sessions
from meterhall.control.agents import Enrolment
from meterhall.control.database import sqlite_url
from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.control.targets import TargetDraft
from meterhall.ingest.allowance import Allowance
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.errors import Overloaded
from meterhall.model.limits import ProjectLimits
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore
from meterhall.wire.page import PageReader
from meterhall.wire.reading import BodyReading

ALLOWANCE = Allowance(ProjectLimits, SystemClock())

SWEEP_S = 5.0
SETTINGS = FleetSettings(sweep_s=SWEEP_S, filling_idle_s=20.0)
WEB = Enrolment(
    "6f9619ff-8b86-4d11-b42d-00c04fc964ff", "web-1", "10.0.0.1", "linux", None, None, "1"
)


class Rig:
    """A fleet whose loops do not run: the test calls what they would."""

    def __init__(self, directory):
        self.clock = ManualClock()
        self.store = EmbeddedStore(directory / "store", StoreSettings(), self.clock)
        self.control = open_control_plane(
            sqlite_url(directory / "control.db"), ControlSettings(), self.clock
        )
        self.project_id = self.control.projects.create("shop").project.project_id
        self.enrolled = self.enrol(WEB)
        job = self.control.jobs.create(self.project_id, JobDraft("kr", "api", "/metrics"))
        self.job = JobRef(self.project_id, job.job_id)
        self.target_id = self.add_target(8080)
        self.begin()

    def begin(self):
        self.fleet = Fleet(
            ["kr"],
            self.control.inventory,
            Sessions(self.session, self.session),
            self.clock,
            SETTINGS,
        )

    def session(self, target):
        writer = self.store.writer(target.tenant)
        return ScrapeSession(target, writer, MetadataCatalog(), ScrapeLimits(), ALLOWANCE)

    def enrol(self, enrolment):
        draft = KeyDraft("write", frozenset({"write"}))
        principal = self.control.access.principal(
            self.control.keys.create(self.project_id, draft).secret
        )
        return self.control.agents.enrol(principal, enrolment)

    def add_target(self, port):
        draft = TargetDraft(self.enrolled.host_id, port)
        return self.control.targets.create(self.job, draft).target_id

    @property
    def tenant(self):
        return self.control.inventory.agent_hosts(["kr"])[0].tenant

    def close(self):
        self.store.close()
        self.control.close()

    async def report(self, *scrapes):
        """Scrapes of (target id, milliseconds ago, page)."""
        host = self.fleet.hear(self.enrolled.host_id)
        now_ms = self.clock.now_ms()
        told = [
            (target_id, Reported(now_ms - ago_ms, 0.1, BodyReading(PageReader(10), page, "")))
            for target_id, ago_ms, page in scrapes
        ]
        async with host.lock:
            receipt = await asyncio.to_thread(self.fleet.take, host, told)
            for durable in receipt.durable:
                await asyncio.wrap_future(durable)
            self.fleet.settle(host, receipt)
        return receipt

    async def pass_time(self, seconds, *, hearing=False):
        for _ in range(int(seconds / SWEEP_S)):
            self.clock.advance(SWEEP_S)
            if hearing:
                self.fleet.hear(self.enrolled.host_id)
            await self.fleet._sweep()
        await self.fleet._reports.flush()

    def state(self):
        target = self.control.targets.get(self.job, self.target_id)
        return target.status, target.result_code, target.fail_reason

    def silent_ms(self):
        (host,) = self.control.hosts.list(self.project_id)
        return host.silent_ms

    def values(self, name):
        found = samples(self.store, self.tenant, name)
        return [value for points in found.values() for _, value in points]


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_a_host_is_known_once_the_inventory_was_read(rig):
    async def scenario():
        with pytest.raises(Overloaded):
            rig.fleet.hear(rig.enrolled.host_id)
        await rig.fleet._reload()
        host = rig.fleet.hear(rig.enrolled.host_id)
        assert (len(host.targets), rig.target_id in host.targets) == (2, True)
        assert [state.health for state in rig.fleet.targets(rig.tenant)] == ["unknown"] * 2
        assert [state.target.job for state in rig.fleet.targets(rig.tenant)] == ["@Linux", "api"]

    asyncio.run(scenario())


def test_reports_become_states(rig):
    async def scenario():
        await rig.fleet._reload()
        receipt = await rig.report((rig.target_id, 1_000, b"a 1\n"), ("nobody", 0, b"a 1\n"))
        assert receipt.refused == {1: "the host has no such target"}
        await rig.fleet._reports.flush()
        assert rig.state() == ("NORMAL", 0, None)
        await rig.report((rig.target_id, 0, b"a x\n"))
        await rig.fleet._reports.flush()
        assert rig.state() == ("UNREACHABLE", -3, "line 1: value is not a number")
        assert rig.values("a") == [1.0, "stale"]

    asyncio.run(scenario())


def test_what_is_on_disk_is_not_written_again(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 1_000, b"a 1\n"))
        receipt = await rig.report((rig.target_id, 1_000, b"a 1\n"))
        assert (receipt.known, list(receipt.taken)) == (1, [])

    asyncio.run(scenario())


def test_the_future_and_what_retention_has_dropped_are_refused(rig):
    async def scenario():
        await rig.fleet._reload()
        year_ms = 366 * 86_400_000
        receipt = await rig.report(
            (rig.target_id, -601_000, b"a 1\n"),
            (rig.target_id, year_ms, b"a 2\n"),
            (rig.target_id, -599_000, b"a 3\n"),
        )
        assert sorted(receipt.refused) == [0, 1]
        assert rig.values("a") == [3.0]

    asyncio.run(scenario())


def test_a_silent_agent_stops_its_targets_each_after_its_own_three_intervals(rig):
    async def scenario():
        rig.control.jobs.set_interval(rig.job, 10_000)
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 1\n"))
        heard_ms = rig.clock.now_ms()
        await rig.pass_time(25)
        assert (rig.state(), rig.silent_ms()) == (("NORMAL", 0, None), None)
        await rig.pass_time(5)
        status, code, reason = rig.state()
        assert (status, code) == ("STOPPED", -1)
        assert reason == "the host's agent has not been heard since 2023-11-14T22:13:20Z"
        assert rig.silent_ms() == heard_ms
        assert rig.values("a") == [1.0, "stale"]
        # The host's own metrics are collected every minute, so they are given three.
        builtin = next(t for t in rig.fleet.targets(rig.tenant) if t.target.builtin)
        assert builtin.last_error == ""
        await rig.pass_time(150)
        builtin = next(t for t in rig.fleet.targets(rig.tenant) if t.target.builtin)
        assert "not been heard" in builtin.last_error
        assert rig.values("a") == [1.0, "stale"]

    asyncio.run(scenario())


def test_an_agent_that_is_heard_again_is_no_longer_silent_and_its_targets_are_as_it_reports(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 1\n"))
        await rig.pass_time(200)
        assert rig.silent_ms() is not None
        rig.fleet.hear(rig.enrolled.host_id)
        await rig.fleet._sweep()
        assert rig.silent_ms() is None
        assert rig.state()[0] == "STOPPED"
        await rig.report((rig.target_id, 0, b"a 2\n"))
        await rig.fleet._reports.flush()
        assert rig.state() == ("NORMAL", 0, None)
        assert rig.values("a") == [1.0, "stale", 2.0]

    asyncio.run(scenario())


def test_asking_for_targets_is_being_heard(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 1\n"))
        await rig.pass_time(400, hearing=True)
        assert (rig.state()[0], rig.silent_ms()) == ("NORMAL", None)

    asyncio.run(scenario())


def test_while_the_service_is_held_up_nobody_falls_silent(rig):
    """A machine that slept, or a loop that hung for minutes, has heard no one: that is not their silence."""

    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 1\n"))
        await rig.fleet._sweep()
        rig.clock.advance(1_000)
        await rig.fleet._sweep()
        await rig.fleet._reports.flush()
        assert (rig.state()[0], rig.silent_ms()) == ("NORMAL", None)

    asyncio.run(scenario())


def test_after_a_restart_the_last_state_stands_until_the_agent_has_had_its_time(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 1\n"))
        await rig.pass_time(5)
        rig.begin()
        await rig.fleet._reload()
        await rig.pass_time(175)
        assert rig.state()[0] == "NORMAL"
        await rig.pass_time(10)
        assert rig.state()[0] == "STOPPED"
        since_ms = rig.silent_ms()
        # A second restart finds it silent, and keeps since when.
        rig.begin()
        await rig.fleet._reload()
        await rig.pass_time(200)
        assert rig.silent_ms() == since_ms
        rig.fleet.hear(rig.enrolled.host_id)
        await rig.fleet._sweep()
        assert rig.silent_ms() is None

    asyncio.run(scenario())


def test_changes_of_targets_leave_the_others_alone(rig):
    async def scenario():
        other_id = rig.add_target(8081)
        await rig.fleet._reload()
        await rig.report((rig.target_id, 1_000, b"a 1\n"), (other_id, 1_000, b"b 1\n"))
        rig.control.targets.delete(rig.job, other_id)
        await rig.fleet._reload()
        assert rig.values("b") == [1.0, "stale"]
        receipt = await rig.report((rig.target_id, 0, b"a 2\n"), (other_id, 0, b"b 2\n"))
        assert list(receipt.refused) == [1]
        assert rig.values("a") == [1.0, 2.0]
        assert rig.values("scrape_series_added") == [1.0, 0.0, 1.0, "stale"]

    asyncio.run(scenario())


def test_a_renamed_hosts_series_end_and_begin(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 1_000, b"a 1\n"))
        rig.enrol(replace(WEB, hostname="web-2"))
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 2\n"))
        found = {
            dict(labels)["instance"]: [value for _, value in points]
            for labels, points in samples(rig.store, rig.tenant, "a").items()
        }
        assert found == {"web-1:8080": [1.0, "stale"], "web-2:8080": [2.0]}

    asyncio.run(scenario())


def test_a_removed_host_is_forgotten(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 1_000, b"a 1\n"))
        tenant = rig.tenant
        rig.control.hosts.remove(rig.enrolled.host_id)
        await rig.fleet._reload()
        with pytest.raises(Overloaded):
            rig.fleet.hear(rig.enrolled.host_id)
        assert rig.fleet.targets(tenant) == []
        (points,) = samples(rig.store, tenant, "a").values()
        assert points[-1][1] == "stale"

    asyncio.run(scenario())


def test_a_back_fill_that_rests_is_complete(rig):
    async def scenario():
        await rig.fleet._reload()
        await rig.report((rig.target_id, 0, b"a 9\n"))
        await rig.report((rig.target_id, 3_600_000, b"a 1\n"))
        await rig.pass_time(15, hearing=True)
        assert rig.values("a") == [1.0, 9.0]
        await rig.pass_time(10, hearing=True)
        assert rig.values("a") == [1.0, "stale", 9.0]

    asyncio.run(scenario())


def test_the_loops_run(rig):
    """Started for real: a change of targets is followed, and states reach the database."""

    async def scenario():
        rig.fleet._settings = replace(SETTINGS, report_flush_s=0.02)
        await rig.fleet.start()
        await rig.report((rig.target_id, 0, b"a 1\n"))
        await until(lambda: rig.state()[0] == "NORMAL")
        new_id = rig.add_target(8081)
        await until(lambda: new_id in rig.fleet.hear(rig.enrolled.host_id).targets)
        await rig.fleet.stop()
        assert rig.values("a") == [1.0]

    asyncio.run(scenario())
