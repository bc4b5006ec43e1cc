"""One target's loop with means that are set up by hand: what the collector's tests cannot provoke."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.collect.clocks import RealClock
from tests.collect.conftest import make_target
from tests.collect.exporters import until
from tests.collect.servers import raw, response, serving

from meterhall.collect.addresses import AddressPolicy
from meterhall.collect.fetch import Fetcher, FetchSettings
from meterhall.collect.targetloop import Means, TargetLoop
from meterhall.telemetry.scrapes import ScrapeMeter


@dataclass
class Kept:
    """What a session was told, with futures that the test completes."""

    told: list = field(default_factory=list)
    futures: list = field(default_factory=list)
    hold: threading.Event | None = None

    def commit_page(self, body, content_type, start_ms, duration_s):
        if self.hold is not None:
            self.hold.wait(10)
        return self._committed(("page", body, content_type))

    def commit_failure(self, start_ms, duration_s, failure):
        return self._committed(("failure", failure.reason))

    def end(self, time_ms):
        committed = self._committed(("end", time_ms))
        committed.durable.set_result(None)
        return committed

    def _committed(self, what):
        self.told.append(what)
        self.error = None
        self.durable = Future()
        self.futures.append(self.durable)
        return self


class Journal:
    def __init__(self):
        self.reports = []

    def collected(self, report):
        self.reports.append(report)

    def store_unavailable(self, target, error):
        raise AssertionError(error)


def run(scenario, target, session, host_page=lambda: b"up_since 1\n"):
    """Runs one loop beside the scenario(loop, journal, task)."""

    async def everything():
        workers, host_worker = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        fetcher = Fetcher(AddressPolicy(allow_loopback=True), FetchSettings(), workers)
        journal = Journal()
        means = Means(
            *(fetcher, workers, host_worker, host_page, asyncio.Semaphore(10), RealClock()),
            *(journal, ScrapeMeter()),
        )
        loop = TargetLoop(target, session, means)
        task = asyncio.create_task(loop.run())
        try:
            await asyncio.wait_for(scenario(loop, journal, task), 30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await fetcher.close()
            workers.shutdown()
            host_worker.shutdown()

    asyncio.run(everything())


def test_nothing_is_reported_before_it_is_on_disk():
    async def scenario(loop, journal, task):
        await until(lambda: session.futures)
        await asyncio.sleep(0.05)
        assert journal.reports == []
        assert loop.state.last_scrape_ms is None
        session.futures[0].set_result(None)
        await until(lambda: journal.reports)
        assert loop.state.health == "up"

    session = Kept()
    run(scenario, make_target(builtin=True), session)
    assert session.told[0] == ("page", b"up_since 1\n", "text/plain; version=0.0.4; charset=utf-8")


def test_a_cancelled_loop_never_cancels_the_stores_future():
    async def scenario(loop, journal, task):
        await until(lambda: session.futures)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not session.futures[0].cancelled()
        session.futures[0].set_result(None)

    session = Kept()
    run(scenario, make_target(builtin=True), session)


def test_a_cancelled_loop_waits_for_the_commit_in_hand():
    async def scenario(loop, journal, task):
        async with serving(raw(response(b"a 1\n"))) as port:
            target = make_target(port=port)
            loop = TargetLoop(target, session, loop._means)
            task = asyncio.create_task(loop.run())
            # The commit has taken the worker thread and hangs there.
            await until(
                lambda: loop._means.workers._work_queue.qsize() == 0 and loop._last_start_ms
            )
            await asyncio.sleep(0.1)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=0.1)
            assert not done
            session.hold.set()
            await asyncio.wait([task])
            assert session.told == [("page", b"a 1\n", "text/plain")]
            await loop.end()
            assert session.told[-1][0] == "end"
            assert session.told[-1][1] > loop._last_start_ms

    session = Kept(hold=threading.Event())
    idle = make_target(interval_ms=3_600_000)
    run(scenario, idle, session)


def test_a_hanging_file_system_costs_the_host_page_only():
    released = threading.Event()

    def host_page():
        released.wait(20)
        return b""

    async def scenario(loop, journal, task):
        await until(lambda: session.told)
        session.futures[0].set_result(None)
        await until(lambda: journal.reports)
        report = journal.reports[0]
        assert (report.status, report.result_code) == ("UNREACHABLE", -2)
        assert report.fail_reason == "the host's own metrics took too long"
        released.set()

    session = Kept()
    run(scenario, make_target(builtin=True, timeout_ms=100), session, host_page)
    assert session.told[0] == ("failure", "the host's own metrics took too long")
