"""The pool: turns between tenants, ceilings, departure of the caller."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from meterhall.app.clock import SystemClock
from meterhall.control.access import issue_tenant
from meterhall.model.errors import Overloaded, QueryCanceled, QueryError, QueryTimeout
from meterhall.web.prometheus.runner import Runner, RunnerSettings

A, B = issue_tenant("kr", "a"), issue_tenant("kr", "b")


@pytest.fixture
def pool():
    opened = []

    def make(**settings) -> Runner:
        opened.append(Runner(RunnerSettings(**settings), SystemClock(), "test"))
        return opened[-1]

    yield make
    for runner in opened:
        runner.close()


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited happens on a thread
            await asyncio.sleep(0.002)


def test_work_returns_and_raises_where_it_is_awaited(pool):
    runner = pool()

    async def main():
        assert await runner.run(A, lambda ticket: ticket.timeout_s) == 120.0
        with pytest.raises(ZeroDivisionError):
            await runner.run(A, lambda _: 1 // 0)

    asyncio.run(main())


def test_an_answer_is_held_back_until_what_it_rests_on_is_done(pool):
    runner = pool(concurrency=1)

    async def asked(promise: Future[None]) -> asyncio.Task[str]:
        def work(ticket):
            ticket.hold_back(promise)
            return "done"

        task = asyncio.create_task(runner.run(A, work))
        # Whoever comes next finds the worker free, and the answer still held.
        assert await runner.run(A, lambda _: "next") == "next"
        assert not task.done()
        return task

    async def main():
        kept, broken = Future(), Future()
        waiting, failing = await asked(kept), await asked(broken)
        kept.set_result(None)
        assert await waiting == "done"
        broken.set_exception(OSError("disk full"))
        with pytest.raises(OSError, match="disk full"):
            await failing

    asyncio.run(main())


def test_tenants_take_turns(pool):
    runner = pool(concurrency=1)
    gate, order = threading.Event(), []

    async def main():
        first = asyncio.create_task(runner.run(A, lambda _: gate.wait(10)))
        await until(lambda: runner._begun)
        rest = [
            asyncio.create_task(runner.run(tenant, lambda _, n=name: order.append(n)))
            for tenant, name in [(A, "a1"), (A, "a2"), (A, "a3"), (B, "b1"), (B, "b2")]
        ]
        await until(lambda: runner._waiting_count == 5)
        gate.set()
        await asyncio.gather(first, *rest)

    asyncio.run(main())
    assert order == ["a1", "b1", "a2", "b2", "a3"]


def test_one_tenant_cannot_hold_every_worker(pool):
    runner = pool(concurrency=4, tenant_concurrency=2)
    gate = threading.Event()

    async def main():
        hogs = [asyncio.create_task(runner.run(A, lambda _: gate.wait(10))) for _ in range(6)]
        await until(lambda: runner._running.get(A) == 2)
        assert await runner.run(B, lambda _: "b") == "b"
        assert runner._running.get(A) == 2
        gate.set()
        await asyncio.gather(*hogs)

    asyncio.run(main())


def test_the_worker_that_fell_idle_last_is_woken_first(pool):
    runner = pool(concurrency=4)

    async def main():
        workers = set()
        for _ in range(8):
            await until(lambda: len(runner._idle) == 4)
            workers.add(await runner.run(A, lambda _: threading.get_ident()))
        assert len(workers) == 1

    asyncio.run(main())


def test_long_work_does_not_keep_short_work_waiting(pool):
    runner = pool(concurrency=2)
    gate = threading.Event()

    async def main():
        long = asyncio.create_task(runner.run(A, lambda _: gate.wait(10)))
        await until(lambda: runner._begun)
        assert await asyncio.wait_for(runner.run(A, lambda _: "short"), 5) == "short"
        gate.set()
        await long

    asyncio.run(main())


def test_a_full_queue_refuses(pool):
    runner = pool(concurrency=1, tenant_waiting_max=1)
    gate = threading.Event()

    async def main():
        running = asyncio.create_task(runner.run(A, lambda _: gate.wait(10)))
        await until(lambda: runner._begun)
        waiting = asyncio.create_task(runner.run(A, lambda _: None))
        await until(lambda: runner._waiting_count)
        with pytest.raises(Overloaded):
            await runner.run(A, lambda _: None)
        gate.set()
        await asyncio.gather(running, waiting)

    asyncio.run(main())


def departing(gone: asyncio.Event):
    """An ASGI receive whose client leaves when `gone` is set."""

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


def spin(ticket):
    """Computes until its budget stops it."""
    budget = ticket.budget(60)
    while True:
        budget.check()


def test_departure_cancels_running_and_waiting_work(pool):
    runner = pool(concurrency=1)
    ran = []

    async def main():
        first_gone, second_gone = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(runner.run(A, spin, departing(first_gone)))
        await until(lambda: runner._begun)
        work = runner.run(A, lambda _: ran.append(1), departing(second_gone))
        waiting = asyncio.create_task(work)
        await until(lambda: runner._waiting_count)
        second_gone.set()
        (ticket,) = runner._waiting[A]
        await until(lambda: ticket._canceled)
        first_gone.set()
        for task in (running, waiting):
            with pytest.raises(QueryCanceled):
                await asyncio.wait_for(task, 10)

    asyncio.run(main())
    assert not ran


def test_time_in_the_queue_counts(pool):
    runner = pool(timeout_s=0.05, concurrency=1)
    gate = threading.Event()

    async def main():
        running = asyncio.create_task(runner.run(A, lambda _: gate.wait(10)))
        await until(lambda: runner._begun)
        late = asyncio.create_task(runner.run(A, lambda _: None))
        await asyncio.sleep(0.1)
        gate.set()
        await running
        with pytest.raises(QueryTimeout, match="query queue"):
            await late
        with pytest.raises(QueryError, match="context deadline exceeded"):
            await runner.run(A, lambda ticket: ticket.budget(0))

    asyncio.run(main())


def test_memory_of_a_query_is_given_back_when_it_is_over(pool):
    runner = pool(arrays_bytes_max=800)

    def reserve(ticket):
        ticket.budget(10).reserve(1, 100)
        raise QueryError("over")

    async def main():
        for _ in range(3):
            with pytest.raises(QueryError, match="over"):
                await runner.run(A, reserve)
        with pytest.raises(Overloaded):
            await runner.run(A, lambda ticket: ticket.budget(10).reserve(1, 101))

    asyncio.run(main())
