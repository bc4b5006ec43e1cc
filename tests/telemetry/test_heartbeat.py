import asyncio
import time

from meterhall.telemetry.heartbeat import beat
from meterhall.telemetry.metrics import LOOP_LAG_SECONDS


def test_a_busy_loop_shows_in_the_gauge():
    async def scenario():
        task = asyncio.create_task(beat(0.01))
        await asyncio.sleep(0.05)
        time.sleep(0.2)  # noqa: ASYNC251 - blocking the loop is the point.
        # Several beats later the worst one still shows.
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert LOOP_LAG_SECONDS._value.get() >= 0.15
