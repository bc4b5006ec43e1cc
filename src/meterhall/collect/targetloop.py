"""One target's life: wait for the tick, get the page, have it stored, say what became of it.

Each target is one task. It waits and fetches on the event loop; parsing and appending run on worker
threads; a collection counts (lastScrape, NORMAL) only when the store says that it is on disk. Whatever
fails in one round is this round's outcome: the loop goes on at the next tick.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

import structlog

from meterhall.collect import status
from meterhall.collect.addresses import AddressRefused, target_url
from meterhall.collect.fetch import Failure, FailureKind, Fetcher, Page
from meterhall.collect.schedule import Pace, Tick
from meterhall.model.errors import (
    ExpositionError,
    LimitExceeded,
    Overloaded,
    StoreError,
    TooLarge,
)
from meterhall.model.target import Endpoint, TargetReport
from meterhall.ports.clock import Clock

log = structlog.get_logger()

T = TypeVar("T")
Health = Literal["up", "down", "unknown"]

HOST_PAGE_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Committed(Protocol):
    """What ingestion says of one collection: why the page was refused, and when it is on disk."""

    @property
    def error(self) -> ExpositionError | TooLarge | LimitExceeded | None: ...

    @property
    def durable(self) -> Future[None]: ...


class Session(Protocol):
    """Where a target's pages go: `ingest.scrape.ScrapeSession`, or an agent's spool. Called on worker threads."""

    def commit_page(
        self, body: bytes, content_type: str, start_ms: int, duration_s: float
    ) -> Committed: ...

    def commit_failure(
        self, start_ms: int, duration_s: float, failure: Failure, /
    ) -> Committed: ...

    def end(self, time_ms: int) -> Committed: ...


class Journal(Protocol):
    """Where outcomes go."""

    def collected(self, report: TargetReport) -> None: ...

    def store_unavailable(self, target: Endpoint, error: Exception) -> None: ...


class Meter(Protocol):
    """Who counts collections: `telemetry.scrapes` for the operator of a service, nobody on a host."""

    def began_late(self, seconds: float) -> None: ...

    def took(self, seconds: float) -> None: ...

    def came_to(self, outcome: str) -> None: ...


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target and its newest collection, for /api/v1/targets. `last_scrape_ms` is None before it."""

    target: Endpoint
    health: Health
    last_scrape_ms: int | None
    last_duration_s: float
    last_error: str

    @property
    def scrape_url(self) -> str:
        """What is fetched; `builtin:` and the path where nothing is."""
        target = self.target
        if target.builtin:
            return f"builtin:{target.metrics_path}"
        try:
            return target_url(target.address, target.port, target.metrics_path)
        except AddressRefused:
            return ""


def by_job_and_instance(state: TargetState) -> tuple[str, str, int, str]:
    """The order in which targets are shown."""
    target = state.target
    return target.job, target.host_name, target.port, target.target_id


@dataclass(frozen=True, slots=True)
class Means:
    """What all loops share. `host_page` renders this machine's own metrics and may block."""

    fetcher: Fetcher
    workers: Executor
    host_worker: Executor
    host_page: Callable[[], bytes]
    slots: asyncio.Semaphore
    clock: Clock
    journal: Journal
    meter: Meter


@dataclass(frozen=True, slots=True)
class _Done:
    """A collection that was appended, but may not be on disk yet. `failure` is None if it was fine."""

    start_ms: int
    duration_s: float
    failure: Failure | None
    durable: Future[None]


