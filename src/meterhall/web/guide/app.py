"""The guide's API as a FastAPI application: the ten calls under /v1.0, and their description at /docs.

Each request goes the same way: appkey (from memory), project, scope, body within its limits, then the call on
a worker thread. The event loop waits for no database and parses no body.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from meterhall import __version__
from meterhall.control.plane import Control
from meterhall.model.errors import ControlCode, ControlError, Forbidden, TooLarge, Unauthorized
from meterhall.model.tenant import Scope
from meterhall.ports.access import Access
from meterhall.telemetry.metrics import GUIDE_REQUESTS
from meterhall.web.auth import authenticate, require_project, require_scope
from meterhall.web.guide import calls, envelope, schema
from meterhall.web.guide.docs import docs_routes

_log = structlog.get_logger()

_READ: tuple[Scope, ...] = ("manage", "query")
_CHANGE: tuple[Scope, ...] = ("manage",)

_JOBS = "/v1.0/projects/{projectId}/jobs"
_JOB = _JOBS + "/{jobId}"
_TARGETS = _JOB + "/targets"
_TARGET = _TARGETS + "/{targetId}"
_SERVERS = "/v1.0/projects/{projectId}/servers"


# Where `web.asgi` leaves the id that the reply's X-Request-Id has.
_REQUEST_ID = "request_id"


@dataclass(frozen=True, slots=True)
class GuideSettings:
    """Limits of one request."""

    body_bytes_max: int = 1 << 20
    body_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One row of the guide: method and path, the function, and what OpenAPI says of it."""

    method: str
    path: str
    run: Callable[[calls.Asked], Any]
    answer: Any
    region: schema.RegionRule
    codes: tuple[ControlCode, ...]
    body: dict[str, Any] | None = None
    documented: bool = True

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return _READ if self.method == "GET" else _CHANGE


# fmt: off
_CALLS: tuple[_Call, ...] = (
    _Call("GET", _JOBS, calls.list_jobs, schema.Envelope[list[schema.Workspace]], "required",
          ("BAD_INPUT_VALUE",)),
    _Call("POST", _JOBS, calls.create_job, schema.Envelope[schema.Workspace], "required",
          ("ALREADY_EXIST", "BAD_INPUT_VALUE"), schema.WORKSPACE_DRAFT),
    _Call("GET", _JOB, calls.get_job, schema.Envelope[schema.Workspace], "optional",
          ("BAD_INPUT_VALUE", "NOT_FOUND_JOB")),
    _Call("PUT", _JOB, calls.change_job, schema.Envelope[schema.Workspace], "optional",
          ("BAD_INPUT_VALUE", "NOT_FOUND_JOB", "SYSTEM_RESERVED_JOB"), schema.WORKSPACE_CHANGE),
    _Call("DELETE", _JOB, calls.delete_job, schema.Envelope[str], "optional",
          ("BAD_INPUT_VALUE", "NOT_FOUND_JOB", "SYSTEM_RESERVED_JOB")),
    _Call("GET", _TARGETS, calls.list_targets, schema.Envelope[list[schema.CollectionTarget]], "optional",
          ("BAD_INPUT_VALUE", "NOT_FOUND_JOB")),
    _Call("GET", _SERVERS, calls.list_servers, schema.Envelope[list[schema.Server]], "required",
          ("BAD_INPUT_VALUE",)),
    _Call("POST", _TARGETS, calls.create_target, schema.Envelope[str], "optional",
          ("ALREADY_EXIST", "BAD_INPUT_VALUE", "INVALID_HOST_OR_PROJECT", "NOT_FOUND_JOB",
           "SYSTEM_RESERVED_JOB", "LIMIT_EXCEEDED"), schema.TARGET_DRAFT),
    # The guide's own curl line for the call above posts to the workspace itself.
    _Call("POST", _JOB, calls.create_target, schema.Envelope[str], "optional",
          ("ALREADY_EXIST", "BAD_INPUT_VALUE", "INVALID_HOST_OR_PROJECT", "NOT_FOUND_JOB",
           "SYSTEM_RESERVED_JOB", "LIMIT_EXCEEDED"), schema.TARGET_DRAFT, documented=False),
    _Call("GET", _TARGET, calls.get_target, schema.Envelope[schema.CollectionTarget], "optional",
          ("BAD_INPUT_VALUE", "NOT_FOUND_JOB", "NOT_FOUND_TARGET")),
    _Call("DELETE", _TARGET, calls.delete_target, schema.Envelope[str], "optional",
          ("BAD_INPUT_VALUE", "NOT_FOUND_JOB", "NOT_FOUND_TARGET", "SYSTEM_RESERVED_JOB")),
)
# fmt: on


