"""The whole agent on one event loop: enrol, follow, collect, keep, send; and stop within ten seconds.

Collection is the service's own room (`collect`), with the spool where the store would be, the targets that
the service names where the database would be, and this host where the network would be.
"""

import asyncio
import platform
import random
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from meterhall import __version__
from meterhall.agent import instance
from meterhall.agent.channel import (
    Busy,
    Channel,
    ChannelError,
    Patience,
    ServerSettings,
    Unreachable,
)
from meterhall.agent.outbox import Outbox
from meterhall.agent.reach import HostReach
from meterhall.agent.sender import Sender, SenderSettings
from meterhall.agent.session import SpoolSession
from meterhall.agent.spool import Disk, Entry, Spool, SpoolSettings
from meterhall.agent.spool_format import SpooledScrape
from meterhall.agent.state import StateDirectory
from meterhall.agent.targets import Follower, TargetList
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.collector import Collaborators, Collector, CollectSettings
from meterhall.collect.complaints import Complaints
from meterhall.collect.fetch import FetchSettings
from meterhall.collect.hostmetrics import HostMetrics
from meterhall.model.errors import ConfigError
from meterhall.model.target import Endpoint
from meterhall.ports.clock import MachineClock
from meterhall.wire.agent_calls import Enrolled, Enrolment

log = structlog.get_logger()

T = TypeVar("T")

# Of the ten seconds that a stop may take: for collections in hand, and for what they brought.
_COLLECTOR_STOP_S: Final = 4.0
_FLUSH_S: Final = 3.0
# One host has a handful of targets, and the service bounds a page.
_CONCURRENT_MAX: Final = 20
_ALL_PAGES_BYTES_MAX: Final = 32 << 20


