"""The pull loop: keeps one `TargetLoop` running for every target that the inventory names.

A follower asks the inventory's change counter once a second and, when it moved (or now and then anyway),
reads the targets and compares: new ones start, removed ones end with staleness markers, changed ones
restart, and all others are not touched. Outcomes are gathered and saved in batches. At the stop nothing is
marked stale: after a restart, series go on where they were.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import structlog

from meterhall.collect.addresses import Reach
from meterhall.collect.complaints import Complaints
from meterhall.collect.fetch import Fetcher, FetchSettings
from meterhall.collect.following import FollowSettings, follow
from meterhall.collect.reports import ReportKeeper
from meterhall.collect.targetloop import (
    Means,
    Meter,
    Session,
    TargetLoop,
    TargetState,
    by_job_and_instance,
)
from meterhall.model.target import Endpoint, ScrapeTarget, TargetReport
from meterhall.model.tenant import Tenant
from meterhall.ports.clock import Clock

log = structlog.get_logger()

T = TypeVar("T")
# A ScrapeTarget in the service, an Endpoint where nobody knows whose it is: in a host's agent.
Target = TypeVar("Target", bound=Endpoint)
Target_co = TypeVar("Target_co", bound=Endpoint, covariant=True)


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """How collection runs. A fetch holds one of `concurrent_max` slots until its page is appended."""

    concurrent_max: int = 1000
    worker_threads: int = 2
    follow: FollowSettings = field(default_factory=FollowSettings)
    report_flush_s: float = 1.0
    report_refresh_s: float = 60.0
    complaint_interval_s: float = 60.0
    fetch: FetchSettings = field(default_factory=FetchSettings)


class Inventory(Protocol[Target_co]):
    """The part of `control.inventory.Inventory` that collection needs. Its calls run on worker threads."""

    @property
    def changes(self) -> int:
        """A number that moves whenever the targets may have changed. Costs nothing."""
        ...

    def scrape_targets(self, regions: Collection[str]) -> Sequence[Target_co]:
        """Every target of these regions that is collected from here."""
        ...

    def save_reports(self, reports: Sequence[TargetReport]) -> None:
        """Stores outcomes; those of targets that are gone are ignored."""
        ...


@dataclass(frozen=True, slots=True)
class Collaborators(Generic[Target]):
    """Everything outside this room that collection works with.

    `open_session` begins a target's series, `host_page` renders this machine's own metrics; both are
    called on worker threads.
    """

    inventory: Inventory[Target]
    open_session: Callable[[Target], Session]
    host_page: Callable[[], bytes]
    clock: Clock
    meter: Meter


class Collector(Generic[Target]):
    """Runs between `start` and `stop`, on one event loop."""

    def __init__(
        self,
        regions: Collection[str],
        collaborators: Collaborators[Target],
        reach: Reach,
        settings: CollectSettings,
    ) -> None:
        self._regions = regions
        self._with = collaborators
        self._reach = reach
        self._settings = settings
        self._complaints = Complaints(settings.complaint_interval_s, collaborators.clock)
        self._reports = ReportKeeper(
            self._save, settings.report_refresh_s, collaborators.clock, self._complaints
        )
        self._running: dict[str, tuple[TargetLoop, asyncio.Task[None]]] = {}
        # Whoever adds a target wants to see at once whether it works; the targets that are there at the
        # start wait for their ticks, or a restart would be a burst.
        self._loaded = False
        self._services: list[asyncio.Task[None]] = []
        self._workers = ThreadPoolExecutor(settings.worker_threads, thread_name_prefix="collect")
        # The host's metrics and the database block for reasons of their own; neither may hold up pages.
        self._host_worker = ThreadPoolExecutor(1, thread_name_prefix="hostmetrics")
        self._control_worker = ThreadPoolExecutor(1, thread_name_prefix="collect-control")
        self._means: Means | None = None

    async def start(self) -> None:
        """Begins to follow the inventory; returns at once."""
        self._means = Means(
            fetcher=Fetcher(self._reach, self._settings.fetch, self._workers),
            workers=self._workers,
            host_worker=self._host_worker,
            host_page=self._with.host_page,
            slots=asyncio.Semaphore(self._settings.concurrent_max),
            clock=self._with.clock,
            journal=self,
            meter=self._with.meter,
        )
        self._services = [
            asyncio.create_task(self._follow(), name="collect: follow inventory"),
            asyncio.create_task(
                self._reports.run(self._settings.report_flush_s), name="collect: save reports"
            ),
        ]

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Stops collecting. Appends in hand are finished, outcomes saved, nothing is marked stale."""
        try:
            async with asyncio.timeout(timeout_s):
                await _cancelled(self._services)
                await _cancelled([task for _, task in self._running.values()])
                await self._reports.flush()
        except TimeoutError:
            log.warning("collection did not stop in time", timeout_s=timeout_s)
        if self._means is not None:
            await self._means.fetcher.close()
        for pool in (self._workers, self._host_worker, self._control_worker):
            pool.shutdown(wait=False, cancel_futures=True)

    def targets(self, tenant: Tenant) -> list[TargetState]:
        """The tenant's targets as they stand now, for /api/v1/targets, by job and instance.

        May be called on any thread: the running loops are copied in one step, and a state never changes.
        """
        states = [loop.state for loop, _ in list(self._running.values())]
        own = [state for state in states if _owner(state.target) == tenant]
        return sorted(own, key=by_job_and_instance)

    # What the target loops tell (targetloop.Journal).

    def collected(self, report: TargetReport) -> None:
        """Takes an outcome that is on disk."""
        if report.target_id in self._running:
            self._reports.put(report)

    def store_unavailable(self, target: Endpoint, error: Exception) -> None:
        """A collection could not be stored; the next tick tries again."""
        self._complaints.say(
            "store unavailable, collections cannot be kept", error, target=target.target_id
        )

    # Following the inventory.

    async def _follow(self) -> None:
        inventory, clock = self._with.inventory, self._with.clock
        await follow(
            lambda: inventory.changes, self._reload, self._settings.follow, clock, self._complaints
        )

    async def _reload(self) -> None:
        await self._apply(
            await self._on_control(lambda: self._with.inventory.scrape_targets(self._regions))
        )

    async def _apply(self, targets: Sequence[Target]) -> None:
        """Makes what runs equal to `targets`. Series are ended before their successors begin."""
        wanted = {target.target_id: target for target in targets}
        ended = [
            target_id
            for target_id, (loop, _) in self._running.items()
            if target_id not in wanted
            or loop.target.series_identity != wanted[target_id].series_identity
        ]
        await asyncio.gather(*(self._end(target_id) for target_id in ended))
        for target_id, target in wanted.items():
            known = self._running.get(target_id)
            if known is None:
                await self._begin(target, None, at_once=target.builtin or self._loaded)
            elif known[0].target != target:
                # Only pace, path or address changed: the session goes on, so that there is no gap, and
                # marks what the next page does not have any more.
                await _cancelled([known[1]])
                await self._begin(target, known[0], at_once=False)
        self._loaded = True

    async def _begin(self, target: Target, before: TargetLoop | None, *, at_once: bool) -> None:
        assert self._means is not None, "collection has not been started"
        if before is not None:
            loop = TargetLoop(target, before.session, self._means, before.state)
        else:
            session = await asyncio.get_running_loop().run_in_executor(
                self._workers, self._with.open_session, target
            )
            loop = TargetLoop(target, session, self._means)
        task = asyncio.create_task(loop.run(at_once=at_once), name=f"collect {target.target_id}")
        self._running[target.target_id] = (loop, task)

    async def _end(self, target_id: str) -> None:
        loop, task = self._running.pop(target_id)
        self._reports.forget(target_id)
        await _cancelled([task])
        await loop.end()

    async def _save(self, reports: Sequence[TargetReport]) -> None:
        await self._on_control(lambda: self._with.inventory.save_reports(reports))

    async def _on_control(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._control_worker, call)


def _owner(target: Endpoint) -> Tenant | None:
    return target.tenant if isinstance(target, ScrapeTarget) else None


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
