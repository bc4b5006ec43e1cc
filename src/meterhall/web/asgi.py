"""The whole public application: what answers which path, and what every request passes through.

    /v1.0/…               the guide's API, given as an application
    /docs, /openapi.json  the same application's description of itself
    /prometheus/…         Prometheus' API
    /agent/…              the channel of hosts' agents
    /-/healthy, /-/ready  probes, without a key
    /                     a page that says what this is

Each request gets an id (`X-Request-Id` of the reply, and `request_id` in the log) and is counted by status class.
"""

import itertools

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meterhall import __version__
from meterhall.telemetry.metrics import HTTP_REQUESTS
from meterhall.web.agent.api import PREFIX as AGENT
from meterhall.web.errors import REQUEST_ID
from meterhall.web.prometheus.api import PREFIX as PROMETHEUS
from meterhall.web.reply import NOSNIFF, TEXT, Headers, Reply, send_reply

_GUIDE = "/v1.0"
_DESCRIPTION = ("/docs", "/openapi.json")

# Clients such as prometheus-api-client take a 200 at the API's base address for a working connection.
_PAGE_PATHS = ("/", PROMETHEUS, f"{PROMETHEUS}/")
_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Meterhall</title>
<h1>Meterhall {__version__}</h1>
<p>An open, multi-tenant System Monitoring service: collection, storage and PromQL behind one REST API.</p>
<ul>
<li><a href="/docs">/docs</a>: the REST API under <code>/v1.0</code>, with what each call takes and answers</li>
<li><code>/prometheus</code>: the Prometheus HTTP API, for the project of the key in <code>X-TC-APP-KEY</code></li>
</ul>
<h2>Grafana</h2>
<p>Add a data source of type Prometheus. Its URL is this server's address followed by <code>/prometheus</code>. Under
Custom HTTP Headers, add the header <code>X-TC-APP-KEY</code> with an appkey of scope <code>query</code> as its value.
Nothing else is needed; the Grafana section of the README has the same as a provisioning file.</p>
</html>
""".encode()

_PAGE_HEADERS: Headers = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    NOSNIFF,
]

_PROBES = {
    "/-/healthy": b"Meterhall is healthy.\n",
    "/-/ready": b"Meterhall is ready.\n",
}

_BY_CLASS = [HTTP_REQUESTS.labels(f"{hundreds}xx") for hundreds in range(10)]


def create_app(guide: ASGIApp, prometheus: ASGIApp, agent: ASGIApp, id_prefix: str) -> ASGIApp:
    """The public application. `id_prefix` tells the request ids of this process from another's."""
    return RequestLine(Router(guide, prometheus, agent), id_prefix)


class Router:
    """One look at the path, no more: this stands before the quickest queries."""

    def __init__(self, guide: ASGIApp, prometheus: ASGIApp, agent: ASGIApp) -> None:
        self._guide = guide
        self._prometheus = prometheus
        self._agent = agent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on to what answers its path."""
        path: str = scope.get("path", "")
        if path in _PAGE_PATHS and scope["type"] == "http":
            await _fixed(scope, send, _PAGE_HEADERS, _PAGE)
        elif _is_under(path, PROMETHEUS) and scope["type"] == "http":
            await self._prometheus(scope, receive, send)
        elif _is_under(path, AGENT) and scope["type"] == "http":
            await self._agent(scope, receive, send)
        elif _is_under(path, _GUIDE) or path in _DESCRIPTION or scope["type"] != "http":
            # The guide's application has the lifespan too.
            await self._guide(scope, receive, send)
        elif path in _PROBES:
            await _fixed(scope, send, [TEXT, NOSNIFF], _PROBES[path])
        else:
            await send_reply(send, Reply(404, [TEXT, NOSNIFF], b"404 page not found\n"), [])


class RequestLine:
    """What every request passes through first: its id, and its count."""

    def __init__(self, app: ASGIApp, id_prefix: str) -> None:
        self._app = app
        self._id_prefix = id_prefix
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adds the id to scope and reply, counts the reply by its status class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"{self._id_prefix}-{next(self._numbers)}"
        scope.setdefault("state", {})[REQUEST_ID] = request_id
        header = (b"x-request-id", request_id.encode())

        async def numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
                _BY_CLASS[message["status"] // 100].inc()
            await send(message)

        await self._app(scope, receive, numbered)


def _is_under(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


async def _fixed(scope: Scope, send: Send, headers: Headers, body: bytes) -> None:
    if scope["method"] in ("GET", "HEAD"):
        await send_reply(send, Reply(200, headers, body), [])
        return
    refusal: Headers = [TEXT, NOSNIFF, (b"allow", b"GET, HEAD")]
    await send_reply(send, Reply(405, refusal, b"Method Not Allowed\n"), [])
