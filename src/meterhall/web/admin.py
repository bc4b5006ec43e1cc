"""The operator's listener: the service's own metrics and a probe. It has no authentication and stays on loopback."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from meterhall.telemetry.metrics import REGISTRY


def create_admin(
    registry: CollectorRegistry = REGISTRY, measure: Callable[[], None] = lambda: None
) -> Starlette:
    """`/metrics` in the format that the scraper asks for, and `/-/healthy`.

    `measure` is called first: it sets what is counted only when somebody looks.
    """

    def metrics(request: Request) -> Response:
        # Starlette runs a plain function on a thread: collecting may take a while.
        measure()
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": content_type})

    def healthy(request: Request) -> Response:
        return PlainTextResponse("Meterhall is healthy.\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/-/healthy", healthy)])
