"""An ASGI application that is made when its first request comes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from starlette.types import ASGIApp, Receive, Scope, Send


class OnDemand:
    """Its libraries need not be loaded before the service can collect, store and answer queries."""

    def __init__(self, make: Callable[[], ASGIApp], executor: Executor) -> None:
        """`make` imports and builds it, on `executor`."""
        self._make = make
        self._executor = executor
        self._made: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on. Two that come first at once may both make it; either will do."""
        if self._made is None:
            loop = asyncio.get_running_loop()
            self._made = await loop.run_in_executor(self._executor, self._make)
        await self._made(scope, receive, send)
