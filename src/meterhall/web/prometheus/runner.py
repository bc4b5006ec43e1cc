"""Worker threads for everything that computes, shared fairly between tenants.

A ticket is one request's work. Tickets wait in a queue of their tenant; a free worker takes the next tenant in
turn, so a tenant that asks a thousand times waits behind itself and not before others. No tenant holds more
than `tenant_concurrency` workers, so that long queries of one leave workers to the rest. Where the caller goes
away the ticket is canceled: a waiting one never runs, a running one stops at its budget's next check.

Workers are woken sparingly. Threads that all compute for 100 µs only hand the interpreter's lock to and fro, so a ticket
that arrives while a worker has just begun another waits for that worker; where the other turns out to be long, one more
worker is woken every 5 ms until none is needed. The one that fell idle last is woken first: its stack is still in the cache.

All but the quickest queries (`quick`) take the hop to a thread, cheap ones too. Its price was measured: of the 120 µs of
processor time that `query?query=1` takes at eight connections, 35 are HTTP, 30 the handler, the rest is the hop. One wrong
guess on the event loop stalls every connection.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from starlette.types import Receive

from meterhall.model.errors import Overloaded, QueryCanceled, QueryError, QueryTimeout
from meterhall.model.tenant import Tenant
from meterhall.ports.clock import Clock
from meterhall.query.budget import Budget, QueryLimits, SharedMemory

T = TypeVar("T")

# A worker that began its ticket less than this ago is taken to be free soon.
_SOON_S = 0.005
_NONE: "deque[Ticket[Any]]" = deque()

# Work that is done sooner is not worth a task that watches for the client's departure.
_WATCH_AFTER_S = 0.05
# The whole service has ten seconds to stop; the event loop and the store need theirs.
_CLOSE_S = 3.0


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """Bounds of one pool. Prometheus runs 20 queries at once for at most two minutes each."""

    concurrency: int = 20
    tenant_concurrency: int = 10
    tenant_waiting_max: int = 200
    waiting_max: int = 2_000
    timeout_s: float = 120.0
    limits: QueryLimits = field(default_factory=QueryLimits)
    # The largest matrices of all queries in hand; a query has about three of them at once.
    arrays_bytes_max: int = 2_000_000_000


class Ticket(Generic[T]):
    """One piece of work, its place in the queue and its way to be stopped."""

    def __init__(
        self,
        tenant: Tenant,
        work: "Callable[[Ticket[T]], T]",
        clock: Clock,
        settings: RunnerSettings,
        memory: SharedMemory,
    ) -> None:
        self.tenant = tenant
        self._work: Callable[[Ticket[T]], T] | None = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.queue_s = 0.0
        self._clock = clock
        self._settings = settings
        self._memory = memory
        self._queued_at = clock.monotonic()
        self._lock = threading.Lock()
        self._canceled = False
        self._budget: Budget | None = None
        self._held_back: Future[None] | None = None

    @property
    def timeout_s(self) -> float:
        """The server's ceiling of a query's time."""
        return self._settings.timeout_s

    def budget(self, timeout_s: float) -> Budget:
        """What the query may spend; its time began when it was queued.

        Raises QueryError where the deadline had passed before it began (Prometheus' 422).
        """
        if timeout_s <= 0:
            raise QueryError("context deadline exceeded")
        left_s = timeout_s - (self._clock.monotonic() - self._queued_at)
        if left_s <= 0:
            raise QueryTimeout("query timed out in query queue")
        budget = Budget(self._settings.limits, self._clock, left_s, self._memory)
        with self._lock:
            self._budget = budget
            if self._canceled:
                budget.cancel()
        return budget

    def check(self) -> None:
        """Raises QueryCanceled or QueryTimeout where the work must stop."""
        if self._budget is not None:
            self._budget.check()
        elif self._canceled:
            raise QueryCanceled("query was canceled")

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        with self._lock:
            self._canceled = True
            if self._budget is not None:
                self._budget.cancel()

    def hold_back(self, until: Future[None]) -> None:
        """For the work: what it returns is not answered before this is done, and not at all where this fails.

        So the event loop is woken once, and no worker waits.
        """
        self._held_back = until

    def end(self, result: T | None, error: BaseException | None) -> None:
        """Called by the worker when the work is done."""
        if self._budget is not None:
            self._budget.close()
        if self._held_back is None or error is not None:
            self._settle(result, error)
        else:
            self._held_back.add_done_callback(lambda done: self._settle(result, done.exception()))

    def _settle(self, result: T | None, error: BaseException | None) -> None:
        # The loop may have been closed while the work was done.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(_settle, self.future, result, error)

    def take_work(self) -> "Callable[[Ticket[T]], T]":
        """What is to be done; may be taken once.

        The work knows its ticket: were it kept here, each answer would wait in a cycle for the garbage collector.
        """
        work, self._work = self._work, None
        assert work is not None, "bug: a ticket was worked on twice"
        return work

    def begin(self) -> None:
        """Called by the worker. Raises QueryCanceled, or QueryTimeout after too long a wait."""
        self.queue_s = self._clock.monotonic() - self._queued_at
        if self._canceled:
            raise QueryCanceled("query was canceled in query queue")
        if self.queue_s >= self._settings.timeout_s:
            raise QueryTimeout("query timed out in query queue")


class Runner:
    """A pool of threads. `run` is called on the event loop; `close` from anywhere."""

    def __init__(self, settings: RunnerSettings, clock: Clock, name: str) -> None:
        self._settings = settings
        self._clock = clock
        self._memory = SharedMemory(settings.arrays_bytes_max)
        self._lock = threading.Lock()
        # Tenants in the order of their turn; one without waiting tickets is not in it.
        self._waiting: dict[Tenant, deque[Ticket[Any]]] = {}
        self._waiting_count = 0
        self._running: dict[Tenant, int] = {}
        # Tickets being worked on, with the time they began.
        self._begun: dict[Ticket[Any], float] = {}
        self._relief: asyncio.TimerHandle | None = None
        # How each idle worker is woken, the one that fell idle last at the end: True, and it serves until
        # nothing is left for it; False, and it ends.
        self._idle: list[SimpleQueue[bool]] = []
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{number}", daemon=True)
            for number in range(settings.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    async def run(
        self, tenant: Tenant, work: Callable[[Ticket[T]], T], receive: Receive | None = None
    ) -> T:
        """What `work` returns or raises. Raises Overloaded where the queue is full.

        With `receive`, the client's departure cancels the work.
        """
        ticket: Ticket[T] = Ticket(tenant, work, self._clock, self._settings, self._memory)
        self._enqueue(ticket)
        watch = _Watch(ticket, receive) if receive is not None else None
        try:
            return await ticket.future
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        finally:
            if watch is not None:
                watch.stop()

    def close(self) -> None:
        """Cancels what runs and gives the workers a while to notice; they die with the process."""
        with self._lock:
            tickets = [*self._begun, *(each for queue in self._waiting.values() for each in queue)]
            self._closed = True
            for wake in self._idle:
                wake.put(False)
        for ticket in tickets:
            ticket.cancel()
        deadline = self._clock.monotonic() + _CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _enqueue(self, ticket: Ticket[Any]) -> None:
        with self._lock:
            queue = self._waiting.get(ticket.tenant, _NONE)
            if (
                len(queue) >= self._settings.tenant_waiting_max
                or self._waiting_count >= self._settings.waiting_max
            ):
                raise Overloaded("too many queries are waiting; try again later")
            self._waiting.setdefault(ticket.tenant, deque()).append(ticket)
            self._waiting_count += 1
            now = self._clock.monotonic()
            soon_free = any(now - begun < _SOON_S for begun in self._begun.values())
            if not soon_free:
                self._wake_one()
        if soon_free and self._relief is None:
            self._relief = ticket.loop.call_later(_SOON_S, self._relieve, ticket.loop)

    def _relieve(self, loop: asyncio.AbstractEventLoop) -> None:
        """What was expected to be free soon is not: one worker more."""
        self._relief = None
        with self._lock:
            waiting = bool(self._waiting_count)
            if waiting:
                self._wake_one()
        if waiting:
            self._relief = loop.call_later(_SOON_S, self._relieve, loop)

    def _wake_one(self) -> None:
        """Where all are busy, the first that has done looks for more anyway. Wants the lock."""
        if self._idle:
            self._idle.pop().put(True)

    def _serve(self) -> None:
        wake: SimpleQueue[bool] = SimpleQueue()
        going_on = True
        while going_on:
            ticket = self._next(wake)
            while ticket is not None:
                ticket = self._serve_one(ticket, wake)
            going_on = wake.get()

    def _serve_one(self, ticket: Ticket[Any], wake: SimpleQueue[bool]) -> Ticket[Any] | None:
        """Works on a ticket; returns the next one."""
        # A function of its own, so that an idle worker holds no answer of the past.
        result, error = _performed(ticket)
        # The event loop wants the interpreter's lock as soon as it is told: all else is done before.
        following = self._next(wake, done=ticket)
        ticket.end(result, error)
        return following

    def _next(self, wake: SimpleQueue[bool], done: Ticket[Any] | None = None) -> Ticket[Any] | None:
        """The first ticket of the first tenant in turn that has a worker to spare; without any the worker is idle."""
        with self._lock:
            if done is not None:
                self._forget(done)
            for tenant, queue in self._waiting.items():
                running = self._running.get(tenant, 0)
                if running >= self._settings.tenant_concurrency:
                    continue
                ticket = queue.popleft()
                self._waiting_count -= 1
                self._running[tenant] = running + 1
                self._begun[ticket] = self._clock.monotonic()
                # To the end of the turn, or out of it.
                del self._waiting[tenant]
                if queue:
                    self._waiting[tenant] = queue
                return ticket
            if self._closed:
                wake.put(False)
            else:
                self._idle.append(wake)
        return None

    def _forget(self, done: Ticket[Any]) -> None:
        tenant = done.tenant
        del self._begun[done]
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]


def _performed(ticket: Ticket[T]) -> tuple[T | None, BaseException | None]:
    """What the work returns, or raises."""
    try:
        ticket.begin()
        return ticket.take_work()(ticket), None
    except BaseException as error:  # noqa: BLE001 - it is raised again where the answer is awaited
        return None, error


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class _Watch:
    """Cancels a ticket when the client closes the connection."""

    def __init__(self, ticket: Ticket[Any], receive: Receive) -> None:
        self._ticket = ticket
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self._timer = ticket.loop.call_later(_WATCH_AFTER_S, self._begin)

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = self._ticket.loop.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._ticket.cancel()
