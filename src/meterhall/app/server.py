"""Running the service: two listeners on one event loop, and the order in which it starts and stops.

Stop (SIGTERM or SIGINT): stop accepting, finish requests in hand, stop collection, flush and close the store,
exit 0. What takes longer than its share of ten seconds is cut off.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import structlog
import uvicorn
from starlette.types import ASGIApp

from meterhall.app.config import Settings
from meterhall.app.setting_types import ListenAddress
from meterhall.app.wiring import Service
from meterhall.model.errors import ConfigError
from meterhall.telemetry import heartbeat
from meterhall.web.slow_clients import HeadTimeoutProtocol

_LOG = structlog.get_logger()

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_COLLECTOR_STOP_S = 5.0


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to `run`, and whose refusal to bind is a ConfigError."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing: one handler stops both listeners."""
        yield

    @property
    def address(self) -> ListenAddress:
        """Where it really listens, port 0 resolved."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return ListenAddress(host, port)


def listener(app: ASGIApp, address: ListenAddress, settings: Settings) -> Listener:
    """A listener for `app`; it binds when it is served."""
    return Listener(
        uvicorn.Config(
            app,
            host=address.host,
            port=address.port,
            loop="none",
            http=HeadTimeoutProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # It would only repeat what `run` says, and tell of a taken port before `_serve` does.
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            backlog=_BACKLOG,
            limit_concurrency=settings.server.connections_max,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, settings.server.shutdown_timeout // 1000),
        )
    )


async def run(service: Service, announce: Callable[[ListenAddress, ListenAddress], None]) -> None:
    """Serves until a signal comes. `announce` is told both addresses once they accept requests."""
    settings = service.settings
    public = listener(service.public, settings.server.listen, settings)
    admin = listener(service.admin, settings.admin.listen, settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    beating = asyncio.create_task(heartbeat.beat(), name="heartbeat")
    serving = [asyncio.create_task(_serve(each), name="serve") for each in (public, admin)]
    try:
        await _started((public, admin), serving)
        await service.fleet.start()
        await service.collector.start()
        announce(public.address, admin.address)
        _LOG.info("service.started", listen=str(public.address), admin=str(admin.address))
        stopped = asyncio.create_task(stopping.wait(), name="wait for a signal")
        await asyncio.wait([stopped, *serving], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
    finally:
        _LOG.info("service.stopping")
        public.should_exit = admin.should_exit = True
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.gather(
            service.collector.stop(_COLLECTOR_STOP_S), service.fleet.stop(_COLLECTOR_STOP_S)
        )
        beating.cancel()
    for task in serving:
        task.result()


async def _serve(server: Listener) -> None:
    try:
        await server.serve()
    except SystemExit:
        # uvicorn has logged why, and this is how it says that it could not bind.
        address = f"{server.config.host}:{server.config.port}"
        raise ConfigError(
            f"cannot listen on {address}: is another service using it? Choose another with --listen "
            "or METERHALL_ADMIN_LISTEN"
        ) from None


async def _started(servers: tuple[Listener, ...], serving: list[asyncio.Task[None]]) -> None:
    while not all(server.started for server in servers):
        for task in serving:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)
