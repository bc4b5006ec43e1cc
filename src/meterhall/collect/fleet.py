"""The hosts whose agents collect: what each is to collect, what it reports, and whether it is heard at all.

Everything is answered from memory, because thousands of agents ask every few seconds. Like the collector it
follows the inventory; unlike it, nothing runs for a target until its agent reports. The event loop owns all
of this: a host's lanes are touched by one piece of work at a time, on a worker thread, under the host's lock.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

import structlog

from meterhall.collect.complaints import Complaints
from meterhall.collect.following import FollowSettings, follow, guarded
from meterhall.collect.lane import Lane, Reported, Sessions, Taken
from meterhall.collect.reports import ReportKeeper
from meterhall.collect.targetloop import TargetState, by_job_and_instance
from meterhall.model.errors import BadInput, Overloaded, StoreError
from meterhall.model.samples import TOO_FAR_AHEAD
from meterhall.model.target import (
    RESULT_CONNECT,
    AgentHost,
    MonitoringStatus,
    ScrapeTarget,
    TargetReport,
)
from meterhall.model.tenant import Tenant
from meterhall.ports.clock import Clock
from meterhall.telemetry.metrics import AGENTS, AGENTS_SILENT, BACKFILLS

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How agents are heard. A target whose agent is silent for `silent_intervals` of it is stopped."""

    poll_s: float = 5.0
    silent_intervals: int = 3
    sweep_s: float = 1.0
    # A back-fill that rests for so long is taken to be complete.
    filling_idle_s: float = 60.0
    ahead_ms_max: int = 600_000
    report_flush_s: float = 1.0
    report_refresh_s: float = 60.0
    complaint_interval_s: float = 60.0
    follow: FollowSettings = field(default_factory=FollowSettings)


class Inventory(Protocol):
    """The part of the control plane that agents need. Its calls run on a worker thread."""

    @property
    def changes(self) -> int:
        """A number that moves whenever the targets may have changed. Costs nothing."""
        ...

    def agent_hosts(self, regions: Collection[str]) -> Sequence[AgentHost]:
        """Every host of these regions that has an agent."""
        ...

    def save_reports(self, reports: Sequence[TargetReport]) -> None:
        """Stores outcomes; those of targets that are gone are ignored."""
        ...

    def note_silence(self, since_ms: Mapping[str, int | None]) -> None:
        """Keeps since when hosts' agents have not been heard."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch: scrapes that were appended, and those, by their place, that never can be.

    `known` counts those that are on disk already. It may be acknowledged when all `durable` are done.
    """

    taken: Sequence[tuple[Lane, Taken]]
    known: int
    refused: Mapping[int, str]

    @property
    def durable(self) -> list[Future[None]]:
        """What to wait for."""
        return [taken.committed.durable for _, taken in self.taken]


class FleetHost:
    """One host. Hold `lock` around `take`."""

    def __init__(self, host: AgentHost, heard_s: float) -> None:
        self.host = host
        self.lock = asyncio.Lock()
        self.lanes: dict[str, Lane] = {}
        self.targets = {target.target_id: target for target in host.targets}
        self.heard_ms = host.heard_ms
        self.heard_s = heard_s
        self.filled_s = 0.0
        self.is_silent = host.is_silent

    def silent_s(self, now_s: float) -> float:
        """For how long nothing has been heard."""
        return now_s - self.heard_s