class _Unmetered:
    """Implements collect.targetloop.Meter: an agent has nobody to show counts to, who would cost five megabytes."""

    def began_late(self, seconds: float) -> None:
        pass

    def took(self, seconds: float) -> None:
        pass

    def came_to(self, outcome: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """`key` is needed to enrol and not used after it; `metadata_url` is None to ask no cloud."""

    server: ServerSettings
    state: StateDirectory
    key: str | None
    hostname: str
    address: str
    region: str | None = None
    metadata_url: str | None = instance.METADATA_URL
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    sender: SenderSettings = field(default_factory=SenderSettings)


class Agent:
    """One agent. `run` it once."""

    def __init__(self, settings: AgentSettings, machine: MachineClock, disk: Disk) -> None:
        """Opens the spool. Raises OSError where that is not possible."""
        self._settings = settings
        self._state = settings.state
        self._clock = AgentClock(machine, settings.state.clock_file)
        self._complaints = Complaints(60.0, self._clock)
        self._spool = Spool(settings.state.spool, settings.spool, disk, self._clock)
        self._outbox = Outbox(self._spool, self._clock)
        self._targets = TargetList(settings.hostname, self._state.targets())
        self._host_metrics = HostMetrics(self._clock)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set. Raises ConfigError where enrolment can never succeed."""
        channel = Channel(self._settings.server, self._clock)
        try:
            enrolled = await _unless(stopping, self._enrolled(channel))
            if enrolled is not None:
                channel.key = enrolled.key
                await self._work(channel, stopping)
        finally:
            await channel.close()
            await asyncio.to_thread(self._spool.close)
            log.info("agent.stopped", waiting=self._spool.waiting)

    async def _work(self, channel: Channel, stopping: asyncio.Event) -> None:
        sender = Sender(
            channel,
            self._outbox,
            self._targets,
            self._clock,
            self._complaints,
            self._settings.sender,
        )
        follower = Follower(
            channel, self._targets, self._state, self._complaints, Patience(random.random)
        )
        loop = asyncio.get_running_loop()
        tasks = [
            asyncio.create_task(follower.run(sender.contact), name="follow targets"),
            asyncio.create_task(sender.run(), name="send"),
        ]
        log.info("agent.started", waiting=self._outbox.waiting)
        try:
            await self._collect(stopping, tasks, lambda: loop.call_soon_threadsafe(sender.wake))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                async with asyncio.timeout(_FLUSH_S):
                    await sender.flush()
            except TimeoutError:
                log.info("what could not be sent is kept", waiting=self._outbox.waiting)
            sender.close()

    async def _collect(
        self, stopping: asyncio.Event, tasks: list[asyncio.Task[None]], wake: Callable[[], object]
    ) -> None:
        """Collects until the stop, or until one of the tasks, which should not, has ended."""
        ended = asyncio.create_task(stopping.wait(), name="wait for the stop")
        while not ended.done():
            page_bytes_max = self._targets.page_bytes_max
            collector = self._collector(page_bytes_max, wake)
            await collector.start()
            try:
                while not ended.done() and page_bytes_max == self._targets.page_bytes_max:
                    changed = asyncio.create_task(self._targets.changed(), name="wait for targets")
                    await asyncio.wait(
                        [ended, changed, *tasks], return_when=asyncio.FIRST_COMPLETED
                    )
                    changed.cancel()
                    for task in tasks:
                        if task.done():
                            task.result()
            finally:
                await collector.stop(_COLLECTOR_STOP_S)

    def _collector(self, page_bytes_max: int, wake: Callable[[], object]) -> Collector[Endpoint]:
        def keep(scrape: SpooledScrape, shape: bytes | None) -> Future[Entry]:
            kept = self._spool.append(scrape, shape)
            kept.add_done_callback(lambda _: self._hand_on(kept, scrape, shape))
            kept.add_done_callback(lambda _: wake())
            return kept

        return Collector(
            (),
            Collaborators(
                self._targets,
                lambda target: SpoolSession(target, self._clock, keep),
                self._host_metrics.page,
                self._clock,
                _Unmetered(),
            ),
            HostReach(),
            CollectSettings(
                concurrent_max=_CONCURRENT_MAX,
                worker_threads=1,
                fetch=FetchSettings(
                    page_bytes_max=page_bytes_max, all_pages_bytes_max=_ALL_PAGES_BYTES_MAX
                ),
            ),
        )

    def _hand_on(self, kept: "Future[Entry]", scrape: SpooledScrape, shape: bytes | None) -> None:
        """On disk or not, the service should have it now."""
        if kept.exception() is None:
            self._outbox.put(kept.result())
        else:
            self._outbox.put_unspooled(scrape, shape)

    # Enrolment.

    async def _enrolled(self, channel: Channel) -> Enrolled:
        """The credential, asked for until it is given. Raises ConfigError where it never will be."""
        known = self._state.credential()
        if known is not None:
            return known
        key = self._settings.key
        if not key:
            raise ConfigError("this host is not enrolled yet: --key or --key-file is needed once")
        enrolment = await self._enrolment()
        patience = Patience(random.random)
        while True:
            try:
                enrolled = await channel.enrol(enrolment, key)
            except (Busy, Unreachable) as error:
                self._complaints.say("the service cannot be asked to enrol this host", error)
                await asyncio.sleep(patience.after(error))
            except ChannelError as error:
                raise ConfigError(f"this host cannot be enrolled: {error}") from None
            else:
                await asyncio.to_thread(self._state.keep_credential, enrolled)
                log.info("agent.enrolled", host=enrolled.host_id, region=enrolled.region)
                return enrolled

    async def _enrolment(self) -> Enrolment:
        settings = self._settings
        found = None
        if settings.metadata_url is not None:
            found = await instance.instance_id(settings.metadata_url)
        return Enrolment(
            agent_id=self._state.agent_id(),
            hostname=settings.hostname,
            address=settings.address,
            os="windows" if sys.platform == "win32" else platform.system().lower(),
            version=__version__,
            instance_id=found,
            region=settings.region,
        )


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work brings, None where the stop comes first."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return None
