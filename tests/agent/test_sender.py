"""Delivery: live first, back-fill politely, and what each refusal does to the pace."""

import asyncio
import contextlib
import time

import pytest
from tests.agent.fake_service import LIMITS, FakeService
from tests.agent.rig import QUICK, Machine
from tests.agent.scrapes import T0, whole
from tests.collect.clocks import RealClock
from tests.collect.exporters import until

from meterhall.agent import sender as sender_module
from meterhall.agent.channel import Channel, Patience, ServerSettings
from meterhall.agent.outbox import Outbox
from meterhall.agent.sender import Sender, SenderSettings
from meterhall.agent.spool import Spool, SpoolSettings
from meterhall.agent.targets import TargetList
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.complaints import Complaints
from meterhall.tsdb.disk import Disk
from meterhall.wire.agent_calls import AgentTargets, ReportLimits

NEWEST = AgentTargets("1", "h-1", 5.0, [], ReportLimits(*LIMITS.values()))


class Rig:
    """A sender, what it sends from, and the service that it sends to."""

    def __init__(self, directory, service, settings):
        self.service = service
        self.clock = AgentClock(Machine(), directory / "clock.json")
        machine = self.clock.machine
        self.clock.hear(machine.now_ms(), machine.boot_ms(), machine.boot_ms())
        self.spool = Spool(directory / "spool", SpoolSettings(), Disk(), self.clock)
        self.outbox = Outbox(self.spool, self.clock)
        self.channel = Channel(ServerSettings(service.url), self.clock)
        self.channel.key = service.key
        self.sender = Sender(
            self.channel,
            self.outbox,
            TargetList("web-1", NEWEST),
            self.clock,
            Complaints(60.0, RealClock()),
            settings,
        )

    def leave(self, *numbers):
        """Back-fill: on disk alone."""
        for number in numbers:
            self.spool.append(whole(number), None).result(10)

    def put(self, *numbers):
        for number in numbers:
            self.outbox.put(self.spool.append(whole(number), None).result(10))
        self.sender.wake()

    @property
    def order(self):
        """Numbers of the scrapes as they were stored."""
        return [s.time_ms - T0 for batch in self.service.batches for s in batch.scrapes]

    @property
    def reports(self):
        return [headers for kind, headers in self.service.requests if kind == "report"]


def run(directory, scenario, settings=QUICK, before=lambda rig: None):
    async def everything():
        service = FakeService()
        async with service.running():
            rig = Rig(directory, service, settings)
            before(rig)
            task = asyncio.create_task(rig.sender.run())
            try:
                async with asyncio.timeout(60):
                    await scenario(rig)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                rig.sender.close()
                await rig.channel.close()
                rig.spool.close()

    asyncio.run(everything())


def test_live_goes_first_and_everything_arrives_once(tmp_path):
    def before(rig):
        rig.leave(*range(500))
        rig.put(1000, 1001)

    async def scenario(rig):
        await until(lambda: rig.outbox.waiting == 0)
        assert rig.order == [1000, 1001, *range(500)]
        marked = [headers.get("X-Meterhall-Backfill") for headers in rig.reports]
        assert marked == [None, "1", "1", "1"]

    run(tmp_path, scenario, before=before)


def test_live_scrapes_do_not_wait_for_the_back_fill(tmp_path):
    settings = SenderSettings(linger_s=0.0, backfill_pause_s=0.2, backfill_spread_s=0.0)

    async def scenario(rig):
        await until(lambda: len(rig.service.batches) >= 2)
        rig.put(5000)
        await until(lambda: 5000 in rig.order)
        assert len(rig.order) < 1600

    run(tmp_path, scenario, settings, lambda rig: rig.leave(*range(1600)))


def test_little_back_fill_does_not_wait_for_its_turn_among_many_agents(tmp_path):
    settings = SenderSettings(linger_s=0.0, backfill_spread_s=3600.0, jitter=lambda: 0.99)

    def before(rig):
        rig.leave(1, 2, 3)
        rig.put(4)

    async def scenario(rig):
        await until(lambda: rig.outbox.waiting == 0)
        assert rig.order == [4, 1, 2, 3]

    run(tmp_path, scenario, settings, before)


