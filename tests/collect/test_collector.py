"""The pull loop with the real store, real ingestion and real exporters."""

import asyncio
import contextlib

import pytest
from tests.collect.clocks import JumpingClock
from tests.collect.conftest import TENANT, make_target
from tests.collect.exporters import free_port, node_exporter, until
from tests.collect.reading import latest, samples
from tests.collect.servers import endless, raw, response, serving

from meterhall.app.clock import SystemClock
from meterhall.collect.addresses import AddressPolicy
from meterhall.collect.collector import Collaborators, Collector, CollectSettings
from meterhall.collect.following import FollowSettings
from meterhall.collect.hostmetrics.machine import HostMetrics
from meterhall.collect.schedule import offset_ms
from meterhall.control.hosts import HostDraft
from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.plane import open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.control.targets import TargetDraft
from meterhall.ingest.allowance import Allowance
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.errors import StoreUnavailable
from meterhall.model.limits import ProjectLimits
from meterhall.model.tenant import Tenant
from meterhall.telemetry.metrics import SCRAPES
from meterhall.telemetry.scrapes import ScrapeMeter
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

SETTINGS = CollectSettings(
    follow=FollowSettings(poll_s=0.05),
    report_flush_s=0.05,
    complaint_interval_s=60.0,
    report_refresh_s=60.0,
)
PAGE = response(b"# TYPE a counter\na 1\n# TYPE b gauge\nb 2\n")


class Inventory:
    """What the control plane tells, settable."""

    def __init__(self, *targets):
        self._targets = targets
        self.changes = 0
        self.reports = []
        self.broken = False

    def set(self, *targets):
        self._targets = targets
        self.changes += 1

    def scrape_targets(self, regions):
        assert list(regions) == ["kr"]
        if self.broken:
            raise RuntimeError("the database is away")
        return list(self._targets)

    def save_reports(self, reports):
        if self.broken:
            raise RuntimeError("the database is away")
        self.reports.extend(reports)

    def last(self, target_id):
        found = [report for report in self.reports if report.target_id == target_id]
        return (found[-1].status, found[-1].result_code, found[-1].fail_reason) if found else None


class Rig:
    """A collector, its inventory and its store."""

    def __init__(self, directory, *targets, inventory=None, settings=SETTINGS):
        self.clock = JumpingClock()
        self.store = EmbeddedStore(directory, StoreSettings(), self.clock)
        self.catalog = MetadataCatalog()
        self.inventory = inventory or Inventory(*targets)
        self.sessions = 0
        collaborators = Collaborators(
            self.inventory,
            self.open_session,
            HostMetrics(self.clock).page,
            self.clock,
            ScrapeMeter(),
        )
        policy = AddressPolicy(allow_loopback=True)
        self.collector = Collector(["kr"], collaborators, policy, settings)

    def open_session(self, target):
        self.sessions += 1
        writer = self.store.writer(target.tenant)
        return ScrapeSession(
            target, writer, self.catalog, ScrapeLimits(), Allowance(ProjectLimits, self.clock)
        )

    async def __aenter__(self):
        await self.collector.start()
        return self

    async def __aexit__(self, *_):
        await self.collector.stop()
        self.store.close()

    def samples(self, name):
        return samples(self.store, TENANT, name)

    def values(self, name):
        """Values of the only series of that name."""
        series = self.samples(name)
        assert len(series) <= 1
        return [value for points in series.values() for _, value in points]

    def latest(self, name):
        return latest(self.store, TENANT, name, self.clock.now_ms())

    def health(self):
        return [state.health for state in self.collector.targets(TENANT)]


def running(scenario):
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_a_real_node_exporter_stops_and_starts_again(tmp_path):
    async def scenario():
        port = free_port()
        target = make_target(port=port)
        key = (
            ("instance", f"web-1:{port}"),
            ("job", "node"),
            ("openmetrics_id", target.host_id),
        )
        async with Rig(tmp_path, target) as rig:
            with node_exporter(port):
                await until(lambda: rig.latest("up").get(key) == 1)
                assert rig.latest("scrape_samples_scraped")[key] > 300
                assert rig.latest("node_load1").keys() == {key}
                cpus = rig.latest("node_cpu_seconds_total")
                assert {dict(labels)["mode"] for labels in cpus} >= {"idle", "user", "system"}
                await until(lambda: rig.inventory.last(target.target_id) == ("NORMAL", 0, None))
            await until(lambda: rig.latest("up").get(key) == 0)
            # Stale at once: with the very collection that failed.
            assert rig.latest("node_load1") == {}
            assert rig.latest("node_cpu_seconds_total") == {}
            refused = ("UNREACHABLE", -1, "connection refused")
            await until(lambda: rig.inventory.last(target.target_id) == refused)
            assert rig.health() == ["down"]
            assert rig.collector.targets(TENANT)[0].last_error == "connection refused"
            with node_exporter(port):
                await until(lambda: rig.latest("up").get(key) == 1)
                assert rig.latest("node_load1").keys() == {key}
                await until(lambda: rig.inventory.last(target.target_id) == ("NORMAL", 0, None))
                await until(lambda: rig.health() == ["up"])

    running(scenario())