class Fleet:
    """Runs between `start` and `stop`, on one event loop."""

    def __init__(
        self,
        regions: Collection[str],
        inventory: Inventory,
        sessions: Sessions,
        clock: Clock,
        settings: FleetSettings,
    ) -> None:
        self._regions = regions
        self._inventory = inventory
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._complaints = Complaints(settings.complaint_interval_s, clock)
        self._reports = ReportKeeper(self._save, settings.report_refresh_s, clock, self._complaints)
        self._hosts: dict[str, FleetHost] = {}
        # Silence that is not in the database yet.
        self._unsaid: dict[str, int | None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._control_worker = ThreadPoolExecutor(1, thread_name_prefix="fleet-control")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fleet")
        self._swept_s: float | None = None

    async def start(self) -> None:
        """Begins to follow the inventory; returns when the hosts of now are known, if they can be read."""
        await guarded(self._reload, "cannot read the inventory", self._complaints)
        settings = self._settings
        following = follow(
            lambda: self._inventory.changes,
            self._reload,
            settings.follow,
            self._clock,
            self._complaints,
        )
        self._tasks = [
            asyncio.create_task(following, name="fleet: follow inventory"),
            asyncio.create_task(
                self._reports.run(settings.report_flush_s), name="fleet: save reports"
            ),
            asyncio.create_task(self._sweep_for_ever(), name="fleet: sweep"),
        ]

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Saves what is known. Nothing is marked stale: after a restart, series go on where they were."""
        try:
            async with asyncio.timeout(timeout_s):
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._reports.flush()
        except TimeoutError:
            log.warning("the fleet did not stop in time", timeout_s=timeout_s)
        for pool in (self._control_worker, self._worker):
            pool.shutdown(wait=False, cancel_futures=True)

    def hear(self, host_id: str) -> FleetHost:
        """The host of an agent that calls. Raises Overloaded where it is so new that it is not known yet."""
        host = self._hosts.get(host_id)
        if host is None:
            raise Overloaded("the host is being made known; try again", 1)
        host.heard_s = self._clock.monotonic()
        host.heard_ms = self._clock.now_ms()
        if host.is_silent:
            self._note(host, silent=False)
        return host

    def take(self, host: FleetHost, scrapes: Sequence[tuple[str, Reported]]) -> Receipt:
        """Hands scrapes of (target id, what was reported) to the store. Runs on a worker thread.

        The caller holds the host's lock, and calls `settle` when all is on disk. Raises StoreUnavailable: some
        may be stored then, and come again.
        """
        taken: list[tuple[Lane, Taken]] = []
        refused: dict[int, str] = {}
        known = 0
        ahead_ms = self._clock.now_ms() + self._settings.ahead_ms_max
        for place, (target_id, reported) in enumerate(scrapes):
            target = host.targets.get(target_id)
            if target is None:
                refused[place] = "the host has no such target"
                continue
            if reported.time_ms > ahead_ms:
                refused[place] = TOO_FAR_AHEAD
                continue
            lane = host.lanes.get(target_id)
            if lane is None:
                lane = host.lanes[target_id] = Lane(target, self._sessions)
            if lane.knows(reported.time_ms):
                known += 1
                continue
            try:
                one = lane.take(reported)
            except BadInput as error:
                refused[place] = str(error)
                continue
            if not one.committed.accepted and one.committed.refused:
                refused[place] = next(iter(one.committed.refused))
            taken.append((lane, one))
        return Receipt(taken, known, refused)

    def settle(self, host: FleetHost, receipt: Receipt) -> None:
        """The batch is on disk: shows and reports what it told."""
        for lane, taken in receipt.taken:
            lane.settle(taken)
            if taken.report is None:
                host.filled_s = self._clock.monotonic()
            elif lane.target.target_id in host.targets:
                self._reports.put(taken.report)

    def targets(self, tenant: Tenant) -> list[TargetState]:
        """The tenant's targets as they stand now, by job and instance. May be called on any thread."""
        states = []
        for host in list(self._hosts.values()):
            if host.host.tenant != tenant:
                continue
            for target_id, target in list(host.targets.items()):
                lane = host.lanes.get(target_id)
                states.append(lane.state if lane else TargetState(target, "unknown", None, 0.0, ""))
        return sorted(states, key=by_job_and_instance)

    # Following the inventory.

    async def _reload(self) -> None:
        hosts = await self._on(
            self._control_worker, lambda: self._inventory.agent_hosts(self._regions)
        )
        wanted = {host.host_id: host for host in hosts}
        for host_id in [known for known in self._hosts if known not in wanted]:
            gone = self._hosts.pop(host_id)
            self._unsaid.pop(host_id, None)
            await self._retarget(gone, ())
        for host in hosts:
            known = self._hosts.get(host.host_id)
            if known is None:
                self._hosts[host.host_id] = FleetHost(host, self._clock.monotonic())
            elif known.host.targets != host.targets:
                await self._retarget(known, host.targets)
                known.host = host
        AGENTS.set(len(self._hosts))

    async def _retarget(self, host: FleetHost, targets: Sequence[ScrapeTarget]) -> None:
        """Series of targets that are gone or became others end; all others go on."""
        wanted = {target.target_id: target for target in targets}
        async with host.lock:
            host.targets = wanted
            for target_id, lane in list(host.lanes.items()):
                target = wanted.get(target_id)
                if target is not None and target.series_identity == lane.target.series_identity:
                    lane.retarget(target)
                    continue
                del host.lanes[target_id]
                if target is None:
                    self._reports.forget(target_id)
                await self._finish(lane.end_filling)
                await self._finish(partial(lane.end, self._clock.now_ms()))

    # Silence.

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            await guarded(self._sweep, "cannot see to silent agents", self._complaints)

    async def _sweep(self) -> None:
        now_s = self._clock.monotonic()
        deaf_s = 0.0 if self._swept_s is None else now_s - self._swept_s - self._settings.sweep_s
        self._swept_s = now_s
        silent_after_s = self._settings.silent_intervals * self._settings.poll_s
        filling, silent = 0, []
        for host in list(self._hosts.values()):
            if deaf_s > self._settings.sweep_s:
                # We could not hear anyone while we were held up ourselves.
                host.heard_s = min(now_s, host.heard_s + deaf_s)
            lanes = [lane for lane in host.lanes.values() if lane.is_filling]
            filling += len(lanes)
            if lanes and now_s - host.filled_s >= self._settings.filling_idle_s:
                await self._end_filling(host, lanes)
            if host.silent_s(now_s) >= silent_after_s:
                silent.append(host)
        # Together, so that they share the disk's fsync.
        await asyncio.gather(*(self._stop_silent(host) for host in silent))
        BACKFILLS.set(filling)
        AGENTS_SILENT.set(sum(host.is_silent for host in self._hosts.values()))
        await self._save_silence()

    async def _end_filling(self, host: FleetHost, lanes: Sequence[Lane]) -> None:
        async with host.lock:
            for lane in lanes:
                await self._finish(lane.end_filling)

    async def _stop_silent(self, host: FleetHost) -> None:
        """Stops the targets whose agent has been silent for long enough for their own interval."""
        async with host.lock:
            for target in list(host.targets.values()):
                limit_s = self._settings.silent_intervals * target.interval_ms / 1000
                lane = host.lanes.get(target.target_id)
                if host.silent_s(self._clock.monotonic()) < limit_s or (lane and lane.stopped):
                    continue
                if lane is None:
                    lane = host.lanes[target.target_id] = Lane(target, self._sessions)
                report = _stopped(target.target_id, host.heard_ms, self._clock.now_ms())
                await self._finish(partial(lane.stop, report))
                self._reports.put(report)
                if not host.is_silent:
                    self._note(host, silent=True)

    def _note(self, host: FleetHost, *, silent: bool) -> None:
        host.is_silent = silent
        self._unsaid[host.host.host_id] = host.heard_ms if silent else None
        event = "agent is silent" if silent else "agent is heard again"
        log.info(event, host=host.host.host_id)

    async def _save_silence(self) -> None:
        if not self._unsaid:
            return
        said, self._unsaid = self._unsaid, {}
        try:
            await self._on(self._control_worker, lambda: self._inventory.note_silence(said))
        except BaseException:
            self._unsaid = said | self._unsaid
            raise

    # Work on other threads.

    async def _save(self, reports: Sequence[TargetReport]) -> None:
        await self._on(self._control_worker, lambda: self._inventory.save_reports(reports))

    async def _finish(self, work: Callable[[], Future[None] | None]) -> None:
        """Has markers written. A store that takes none now costs the markers and nothing else."""
        try:
            durable = await self._on(self._worker, work)
            if durable is not None:
                await asyncio.shield(asyncio.wrap_future(durable))
        except (StoreError, Overloaded) as error:
            self._complaints.say("cannot mark series stale", error)

    async def _on(self, pool: Executor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, call)


def _stopped(target_id: str, heard_ms: int, now_ms: int) -> TargetReport:
    since = datetime.fromtimestamp(heard_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reason = f"the host's agent has not been heard since {since}"
    return TargetReport(target_id, MonitoringStatus.STOPPED, RESULT_CONNECT, reason, now_ms)
