"""Following the inventory: its targets are read again whenever its change counter moved, and now and then anyway."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from meterhall.ports.clock import Clock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """How soon a change is seen, and how often all is read even without one."""

    poll_s: float = 1.0
    refresh_s: float = 30.0


class Complaints:
    """Says the same thing at most once a minute, with how often it happened meanwhile."""

    def __init__(self, interval_s: float, clock: Clock) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._said_s: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, event: str, error: Exception, **fields: str) -> None:
        """Logs a warning, or counts it for the next one."""
        now_s = self._clock.monotonic()
        said_s = self._said_s.get(event)
        if said_s is not None and now_s - said_s < self._interval_s:
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._said_s[event] = now_s
        log.warning(
            event,
            error=str(error),
            kind=type(error).__name__,
            repeated=self._unsaid.pop(event, 0),
            **fields,
        )


async def guarded(
    work: Callable[[], Awaitable[None]], failing: str, complaints: Complaints
) -> bool:
    """Whether the work was done; a failure is complained of as `failing`, and is there to be tried again."""
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - without the database, collection goes on with what is known.
        complaints.say(failing, error)
        return False
    return True


async def follow(
    changes: Callable[[], int],
    reload: Callable[[], Awaitable[None]],
    settings: FollowSettings,
    clock: Clock,
    complaints: Complaints,
) -> None:
    """Runs for ever: calls `reload` after each change. A failing one is tried again at the next look."""
    seen: int | None = None
    read_s = 0.0
    while True:
        number, now_s = changes(), clock.monotonic()
        due = number != seen or now_s - read_s >= settings.refresh_s
        if due and await guarded(reload, "cannot read the inventory", complaints):
            seen, read_s = number, now_s
        await asyncio.sleep(settings.poll_s)
