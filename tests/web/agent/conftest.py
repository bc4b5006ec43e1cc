"""The whole service on a free port, as `serve` wires it, and one project on it."""

import asyncio
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.e2e.reporting import Reporter
from tests.web.listening import listening

from meterhall.app.config import load
from meterhall.app.wiring import Service, open_service
from meterhall.collect.fleet import Fleet
from meterhall.control.access import issue_tenant
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control
from meterhall.model.tenant import Tenant
from meterhall.tsdb.store import EmbeddedStore

AGENT_ID = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"
AGENTS_MAX = 12
ENROLMENT = {
    "agentId": AGENT_ID,
    "hostname": "web-1",
    "address": "10.0.0.1",
    "os": "linux",
    "version": "1.0",
    "instanceId": "i-1",
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Channel:
    """The running service and one project on it."""

    port: int
    service: Service
    project_id: str

    @property
    def control(self) -> Control:
        return self.service.control

    @property
    def store(self) -> EmbeddedStore:
        return self.service.store

    @property
    def tenant(self) -> Tenant:
        return issue_tenant("kr", self.project_id)

    def key(self, *scopes: str, lifetime_ms: int | None = None) -> str:
        draft = KeyDraft("scoped", frozenset(scopes), lifetime_ms)
        return self.control.keys.create(self.project_id, draft).secret

    def token(self) -> str:
        return self.key("enrol", lifetime_ms=60_000)

    def send(
        self,
        method: str,
        path: str,
        key: str | None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = dict(headers or {}) | ({} if key is None else {"X-TC-APP-KEY": key})
        try:
            connection.request(method, path, content, sent)
            reply = connection.getresponse()
            told = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, told, reply.read())
        finally:
            connection.close()

    def enrol(self, key: str | None = None, **changes: Any) -> Answer:
        body = json.dumps(ENROLMENT | changes).encode()
        return self.send("POST", "/agent/v1/enrol", key or self.token(), body)

    def reporter(self, hostname: str = "web-1") -> Reporter:
        """An agent that has enrolled and whose host the fleet knows."""
        reporter = Reporter(self.port, hostname)
        reporter.enrol(self.token())
        while reporter.call("GET", "/agent/v1/targets")[0] == 429:
            pass
        return reporter


def with_fleet(app: ASGIApp, fleet: Fleet) -> ASGIApp:
    """Starts the fleet on the server's event loop, with the first request."""
    starting: list[asyncio.Task[None]] = []

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if not starting:
            starting.append(asyncio.ensure_future(fleet.start()))
        await starting[0]
        await app(scope, receive, send)

    return outer


@contextmanager
def serving(data: Path, **agents: str) -> Iterator[tuple[int, Service]]:
    """The service on a data directory, with other settings of `[agents]`, given as in a file."""
    named = {f"METERHALL_AGENTS_{name.upper()}": value for name, value in agents.items()}
    settings = load(None, named).with_values("storage", data=str(data))
    settings = settings.with_values("server", regions=("kr", "jp"))
    settings = settings.with_values("limits", agents_per_project=AGENTS_MAX)
    with (
        open_service(settings) as service,
        listening(with_fleet(service.public, service.fleet)) as port,
    ):
        yield port, service


def channel_on(port: int, service: Service) -> Channel:
    """A project of its own."""
    return Channel(port, service, service.control.projects.create("shop").project.project_id)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Service]]:
    with serving(tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture
def channel(served: tuple[int, Service]) -> Channel:
    return channel_on(*served)
