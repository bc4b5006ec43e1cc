"""The API as an ASGI application: routes, methods, CORS, who is calling, and how answers and failures go out.

No framework stands on this path: an instant query costs less than Starlette's routing of it. What runs on the
event loop is matching the path, looking up the key in memory, reading the body and sending; parameters,
evaluation, encoding and compression run on a worker, but for queries that are known to be quick (`quick`).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from meterhall.model.errors import BadInput, MeterhallError
from meterhall.model.tenant import Scope as KeyScope
from meterhall.ports.access import Access
from meterhall.telemetry.metrics import QUERIES
from meterhall.web.auth import authenticate, require_scope
from meterhall.web.body import BodyReader, discard
from meterhall.web.errors import ClientGone, Failure, Refused, answered, failure_of
from meterhall.web.prometheus import admin, expressions, queries, series, status
from meterhall.web.prometheus.call import Answer, Backend, Call, Handler
from meterhall.web.prometheus.quick import QuickQueries
from meterhall.web.prometheus.runner import Runner, Ticket
from meterhall.web.prometheus.write import write
from meterhall.web.reply import (
    CLOSE,
    JSON,
    TEXT,
    Headers,
    Reply,
    accepts_gzip,
    json_reply,
    packed,
    send_reply,
)

PREFIX = "/prometheus"
_API = f"{PREFIX}/api/v1/"
_LABEL, _VALUES = f"{_API}label/", "/values"
_WRITE = f"{_API}write"

_READ: tuple[str, ...] = ("GET",)
_READ_OR_FORM = ("GET", "POST")
_CHANGE = ("POST", "PUT")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a path, by which methods besides OPTIONS, and for keys of which scope."""

    methods: tuple[str, ...]
    handler: Handler
    scope: KeyScope = "query"

    @property
    def allow(self) -> bytes:
        """The Allow header, sorted as Prometheus sorts it."""
        return ", ".join(sorted((*self.methods, "OPTIONS"))).encode()


def _no_handler(backend: Backend, call: Call) -> Answer:
    raise AssertionError("bug: remote write has a way of its own")


_LABEL_VALUES = Endpoint(_READ_OR_FORM, series.label_values)
_WRITE_ENDPOINT = Endpoint(("POST",), _no_handler, "write")
ENDPOINTS: Mapping[str, Endpoint] = {
    f"{_API}query": Endpoint(_READ_OR_FORM, queries.query),
    f"{_API}query_range": Endpoint(_READ_OR_FORM, queries.query_range),
    f"{_API}series": Endpoint(_READ_OR_FORM, series.series),
    f"{_API}labels": Endpoint(_READ_OR_FORM, series.labels),
    f"{_API}metadata": Endpoint(_READ, series.metadata),
    f"{_API}query_exemplars": Endpoint(_READ_OR_FORM, expressions.query_exemplars),
    f"{_API}format_query": Endpoint(_READ_OR_FORM, expressions.format_query),
    f"{_API}parse_query": Endpoint(_READ_OR_FORM, expressions.parse_query),
    f"{_API}rules": Endpoint(_READ, status.rules),
    f"{_API}alerts": Endpoint(_READ, status.alerts),
    f"{_API}targets": Endpoint(_READ, status.targets),
    f"{_API}targets/metadata": Endpoint(_READ, status.targets_metadata),
    f"{_API}scrape_pools": Endpoint(_READ, status.scrape_pools),
    f"{_API}alertmanagers": Endpoint(_READ, status.alertmanagers),
    f"{_API}status/buildinfo": Endpoint(_READ_OR_FORM, status.buildinfo),
    f"{_API}status/runtimeinfo": Endpoint(_READ, status.runtimeinfo),
    f"{_API}status/tsdb": Endpoint(_READ, status.tsdb),
    f"{_API}admin/tsdb/delete_series": Endpoint(_CHANGE, admin.delete_series, "manage"),
    f"{_API}admin/tsdb/clean_tombstones": Endpoint(_CHANGE, admin.clean_tombstones, "manage"),
    _WRITE: _WRITE_ENDPOINT,
}