def test_the_timestamps_are_the_ticks(tmp_path):
    async def scenario():
        async with (
            serving(raw(PAGE, keep_open=True)) as port,
            Rig(tmp_path, make_target(port=port)) as rig,
        ):
            target = make_target()
            offset = offset_ms(target.target_id, target.interval_ms)

            def behind_tick():
                points = [point for series in rig.samples("up").values() for point in series]
                return [(time - offset) % target.interval_ms for time, _ in points]

            # A busy machine may be late by more than the 2 ms that are snapped away, but not always.
            await until(lambda: behind_tick().count(0) >= 2)

    running(scenario())


def test_the_host_itself_is_a_target(tmp_path):
    async def scenario():
        target = make_target(job="@Linux", builtin=True, port=9100, address="192.0.2.1")
        async with Rig(tmp_path, target) as rig:
            await until(lambda: rig.latest("up"))
            cpus = rig.latest("node_cpu_seconds_total")
            assert {dict(labels)["job"] for labels in cpus} == {"@Linux"}
            assert {dict(labels)["instance"] for labels in cpus} == {"web-1:9100"}
            await until(lambda: rig.inventory.last(target.target_id) == ("NORMAL", 0, None))

    running(scenario())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(b"x", status="404 Not Found"), ("HTTP_ERROR", 404, "404 Not Found")),
        (
            response(b"x", status="503 Service Unavailable"),
            ("HTTP_ERROR", 503, "503 Service Unavailable"),
        ),
        (
            response(b"", "Location: http://169.254.169.254/", status="302 Found"),
            ("HTTP_ERROR", 302, "302 Found"),
        ),
        (response(b"a 1\nsecret=hunter2\n"), ("UNREACHABLE", -3, "line 2: ")),
        (response(b"a 1\nhunter2\0 1\n"), ("UNREACHABLE", -3, "line 2: ")),
        (response(b"a 1\nb\n"), ("UNREACHABLE", -3, "line 2: ")),
        (
            response(b"a 1\n" + b"x" * 11_000_000),
            ("UNREACHABLE", -4, "the page is larger than 10485760 bytes"),
        ),
        (
            response(b"".join(b"m%d 1\n" % i for i in range(50_001))),
            ("UNREACHABLE", -4, "sample limit exceeded: more than 50000 samples"),
        ),
        (b"", ("UNREACHABLE", -1, "connection closed without an answer")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_exporters_do_wrong(answer, expected, tmp_path):
    async def scenario():
        async with serving(raw(answer)) as port:
            target = make_target(port=port)
            async with Rig(tmp_path, target) as rig:
                status, code, reason = await until(lambda: rig.inventory.last(target.target_id))
                assert (status, code) == expected[:2]
                assert reason.startswith(expected[2])
                assert "hunter2" not in reason
                assert set(rig.values("up")) == {0.0}
                assert rig.values("a") == []

    running(scenario())


def test_a_timeout_is_a_timeout(tmp_path):
    async def scenario():
        async with serving(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"a 1\n", 0.05)) as port:
            target = make_target(port=port, timeout_ms=200)
            async with Rig(tmp_path, target) as rig:
                expected = ("UNREACHABLE", -2, "timed out after 0.2 s")
                await until(lambda: rig.inventory.last(target.target_id) == expected)

    running(scenario())


def test_removed_targets_end_and_others_are_not_disturbed(tmp_path):
    async def scenario():
        async with serving(raw(PAGE, keep_open=True)) as port:
            stays = make_target(port=port)
            goes = make_target(target_id="goes", port=port, host_name="web-2")
            async with Rig(tmp_path, stays, goes) as rig:
                await until(lambda: len(rig.latest("up")) == 2)
                task = rig.collector._running[stays.target_id][1]
                rig.inventory.set(stays)
                await until(lambda: len(rig.latest("up")) == 1)
                assert len(rig.latest("a")) == 1
                assert dict(next(iter(rig.latest("up"))))["instance"] == f"web-1:{port}"
                assert rig.collector._running[stays.target_id][1] is task
                assert [state.target for state in rig.collector.targets(TENANT)] == [stays]
                rig.inventory.set(stays, goes)
                await until(lambda: len(rig.latest("a")) == 2)
                assert rig.sessions == 3

    running(scenario())