def create_guide(
    control: Control, access: Access, executor: Executor, settings: GuideSettings | None = None
) -> FastAPI:
    """The application; it answers full paths and is not to be mounted below one.

    `executor` runs whatever waits for the database; the caller owns it.
    """
    guide = FastAPI(
        title="System Monitoring API",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    door = _Door(control, access, executor, settings or GuideSettings())
    for call in _CALLS:
        guide.add_api_route(
            call.path,
            door.endpoint(call),
            methods=[call.method],
            name=call.run.__name__,
            summary=call.run.__doc__,
            response_model=None,
            responses={200: {"model": call.answer}},
            openapi_extra=schema.operation(call.path, call.region, call.body, call.codes),
            include_in_schema=call.documented,
        )
    guide.router.routes.extend(docs_routes(guide))
    guide.add_exception_handler(HTTPException, _on_http_exception)
    return guide


class _Door:
    """Everything between the wire and a call."""

    def __init__(
        self, control: Control, access: Access, executor: Executor, settings: GuideSettings
    ) -> None:
        self._control = control
        self._access = access
        self._executor = executor
        self._settings = settings

    def endpoint(self, call: _Call) -> Callable[[Request], Awaitable[Response]]:
        """The handler of one call."""

        async def handle(request: Request) -> Response:
            response, outcome = await self._answered(call, request)
            GUIDE_REQUESTS.labels(call.run.__name__, outcome).inc()
            return response

        return handle

    async def _answered(self, call: _Call, request: Request) -> tuple[Response, str]:
        """The answer and its resultMessage. Whatever goes wrong becomes an envelope here."""
        try:
            body = await self._body(call, request)
            return envelope.success(body), "SUCCESS"
        except Unauthorized as error:
            return _http_refusal(401, str(error))
        except Forbidden as error:
            return _http_refusal(403, str(error))
        except TooLarge as error:
            return _http_refusal(413, str(error))
        except TimeoutError:
            return _http_refusal(408, "the body did not arrive in time")
        except ClientDisconnect:
            return _http_refusal(400, "the client went away")
        except ControlError as error:
            return envelope.refusal(error.code, error.detail), error.code
        except Exception:  # noqa: BLE001  # The last resort: -50000 out, the traceback in the log.
            known = request.scope.get("state", {}).get(_REQUEST_ID)
            request_id = str(known or self._control.context.identifiers.uuid())
            _log.exception("call failed", call=call.run.__name__, request_id=request_id)
            return envelope.internal_error(request_id), "INTERNAL_SERVER_ERROR"

    async def _body(self, call: _Call, request: Request) -> Any:
        principal = authenticate(request.scope["headers"], self._access)
        require_project(principal, request.path_params["projectId"])
        require_scope(principal, *call.scopes)
        content = b"" if call.body is None else await self._content(request)
        asked = calls.Asked(
            self._control,
            principal.project,
            request.path_params,
            tuple(value.strip() for value in request.headers.getlist(calls.REGION_HEADER)),
            request.headers.get("content-type"),
            content,
        )
        return await asyncio.get_running_loop().run_in_executor(self._executor, call.run, asked)

    async def _content(self, request: Request) -> bytes:
        """The whole body, refused as soon as it is seen to be too large or too slow."""
        limit = self._settings.body_bytes_max
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise _too_large(limit)
        content = bytearray()
        async with asyncio.timeout(self._settings.body_timeout_s):
            async for piece in request.stream():
                content += piece
                if len(content) > limit:
                    raise _too_large(limit)
        return bytes(content)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes")


def _http_refusal(status: int, detail: str) -> tuple[Response, str]:
    return envelope.http_refusal(status, detail), envelope.HTTP_MESSAGES[status]


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """404 and 405 from the router, in our envelope."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = ", ".join(_allowed(request))
        detail = f"allowed on this path: {allow}"
        return envelope.http_refusal(405, detail, {"Allow": allow})
    return envelope.http_refusal(404, "there is no such path")


def _allowed(request: Request) -> Sequence[str]:
    """The methods of every call on this path; the router knows only the first that it tried."""
    methods: set[str] = set()
    for route in request.scope["app"].routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)
