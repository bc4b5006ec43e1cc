"""The event loop's pulse: how late a timer fires is how long something kept the loop busy."""

import asyncio
from collections import deque

from meterhall.telemetry.metrics import LOOP_LAG_SECONDS

BEAT_S = 0.1
# The gauge shows the worst beat of this many, so that a scrape a minute still sees a short stall.
BEATS_SHOWN = 600


async def beat(beat_s: float = BEAT_S) -> None:
    """Measures for ever into LOOP_LAG_SECONDS; run it as a task and cancel it at the stop."""
    loop = asyncio.get_running_loop()
    recent: deque[float] = deque(maxlen=BEATS_SHOWN)
    while True:
        due = loop.time() + beat_s
        await asyncio.sleep(beat_s)
        recent.append(max(0.0, loop.time() - due))
        LOOP_LAG_SECONDS.set(max(recent))
