"""Following what the service names: at its pace, kept over restarts, and through its absence."""

import asyncio
import contextlib

import pytest
from tests.agent.fake_service import FakeService, target
from tests.agent.rig import Machine
from tests.collect.clocks import RealClock
from tests.collect.exporters import free_port, until

from meterhall.agent.channel import Channel, Patience, ServerSettings
from meterhall.agent.state import StateDirectory
from meterhall.agent.targets import Follower, TargetList
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.complaints import Complaints
from meterhall.wire.agent_calls import AgentTarget, AgentTargets, ReportLimits

LIMITS = ReportLimits(1 << 20, 2, 3, 4)
TARGET = AgentTarget("t-1", "node", 9100, "/metrics", 15_000, 10_000)


class Quick(Patience):
    def after(self, error):
        return 0.02


@contextlib.asynccontextmanager
async def following(directory, url, known=None):
    """(target list, list of contacts) of a running follower."""
    state = StateDirectory(directory)
    state.open()
    channel = Channel(ServerSettings(url), AgentClock(Machine(), state.clock_file))
    channel.key = "agent-key"
    targets = TargetList("web-1", known)
    complaints = Complaints(60.0, RealClock())
    follower = Follower(channel, targets, state, complaints, Quick(lambda: 0.0))
    contacts = []
    task = asyncio.create_task(follower.run(lambda: contacts.append(1)))
    try:
        yield targets, contacts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()


def ids(targets):
    return [each.target_id for each in targets.scrape_targets(())]


def test_changes_are_followed_and_kept(tmp_path):
    async def scenario():
        service = FakeService(target("t-1"))
        async with service.running(), following(tmp_path, service.url) as (targets, contacts):
            await until(lambda: ids(targets) == ["t-1"])
            changes = targets.changes
            await until(lambda: len(contacts) >= 3)
            # 304 changes nothing.
            assert targets.changes == changes
            service.set_targets(target("t-1"), target("t-2"))
            await until(lambda: ids(targets) == ["t-1", "t-2"])
            kept = StateDirectory(tmp_path)
            await until(lambda: len(kept.targets().targets) == 2)
            asked = [headers.get("If-None-Match") for _, headers in service.requests]
            assert (asked[0], '"1"' in asked) == (None, True)

    asyncio.run(scenario())


def test_without_the_service_the_known_targets_go_on(tmp_path, capsys):
    known = AgentTargets("9", "h-1", 5.0, [TARGET], LIMITS)

    async def scenario():
        port = free_port()
        async with following(tmp_path, f"http://127.0.0.1:{port}", known) as (targets, contacts):
            assert ids(targets) == ["t-1"]
            await asyncio.sleep(0.2)
            assert (ids(targets), contacts) == (["t-1"], [])
            service = FakeService()
            async with service.running(port):
                await until(lambda: ids(targets) == [])
                # What was kept may be another service's word.
                assert "If-None-Match" not in service.requests[0][1]

    asyncio.run(scenario())
    assert capsys.readouterr().out.count("targets cannot be asked for") == 1


def test_a_target_is_an_endpoint_on_this_host():
    known = AgentTargets("9", "h-1", 5.0, [TARGET], LIMITS)
    (endpoint,) = TargetList("web-1", known).scrape_targets(())
    assert (endpoint.address, endpoint.port, endpoint.metrics_path) == (
        "localhost",
        9100,
        "/metrics",
    )
    assert (endpoint.host_id, endpoint.host_name, endpoint.interval_ms) == ("h-1", "web-1", 15_000)


@pytest.mark.parametrize(("known", "expected"), [(None, 10 << 20), (LIMITS, 1 << 20)])
def test_the_cap_of_a_page_is_the_services(known, expected):
    newest = None if known is None else AgentTargets("9", "h-1", 5.0, [], known)
    assert TargetList("web-1", newest).page_bytes_max == expected