def test_scrapes_of_a_moment_share_a_batch(tmp_path):
    settings = SenderSettings(linger_s=0.3)

    async def scenario(rig):
        await asyncio.sleep(0.1)
        rig.put(1)
        await asyncio.sleep(0.05)
        rig.put(2, 3)
        await until(lambda: rig.outbox.waiting == 0)
        assert len(rig.service.batches) == 1

    run(tmp_path, scenario, settings)


def busy(seconds):
    return (429, {"error": "too many"}, {"Retry-After": str(seconds)})


def test_retry_after_is_obeyed(tmp_path):
    async def scenario(rig):
        rig.service.answers = [busy(1)]
        rig.put(1)
        await until(lambda: rig.reports)
        began = time.monotonic()
        rig.put(2)
        rig.sender.contact()
        await until(lambda: rig.outbox.waiting == 0)
        # Not before: a lower bound cannot fail because the machine is slow.
        assert time.monotonic() - began > 0.9
        assert rig.order == [1, 2]

    run(tmp_path, scenario)


def test_no_room_for_back_fill_holds_up_no_live_scrape(tmp_path):
    async def scenario(rig):
        rig.service.answers = [busy(3000)]
        rig.leave(1)
        await until(lambda: rig.reports)
        rig.put(2)
        await until(lambda: rig.order == [2])

    run(tmp_path, scenario)


def test_an_answer_to_anybody_ends_the_wait_after_an_outage(tmp_path, monkeypatch):
    monkeypatch.setattr(Patience, "FIRST_S", 3000.0)
    monkeypatch.setattr(Patience, "LONGEST_S", 3000.0)

    async def scenario(rig):
        rig.service.answers = [(500, {"error": "trouble"})]
        rig.put(1)
        await until(lambda: rig.reports)
        await asyncio.sleep(0.1)
        assert rig.order == []
        rig.sender.contact()
        await until(lambda: rig.order == [1])

    run(tmp_path, scenario)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_where_only_people_can_help_it_is_said_and_tried_rarely(
    tmp_path, status, monkeypatch, capsys
):
    monkeypatch.setattr(Patience, "RARELY_S", 1.0)

    async def scenario(rig):
        rig.service.answers = [(status, {"error": "the host was removed"})]
        rig.put(1)
        await until(lambda: rig.reports)
        began = time.monotonic()
        rig.sender.contact()
        await until(lambda: rig.order == [1])
        assert time.monotonic() - began > 0.9

    run(tmp_path, scenario)
    assert "the host was removed" in capsys.readouterr().out


def test_a_service_that_accepts_nothing_does_not_empty_the_spool(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Patience, "RARELY_S", 3000.0)

    async def scenario(rig):
        rig.service.answers = [(400, {"error": "what is that?"})] * 1000
        rig.leave(*range(100))
        await until(lambda: "the service accepts nothing" in capsys.readouterr().out)
        assert rig.outbox.waiting == 100 - sender_module._UNACCEPTABLE_MAX - 1

    run(tmp_path, scenario)


def test_nothing_is_sent_before_the_services_clock_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(sender_module, "_REST_S", 0.05)

    async def scenario(rig):
        rig.clock._estimate = None
        rig.put(1)
        await asyncio.sleep(0.3)

    async def rest(rig):
        await scenario(rig)
        assert rig.reports == []
        machine = rig.clock.machine
        rig.clock.hear(machine.now_ms(), machine.boot_ms(), machine.boot_ms())
        await until(lambda: rig.order == [1])

    def before(rig):
        rig.clock._estimate = None

    run(tmp_path, rest, before=before)


def test_what_is_live_goes_out_at_the_end(tmp_path):
    settings = SenderSettings(linger_s=3000.0)

    async def scenario(rig):
        rig.put(1)
        await until(lambda: rig.order == [1])
        rig.put(2)
        await asyncio.sleep(0.05)
        assert rig.order == [1]
        await rig.sender.flush()
        assert rig.order == [1, 2]

    run(tmp_path, scenario, settings)