REGION_HEADER = b"x-sysmon-region"

_VARY = (b"vary", b"Origin, Accept-Encoding")
_CORS: Headers = [
    (
        b"access-control-allow-headers",
        b"Accept, Authorization, Content-Type, Origin, X-SYSMON-REGION, X-TC-APP-KEY",
    ),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-expose-headers", b"Date"),
]

_PROBES = {
    f"{PREFIX}/-/healthy": b"Prometheus Server is Healthy.\n",
    f"{PREFIX}/-/ready": b"Prometheus Server is Ready.\n",
}


class PrometheusApi:
    """Everything under /prometheus. `close` stops its workers."""

    def __init__(self, backend: Backend, access: Access) -> None:
        self._backend = backend
        self._access = access
        settings = backend.settings
        self._bodies = BodyReader(settings.bodies)
        self._quick = QuickQueries(backend)
        self._queries = Runner(settings.queries, backend.clock, "query")
        self._pushes = Runner(settings.pushes, backend.clock, "push")

    def close(self) -> None:
        """Cancels queries in hand and joins the workers."""
        self._queries.close()
        self._pushes.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        path: str = scope["path"]
        if path in _PROBES:
            await _probe(scope, send)
            return
        headers: Headers = scope["headers"]
        extra = _cors_headers(headers)
        if scope["method"] == "OPTIONS" and path.startswith(_API):
            await send_reply(send, Reply(204, []), extra)
            return
        try:
            reply = await answered(self._answer(scope, receive), scope)
        except ClientGone:
            return
        except MeterhallError as error:
            reply = await _failed(error, scope, receive)
        await send_reply(send, reply, extra)
        if reply.rest is not None:
            await _stream(reply.rest, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        endpoint, label_name = _endpoint(scope["path"])
        method = scope["method"]
        if method not in endpoint.methods:
            raise _MethodNotAllowed(method, endpoint.allow)
        headers: Headers = scope["headers"]
        principal = authenticate(headers, self._access)
        is_push = endpoint is _WRITE_ENDPOINT
        require_scope(principal, endpoint.scope)
        tenant = self._access.tenant(principal, self._region(headers))
        call = Call(tenant, scope["query_string"], headers, label_name=label_name)
        if is_push:
            return await write(self._backend, call, self._bodies, self._pushes, receive)
        if method != "GET":
            _check_encoding(headers)
            call.body = await self._bodies.read(
                headers, receive, self._backend.settings.form_bytes_max
            )
        try:
            return await self._run(endpoint.handler, call, receive)
        finally:
            if call.body:
                self._bodies.release(call.body)

    async def _run(self, handler: Handler, call: Call, receive: Receive) -> Reply:
        outcome = "failed"
        try:
            answer = self._quick.answer(handler, call)
            if answer is None:
                reply = await self._queries.run(call.tenant, self._work(handler, call), receive)
            else:
                reply = packed(200, [JSON], answer, accepts_gzip(call.headers))
            outcome = "answered"
            return reply
        except asyncio.CancelledError:
            outcome = "canceled"
            raise
        finally:
            _OUTCOMES[outcome].inc()

    def _work(self, handler: Handler, call: Call) -> Callable[[Ticket[Reply]], Reply]:
        """What a worker does."""

        def work(ticket: Ticket[Reply]) -> Reply:
            answer = handler(self._backend, call.on(ticket))
            reply = json_reply(answer, accepts_gzip(call.headers), ticket.check)
            self._quick.learn(handler, call)
            return reply

        return work

    def _region(self, headers: Headers) -> str:
        """The region asked for, or that of the host name that was called. Raises BadInput."""
        asked = {value.strip() for name, value in headers if name == REGION_HEADER} - {b""}
        if not asked:
            return self._region_of_host(headers)
        region = asked.pop().decode("latin-1")
        if asked or region not in self._access.regions:
            raise BadInput(f"X-SYSMON-REGION: unknown region; known: {self._known_regions()}")
        return region

    def _region_of_host(self, headers: Headers) -> str:
        settings = self._backend.settings
        if not settings.region_hosts:
            return settings.default_region
        host = next((value for name, value in headers if name == b"host" and value), b"")
        return settings.region_hosts.get(_host_name(host), settings.default_region)

    def _known_regions(self) -> str:
        return ", ".join(sorted(self._access.regions))


class _MethodNotAllowed(Refused):
    """405, with what is allowed."""

    def __init__(self, method: str, allow: bytes) -> None:
        super().__init__(405, "method_not_allowed", f"method {method} is not allowed here")
        self.allow = allow


_OUTCOMES = {name: QUERIES.labels(name) for name in ("answered", "failed", "canceled")}


def _endpoint(path: str) -> tuple[Endpoint, str]:
    """The endpoint of a path, and the label name in it. Raises Refused (404)."""
    endpoint = ENDPOINTS.get(path)
    if endpoint is not None:
        return endpoint, ""
    if path.startswith(_LABEL) and path.endswith(_VALUES):
        name = path[len(_LABEL) : -len(_VALUES)]
        if name and "/" not in name:
            return _LABEL_VALUES, name
    raise Refused(404, "not_found", "no such endpoint")


def _check_encoding(headers: Headers) -> None:
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise Refused(415, "bad_data", "compressed request bodies are not accepted here")


def _host_name(host: bytes) -> str:
    """The Host header without its port, in lower case."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].rstrip(".")


def _cors_headers(headers: Headers) -> Headers:
    """As Prometheus 3 with its default origin pattern: any origin, echoed.

    That gives nothing away: a page needs the appkey in a header of its own, no cookie is ever looked at
    and credentials are not allowed.
    """
    for name, value in headers:
        if name == b"origin":
            return [_VARY, *_CORS, (b"access-control-allow-origin", value)]
    return [_VARY]


async def _failed(error: MeterhallError, scope: Scope, receive: Receive) -> Reply:
    """The reply to a failure. A body that was left unread is read a little further, then cut off."""
    reply = _refusal(failure_of(error), scope["headers"])
    if isinstance(error, _MethodNotAllowed):
        reply.headers.append((b"allow", error.allow))
    unread = scope["method"] in _CHANGE and reply.status in _BEFORE_THE_BODY
    if reply.status in _BODY_CUT_OFF or (unread and not await discard(receive)):
        reply.headers.append(CLOSE)
    return reply


# Failures that are known before a body is read.
_BEFORE_THE_BODY = (401, 403, 404, 405, 415)
# After these the rest of the body would be taken for the next request.
_BODY_CUT_OFF = (408, 413)


def _refusal(failure: Failure, headers: Headers) -> Reply:
    reply = packed(failure.status, [JSON], failure.body, accepts_gzip(headers))
    if failure.retry_after_s is not None:
        reply.headers.append((b"retry-after", b"%d" % failure.retry_after_s))
    return reply


async def _probe(scope: Scope, send: Send) -> None:
    """Liveness and readiness, without a key: when requests are served at all, the service is both."""
    if scope["method"] not in ("GET", "HEAD"):
        headers: Headers = [TEXT, (b"allow", b"GET, HEAD")]
        await send_reply(send, Reply(405, headers, b"Method Not Allowed\n"), [])
        return
    await send_reply(send, Reply(200, [TEXT], _PROBES[scope["path"]]), [])


async def _stream(rest: Iterator[bytes], receive: Receive, send: Send) -> None:
    """Sends the rest of a long answer; each piece is made on a thread while the one before is sent.

    After the client's departure no other is begun.
    """
    gone = asyncio.ensure_future(_until_gone(receive))
    making = asyncio.ensure_future(asyncio.to_thread(next, rest, None))
    try:
        while (piece := await making) is not None:
            if gone.done():
                return
            making = asyncio.ensure_future(asyncio.to_thread(next, rest, None))
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        making.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