class TargetLoop:
    """Collects one target until it is cancelled. `before` is the state that another loop left it in."""

    def __init__(
        self,
        target: Endpoint,
        session: Session,
        means: Means,
        before: TargetState | None = None,
    ) -> None:
        self._session = session
        self._means = means
        self._pace = Pace.of(target.target_id, target.interval_ms)
        if before is None:
            before = TargetState(target, "unknown", None, 0.0, "")
        self._last_start_ms = before.last_scrape_ms or 0
        self.state = replace(before, target=target)

    @property
    def target(self) -> Endpoint:
        """What is collected."""
        return self.state.target

    @property
    def session(self) -> Session:
        """The target's series as ingestion knows them; outlives this loop where they stay the same."""
        return self._session

    async def run(self, *, at_once: bool = False) -> None:
        """Collects at every tick, for ever; `at_once` adds one collection before the first tick.

        Cancelling it waits for a commit in hand.
        """
        clock = self._means.clock
        last_start_s: float | None = None
        finishing: asyncio.Task[None] | None = None
        try:
            while True:
                now_ms, now_s = clock.now_ms(), clock.monotonic()
                tick = Tick(now_ms, now_s)
                if not at_once:
                    tick = self._pace.next_tick(now_ms, now_s, last_start_s)
                await asyncio.sleep(max(0.0, tick.start_s - now_s))
                async with self._means.slots:
                    start_s = clock.monotonic()
                    self._means.meter.began_late(max(0.0, start_s - tick.start_s))
                    start_ms = self._pace.timestamp_ms(tick, clock.now_ms())
                    done = await self._guarded(self._collect(start_ms))
                # The first tick stands, however soon it follows the collection before it.
                last_start_s, at_once = (None if at_once else start_s), False
                # A slow disk costs neither a slot nor, while it takes less than an interval, a tick.
                if finishing is not None:
                    await finishing
                finishing = asyncio.create_task(self._guarded(self._finish(done))) if done else None
        finally:
            if finishing is not None:
                finishing.cancel()
                await asyncio.gather(finishing, return_exceptions=True)

    async def end(self) -> None:
        """Marks all series of the target stale, for a target that was removed or became another."""
        time_ms = max(self._means.clock.now_ms(), self._last_start_ms + 1)
        try:
            committed = await self._on_worker(lambda: self._session.end(time_ms))
            await _settled(committed.durable)
        except (StoreError, Overloaded) as error:
            self._means.journal.store_unavailable(self.target, error)

    async def _guarded(self, step: Coroutine[Any, Any, T]) -> T | None:
        """Takes one step of a round; whatever goes wrong in it ends with it."""
        try:
            return await step
        except (StoreError, Overloaded) as error:
            self._store_failed(error)
        except Exception:
            # One target's bug must not end its collection, nor anyone else's.
            self._means.meter.came_to("internal_error")
            log.exception("collection failed", target=self.target.target_id)
        return None

    async def _collect(self, start_ms: int) -> "_Done":
        clock = self._means.clock
        started_s = clock.monotonic()
        self._last_start_ms = start_ms
        async with self._page() as outcome:
            duration_s = clock.monotonic() - started_s
            committed = await self._on_worker(lambda: self._commit(outcome, start_ms, duration_s))
        self._means.meter.took(clock.monotonic() - started_s)
        failure = outcome if isinstance(outcome, Failure) else None
        if committed.error is not None:
            failure = status.page_failure(committed.error)
        return _Done(start_ms, duration_s, failure, committed.durable)

    async def _finish(self, done: "_Done") -> None:
        """Waits for the disk, then shows and reports the outcome."""
        await _settled(done.durable)
        failure = done.failure
        report = status.report(self.target.target_id, failure, done.start_ms)
        self.state = TargetState(
            self.target,
            "up" if failure is None else "down",
            done.start_ms,
            done.duration_s,
            report.fail_reason or "",
        )
        self._means.meter.came_to("ok" if failure is None else failure.kind.value)
        self._means.journal.collected(report)

    def _commit(self, outcome: Page | Failure, start_ms: int, duration_s: float) -> Committed:
        if isinstance(outcome, Failure):
            return self._session.commit_failure(start_ms, duration_s, outcome)
        return self._session.commit_page(outcome.body, outcome.content_type, start_ms, duration_s)

    @asynccontextmanager
    async def _page(self) -> AsyncIterator[Page | Failure]:
        if self.target.builtin:
            yield await self._host_page()
        else:
            async with self._means.fetcher.fetch(self.target) as outcome:
                yield outcome

    async def _host_page(self) -> Page | Failure:
        """This machine's metrics. A file system that hangs costs the page, not the worker threads."""
        rendering = asyncio.get_running_loop().run_in_executor(
            self._means.host_worker, self._means.host_page
        )
        try:
            async with asyncio.timeout(self.target.timeout_ms / 1000):
                return Page(await rendering, HOST_PAGE_CONTENT_TYPE)
        except TimeoutError:
            return Failure(FailureKind.TIMEOUT, "the host's own metrics took too long")

    def _store_failed(self, error: Exception) -> None:
        self._means.meter.came_to("store_unavailable")
        self.state = replace(self.state, last_error="store unavailable")
        self._means.journal.store_unavailable(self.target, error)

    async def _on_worker(self, work: Callable[[], T]) -> T:
        """Runs on a worker thread; a cancellation waits for the work, which cannot be undone."""
        running = asyncio.get_running_loop().run_in_executor(self._means.workers, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise


async def _settled(durable: Future[None]) -> None:
    """Waits for a future of the store without ever cancelling it: others wait for the same one."""
    await asyncio.shield(asyncio.wrap_future(durable))