def test_a_renamed_host_ends_its_series_and_begins_new_ones(tmp_path):
    async def scenario():
        async with (
            serving(raw(PAGE, keep_open=True)) as port,
            Rig(tmp_path, make_target(port=port)) as rig,
        ):
            await until(lambda: rig.latest("a"))
            rig.inventory.set(make_target(port=port, host_name="web-9"))
            await until(
                lambda: (
                    [dict(labels)["instance"] for labels in rig.latest("a")] == [f"web-9:{port}"]
                )
            )

    running(scenario())


def test_another_path_or_interval_leaves_no_gap(tmp_path):
    async def scenario():
        requests = []
        async with (
            serving(raw(PAGE, keep_open=True, requests=requests)) as port,
            Rig(tmp_path, make_target(port=port)) as rig,
        ):
            await until(lambda: rig.latest("a"))
            await until(lambda: rig.health() == ["up"])
            rig.inventory.set(make_target(port=port, metrics_path="/other", interval_ms=400))
            await until(lambda: rig.collector.targets(TENANT)[0].target.interval_ms == 400)
            assert rig.health() == ["up"]
            await until(lambda: any(b"GET /other " in request for request in requests))
            await until(lambda: len(rig.values("a")) >= 3)
            assert "stale" not in rig.values("up")
            assert "stale" not in rig.values("a")
            assert rig.sessions == 1

    running(scenario())


def test_a_stop_marks_nothing_stale(tmp_path):
    async def scenario():
        async with serving(raw(PAGE, keep_open=True)) as port:
            rig = Rig(tmp_path, make_target(port=port))
            await rig.collector.start()
            await until(lambda: rig.values("a"))
            await rig.collector.stop()
            assert "stale" not in rig.values("a")
            assert "stale" not in rig.values("up")
            assert not [task for task in asyncio.all_tasks() if "collect" in task.get_name()]
            rig.store.close()
        # What was acknowledged is on disk.
        again = Rig(tmp_path)
        assert set(again.values("a")) == {1.0}
        again.store.close()

    running(scenario())


def test_a_stop_does_not_wait_for_slow_exporters(tmp_path):
    async def scenario():
        silent = endless(b"", b"", 0.5)
        async with (
            serving(silent) as port,
            Rig(tmp_path, make_target(port=port, timeout_ms=50_000)) as rig,
        ):
            await until(lambda: rig.collector._running)
            await asyncio.sleep(0.5)  # Long enough for the fetch to hang; not what is tested.
            began = rig.clock.monotonic()
            assert rig.clock.monotonic() - began < 5

    running(scenario())


class Unwritable:
    """A session whose store cannot take writes, until it can."""

    def __init__(self):
        self.broken = True
        self.calls = 0

    def on(self, session):
        self.session = session
        return self

    def commit_page(self, *args):
        self.calls += 1
        if self.broken:
            raise StoreUnavailable("disk full")
        return self.session.commit_page(*args)

    def commit_failure(self, *args):
        return self.session.commit_failure(*args)

    def end(self, time_ms):
        return self.session.end(time_ms)


class UnwritableRig(Rig):
    """A rig whose only target has that session."""

    def __init__(self, directory, target):
        self.session = Unwritable()
        super().__init__(directory, target)

    def open_session(self, target):
        return self.session.on(super().open_session(target))


def test_a_store_that_cannot_write_costs_collections_but_not_the_loop(tmp_path, capsys):
    async def scenario():
        before = SCRAPES.labels("store_unavailable")._value.get()
        async with (
            serving(raw(PAGE, keep_open=True)) as port,
            UnwritableRig(tmp_path, make_target(port=port)) as rig,
        ):
            await until(lambda: rig.session.calls >= 2)
            # Nothing is claimed about the target: it was the store that failed.
            assert rig.inventory.reports == []
            assert rig.collector.targets(TENANT)[0].last_error == "store unavailable"
            rig.session.broken = False
            await until(lambda: rig.values("a"))
            await until(lambda: rig.health() == ["up"])
        assert SCRAPES.labels("store_unavailable")._value.get() >= before + 2

    running(scenario())
    assert capsys.readouterr().out.count("store unavailable") == 1


def test_a_bug_in_one_target_does_not_end_it(tmp_path):
    async def scenario():
        before = SCRAPES.labels("internal_error")._value.get()
        async with (
            serving(raw(PAGE, keep_open=True)) as port,
            UnwritableRig(tmp_path, make_target(port=port)) as rig,
        ):
            rig.session.commit_page = lambda *args: 1 / 0
            await until(lambda: SCRAPES.labels("internal_error")._value.get() >= before + 2)

    running(scenario())


