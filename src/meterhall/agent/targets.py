"""What the service wants collected, as the collector's inventory sees it, and the poll that keeps it new."""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from meterhall.agent.channel import Channel, ChannelError, Patience
from meterhall.agent.reach import LOCALHOST
from meterhall.agent.state import StateDirectory
from meterhall.collect.complaints import Complaints
from meterhall.collect.fetch import FetchSettings
from meterhall.model.target import Endpoint, TargetReport
from meterhall.wire.agent_calls import AgentTargets

log = structlog.get_logger()


class TargetList:
    """Implements collector.Inventory. Set on the event loop, read on any thread."""

    def __init__(self, host_name: str, newest: AgentTargets | None) -> None:
        self._host_name = host_name
        self._newest = newest
        self._changes = 0
        self._moved = asyncio.Event()

    @property
    def changes(self) -> int:
        """Moves whenever the targets may have changed."""
        return self._changes

    @property
    def newest(self) -> AgentTargets | None:
        """What the service said last, None before it ever spoke."""
        return self._newest

    @property
    def page_bytes_max(self) -> int:
        """The service's cap on a page; before it spoke, what it usually is."""
        if self._newest is None:
            return FetchSettings().page_bytes_max
        return self._newest.limits.page_bytes_max

    async def changed(self) -> None:
        """Until the service says something new."""
        self._moved.clear()
        await self._moved.wait()

    def set(self, newest: AgentTargets) -> None:
        """Takes what the service says now."""
        self._newest = newest
        self._changes += 1
        self._moved.set()

    def scrape_targets(self, _regions: Collection[str]) -> Sequence[Endpoint]:
        """All of this host, by the collector's words."""
        if self._newest is None:
            return ()
        host_id = self._newest.host_id
        return [
            Endpoint(
                target.target_id,
                target.job,
                host_id,
                self._host_name,
                LOCALHOST,
                target.port,
                target.metrics_path,
                target.interval_ms,
                target.timeout_ms,
                target.builtin,
            )
            for target in self._newest.targets
        ]

    def save_reports(self, reports: Sequence[TargetReport]) -> None:
        """Outcomes travel with the scrapes themselves."""


class Follower:
    """Asks the service for changes, for ever. `contact` is called whenever it answered."""

    def __init__(
        self,
        channel: Channel,
        targets: TargetList,
        state: StateDirectory,
        complaints: Complaints,
        patience: Patience,
    ) -> None:
        self._channel = channel
        self._targets = targets
        self._state = state
        self._complaints = complaints
        self._patience = patience
        # What was kept may be another service's word: the first question is always for all of it.
        self._revision: str | None = None

    async def run(self, contact: Callable[[], None]) -> None:
        """Polls at the service's pace; between failures as patience says."""
        while True:
            try:
                newest = await self._channel.targets(self._revision)
            except ChannelError as error:
                self._complaints.say("targets cannot be asked for, the known ones go on", error)
                wait_s = self._patience.after(error)
            else:
                self._patience.succeeded()
                if newest is not None:
                    await self._take(newest)
                contact()
                known = self._targets.newest
                assert known is not None, "304 answers a revision, which came with the targets"
                wait_s = known.poll_seconds
            await asyncio.sleep(wait_s)

    async def _take(self, newest: AgentTargets) -> None:
        self._revision = newest.revision
        if newest == self._targets.newest:
            return
        self._targets.set(newest)
        log.info("targets.changed", targets=len(newest.targets))
        await asyncio.to_thread(self._state.keep_targets, newest)
