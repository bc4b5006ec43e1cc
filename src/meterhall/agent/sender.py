"""Delivers what waits: live scrapes as they come, what is older behind them and politely.

Live scrapes are gathered for a moment, so that targets share a batch. Back-fill takes at most a quarter of the
service's time for this agent, and begins at a moment of its own, so that agents that return together do not
come down on the service at once.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from meterhall.agent.channel import Busy, Channel, ChannelError, Patience, Unacceptable, Unreachable
from meterhall.agent.outbox import Outbox, Parcel
from meterhall.agent.targets import TargetList
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.complaints import Complaints

log = structlog.get_logger()

T = TypeVar("T")

_REST_S: Final = 5.0
_EXPIRE_EVERY_S: Final = 60.0
_SPREAD_S: Final = 0.1
# So many scrapes in a row that the service cannot accept are no fault of theirs.
_UNACCEPTABLE_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """Pace. After back-fill comes a pause of `backfill_pause_s`, or `backfill_share` times what its answer took.

    It begins within `backfill_spread_s` of the return, sooner where little waits: within a tenth of a second for
    each scrape. `jitter` draws from [0, 1).
    """

    linger_s: float = 1.0
    backfill_pause_s: float = 0.5
    backfill_share: float = 3.0
    backfill_spread_s: float = 10.0
    jitter: Callable[[], float] = random.random


class Sender:
    """Runs on the event loop; composing and marking is done on a thread of its own."""

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        targets: TargetList,
        clock: AgentClock,
        complaints: Complaints,
        settings: SenderSettings,
    ) -> None:
        self._channel = channel
        self._outbox = outbox
        self._targets = targets
        self._clock = clock
        self._complaints = complaints
        self._settings = settings
        self._patience = Patience(settings.jitter)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._awake = asyncio.Event()
        self._contact = asyncio.Event()
        self._backfill_from_s = 0.0
        self._expire_from_s = 0.0
        self._failing = True
        self._unacceptable = 0

    def wake(self) -> None:
        """A live scrape waits."""
        self._awake.set()

    def contact(self) -> None:
        """The service has answered: what waits for that may try at once."""
        self._contact.set()

    async def run(self) -> None:
        """Sends for ever. Nothing is sent before the service's clock and limits are known."""
        while not self._clock.certain or self._targets.newest is None:
            await _set_within(self._contact, _REST_S)
            self._contact.clear()
        while True:
            self._awake.clear()
            if parcel := await self._live():
                await self._deliver(parcel)
            elif parcel := await self._backfill():
                began_s = self._clock.monotonic()
                await self._deliver(parcel, backfill=True)
                took_s = self._clock.monotonic() - began_s
                self._put_off_backfill(took_s * self._settings.backfill_share)
            else:
                await self._rest()

    async def flush(self) -> None:
        """Sends what is live once more, before the end. Give it a timeout."""
        while not self._failing and (parcel := await self._live()):
            await self._deliver(parcel)

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=True)

    async def _live(self) -> Parcel | None:
        newest = self._targets.newest
        assert newest is not None
        return await self._on_thread(lambda: self._outbox.live(newest.limits))

    async def _backfill(self) -> Parcel | None:
        newest = self._targets.newest
        assert newest is not None
        if self._clock.monotonic() < self._backfill_from_s or not self._outbox.has_backfill:
            return None
        parcel = await self._on_thread(lambda: self._outbox.backfill(newest.limits))
        if parcel is None:
            # What waits cannot be read now.
            self._put_off_backfill(_REST_S)
        return parcel

    def _put_off_backfill(self, seconds: float) -> None:
        from_s = self._clock.monotonic() + max(self._settings.backfill_pause_s, seconds)
        self._backfill_from_s = max(self._backfill_from_s, from_s)

    async def _rest(self) -> None:
        """Until a live scrape waits, back-fill is due, or a moment has passed."""
        now_s = self._clock.monotonic()
        if now_s >= self._expire_from_s:
            self._expire_from_s = now_s + _EXPIRE_EVERY_S
            await self._on_thread(self._outbox.expire)
        due_s = self._backfill_from_s - now_s if self._outbox.has_backfill else _REST_S
        if await _set_within(self._awake, min(_REST_S, max(0.01, due_s))):
            await asyncio.sleep(self._settings.linger_s)

    async def _deliver(self, parcel: Parcel, *, backfill: bool = False) -> None:
        self._contact.clear()
        try:
            answer = await self._channel.report(parcel.body, backfill=backfill)
        except Unacceptable as error:
            await self._reduce(parcel, error)
        except ChannelError as error:
            if backfill and isinstance(error, Busy):
                # The service has no room for what is old; what is new does not wait for that.
                self._put_off_backfill(self._patience.after(error))
                return
            self._failing = True
            self._outbox.failed()
            self._complaints.say("scrapes cannot be sent, they are kept", error)
            await self._pause(error)
        else:
            self._patience.succeeded()
            self._unacceptable = 0
            if self._failing:
                self._failing = False
                log.info("scrapes are sent", waiting=self._outbox.waiting)
                spread_s = min(self._settings.backfill_spread_s, self._outbox.waiting * _SPREAD_S)
                self._put_off_backfill(self._settings.jitter() * spread_s)
            await self._on_thread(lambda: self._outbox.delivered(parcel, answer))

    async def _reduce(self, parcel: Parcel, error: Unacceptable) -> None:
        found = await self._on_thread(lambda: self._outbox.unacceptable(parcel, str(error)))
        self._unacceptable += found
        if self._unacceptable > _UNACCEPTABLE_MAX:
            self._complaints.say("the service accepts nothing", error)
            await asyncio.sleep(Patience.RARELY_S)

    async def _pause(self, error: ChannelError) -> None:
        wait_s = self._patience.after(error)
        if isinstance(error, Unreachable):
            await _set_within(self._contact, wait_s)
        else:
            await asyncio.sleep(wait_s)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event was set in time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
