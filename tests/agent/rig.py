"""A whole agent on the test's own loop, with clocks that can be set."""

import asyncio
import contextlib
import time

from tests.agent.fake_service import FakeService

from meterhall.agent.agent import Agent, AgentSettings
from meterhall.agent.channel import ServerSettings
from meterhall.agent.sender import SenderSettings
from meterhall.agent.spool import SpoolSettings
from meterhall.agent.state import StateDirectory
from meterhall.tsdb.disk import Disk

QUICK = SenderSettings(linger_s=0.02, backfill_pause_s=0.02, backfill_spread_s=0.1)


class Machine:
    """The machine's clocks; the wall clock can be set off, and the machine started anew."""

    def __init__(self, off_by_ms=0, boot_id="boot-1"):
        self.off_by_ms = off_by_ms
        self.boot_id = boot_id
        self.up_since_s = time.monotonic() - 1000

    def now_ms(self):
        return time.time_ns() // 1_000_000 + self.off_by_ms

    def monotonic(self):
        return time.monotonic()

    def boot_ms(self):
        return round((time.monotonic() - self.up_since_s) * 1000)


@contextlib.asynccontextmanager
async def agent_on(directory, url, machine=None, *, disk=None, **changes):
    """A running agent; yields its task. It is stopped as by SIGTERM."""
    fields = {
        "server": ServerSettings(url),
        "key": "write-key",
        "hostname": "web-1",
        "address": "10.0.0.1",
        "metadata_url": None,
        "sender": QUICK,
        "spool": SpoolSettings(),
    }
    state = StateDirectory(directory)
    state.open()
    settings = AgentSettings(state=state, **(fields | changes))
    agent = Agent(settings, machine or Machine(), disk or Disk())
    stopping = asyncio.Event()
    task = asyncio.create_task(agent.run(stopping))
    try:
        yield task
    finally:
        stopping.set()
        async with asyncio.timeout(10):
            await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def agent_and_service(directory, *targets, machine=None, **changes):
    """Both, as (service, agent's task)."""
    service = FakeService(*targets)
    async with service.running(), agent_on(directory, service.url, machine, **changes) as task:
        yield service, task
