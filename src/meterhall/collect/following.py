"""Following the inventory: its targets are read again whenever its change counter moved, and now and then anyway."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meterhall.collect.complaints import Complaints
from meterhall.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """How soon a change is seen, and how often all is read even without one."""

    poll_s: float = 1.0
    refresh_s: float = 30.0


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
