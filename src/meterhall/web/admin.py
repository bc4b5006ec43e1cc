"""The operator's listener: the service's own metrics and a probe. It has no authentication and stays on loopback."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from meterhall.model.errors import MeterhallError
from meterhall.telemetry.metrics import REGISTRY
from meterhall.web.encode import encode_data
from meterhall.web.errors import Failure, failure_of

SNAPSHOT_PATH = "/api/v1/admin/tsdb/snapshot"


def create_admin(
    registry: CollectorRegistry = REGISTRY,
    measure: Callable[[], None] = lambda: None,
    snapshot: Callable[[bool], str] | None = None,
) -> Starlette:
    """`/metrics` in the format that the scraper asks for, `/-/healthy`, and Prometheus' call for a snapshot.

    `measure` is called first: it sets what is counted only when somebody looks.
    """

    def metrics(request: Request) -> Response:
        # Starlette runs a plain function on a thread: collecting may take a while.
        measure()
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": content_type})

    def healthy(request: Request) -> Response:
        return PlainTextResponse("Meterhall is healthy.\n")

    routes = [Route("/metrics", metrics), Route("/-/healthy", healthy)]
    if snapshot is not None:
        methods = ["POST", "PUT"]
        routes.append(Route(SNAPSHOT_PATH, _snapshot_handler(snapshot), methods=methods))
    return Starlette(routes=routes)


def _snapshot_handler(snapshot: Callable[[bool], str]) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        if "origin" in request.headers:
            # Only browsers send it: some page wants something from this machine's operator.
            return _failed(Failure(403, "forbidden", "not for browsers"))
        skip_head = request.query_params.get("skip_head", "false")
        if skip_head not in ("true", "false"):
            return _failed(Failure(400, "bad_data", "skip_head: allowed are true and false"))
        try:
            body = encode_data({"name": snapshot(skip_head == "true")})
        except MeterhallError as error:
            return _failed(failure_of(error))
        return Response(body, media_type="application/json")

    return handle


def _failed(failure: Failure) -> Response:
    return Response(failure.body, failure.status, media_type="application/json")