def test_without_the_database_known_targets_go_on(tmp_path):
    async def scenario():
        async with serving(raw(PAGE, keep_open=True)) as port:
            target = make_target(port=port)
            async with Rig(tmp_path, target) as rig:
                await until(lambda: rig.values("a"))
                rig.inventory.broken = True
                rig.inventory.changes += 1
                count = len(rig.values("a"))
                await until(lambda: len(rig.values("a")) >= count + 2)
                rig.inventory.broken = False
                rig.inventory.set()
                await until(lambda: rig.latest("up") == {})

    running(scenario())


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_a_jump_of_the_wall_clock_stops_nothing(jump_ms, tmp_path):
    async def scenario():
        requests = []
        async with (
            serving(raw(PAGE, keep_open=True, requests=requests)) as port,
            Rig(tmp_path, make_target(port=port)) as rig,
        ):
            await until(lambda: len(requests) >= 2)
            rig.clock.off_by_ms = jump_ms
            began, count = rig.clock.monotonic(), len(requests)
            await until(lambda: len(requests) >= count + 3)
            took = rig.clock.monotonic() - began
            # No burst: starts lie at least half an interval apart (test_schedule has the law).
            assert took >= 0.25
            assert rig.health() == ["up"]

    running(scenario())


def test_slow_targets_do_not_hold_up_others(tmp_path):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            slow = await stack.enter_async_context(serving(endless(b"HTTP/1.1 ", b"", 0.2)))
            quick = await stack.enter_async_context(serving(raw(PAGE, keep_open=True)))
            targets = [
                make_target(target_id=f"slow-{i}", host_name=f"slow-{i}", port=slow)
                for i in range(40)
            ]
            async with Rig(tmp_path, make_target(port=quick), *targets) as rig:
                await until(lambda: len(rig.values("a")) >= 3)
                assert "stale" not in rig.values("a")

    running(scenario())


def test_a_new_target_is_collected_at_once_and_the_first_ones_at_their_ticks(tmp_path):
    async def scenario():
        hour = {"interval_ms": 3_600_000, "timeout_ms": 1000}
        async with serving(raw(PAGE, keep_open=True)) as port:
            host = make_target(target_id="host", builtin=True, **hour)
            first = make_target(port=port, **hour)
            async with Rig(tmp_path, host, first) as rig:
                await until(lambda: rig.inventory.last("host") == ("NORMAL", 0, None))
                added = make_target(target_id="added", host_name="web-2", port=port, **hour)
                rig.inventory.set(host, first, added)
                await until(lambda: rig.inventory.last("added") == ("NORMAL", 0, None))
                assert rig.inventory.last(first.target_id) is None
                urls = {
                    state.target.target_id: state.scrape_url
                    for state in rig.collector.targets(TENANT)
                }
                assert urls == {
                    "host": "builtin:/metrics",
                    first.target_id: f"http://127.0.0.1:{port}/metrics",
                    "added": f"http://127.0.0.1:{port}/metrics",
                }
                assert rig.collector.targets(Tenant("kr", "another")) == []

    running(scenario())


def test_with_the_real_control_plane(tmp_path):
    """A workspace and a target made there are collected, and their states are seen there."""
    control = open_control_plane(
        f"sqlite:///{tmp_path / 'control.db'}",
        ControlSettings(interval_ms=250, timeout_ms=250, poll_ms=50),
        SystemClock(),
    )
    project = control.projects.create("shop").project.project_id
    host = control.hosts.add(project, HostDraft("kr", "web-1", "127.0.0.1", collect="direct"))
    job = control.jobs.create(project, JobDraft("kr", "node", "/metrics"))
    ref = JobRef(project, job.job_id)

    async def scenario(rig):
        port = free_port()
        made = control.targets.create(ref, TargetDraft(host.host_id, port))

        def shown():
            target = control.targets.get(ref, made.target_id)
            return target.status, target.result_code, target.fail_reason

        async with rig:
            await until(lambda: shown() == ("UNREACHABLE", -1, "connection refused"))
            async with serving(raw(PAGE, keep_open=True), port):
                await until(lambda: shown() == ("NORMAL", 0, None))
            async with serving(raw(response(b"", status="404 x")), port):
                await until(lambda: shown() == ("HTTP_ERROR", 404, "404 Not Found"))
            tenant = rig.collector._running[made.target_id][0].target.tenant
            labels = {"job": "node", "instance": f"web-1:{port}", "openmetrics_id": host.host_id}
            assert [dict(series) for series in samples(rig.store, tenant, "a")] == [labels]
            control.targets.delete(ref, made.target_id)
            await until(lambda: latest(rig.store, tenant, "up", rig.clock.now_ms()) == {})

    rig = Rig(tmp_path / "tsdb", inventory=control.inventory)
    try:
        control.start()
        running(scenario(rig))
    finally:
        control.close()
