"""A real server on a free port, and projects on it."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from meterhall.app.clock import SystemClock
from meterhall.control.database import sqlite_url
from meterhall.control.hosts import HostDraft
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.web.guide.app import GuideSettings, create_guide

NEVER_WAS = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def envelope(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> int:
        return self.envelope["header"]["resultCode"]

    @property
    def body(self) -> Any:
        assert self.code == 0, self.content
        return self.envelope["body"]


@dataclass(frozen=True)
class Served:
    """The running server."""

    port: int
    control: Control
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        content: bytes | None = None,
    ) -> Answer:
        """One request, with exactly these headers, in this order and spelling."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if content is not None and not any(
                name.lower() == "content-length" for name, _ in headers
            ):
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()


@dataclass
class Tenancy:
    """One project, as its owner's client."""

    served: Served
    project_id: str
    key: str
    key_id: str
    host_id: str = field(init=False)

    def __post_init__(self) -> None:
        draft = HostDraft("kr", "web", "192.168.0.5", "i-1", collect="direct")
        self.host_id = self.served.control.hosts.add(self.project_id, draft).host_id

    @property
    def root(self) -> str:
        return f"/v1.0/projects/{self.project_id}"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        region: str | None = "kr",
        key: str | None = None,
    ) -> Answer:
        """A call as a good client makes it. `body` is bytes, or a value to be sent as JSON."""
        headers = [("X-TC-APP-KEY", self.key if key is None else key)]
        if region is not None:
            headers.append(("X-SYSMON-REGION", region))
        content = None
        if body is not None:
            headers.append(("Content-Type", "application/json"))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.served.send(method, self.root + path, headers, content)

    def make_job(self, name: str = "api") -> str:
        job = self.call("POST", "/jobs", {"jobName": name, "metricsPath": "/m"})
        return str(job.body["jobId"])

    def make_target(self, job_id: str, port: int = 9100) -> str:
        draft = {"hostId": self.host_id, "port": port}
        return str(self.call("POST", f"/jobs/{job_id}/targets", draft).body)

    def scoped_key(self, *scopes: str) -> str:
        draft = KeyDraft("scoped", frozenset(scopes))  # type: ignore[arg-type]
        return self.served.control.keys.create(self.project_id, draft).secret


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from serve(tmp_path_factory.mktemp("guide"))


def numbered(app: ASGIApp) -> ASGIApp:
    """What `web.asgi` does around the guide: every request has an id."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"request_id": "from-outside"}
        await app(scope, receive, send)

    return outer


def serve(folder: Path, settings: GuideSettings | None = None) -> Iterator[Served]:
    """Runs a server in a thread until the generator is closed."""
    zones = {"jp": "Asia/Tokyo"}
    control = open_control_plane(
        sqlite_url(folder / "control.db"),
        ControlSettings(regions=("kr", "jp"), time_zones=zones),
        SystemClock(),
    )
    executor = ThreadPoolExecutor(4)
    guide = create_guide(control, control.access, executor, settings)
    config = uvicorn.Config(
        numbered(guide), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    try:
        yield Served(listener.getsockname()[1], control, folder)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        executor.shutdown()
        control.close()


@pytest.fixture
def make_tenancy(served: Served) -> Callable[[], Tenancy]:
    def make() -> Tenancy:
        made = served.control.projects.create("shop")
        return Tenancy(served, made.project.project_id, made.key.secret, made.key.key_id)

    return make


@pytest.fixture
def tenancy(make_tenancy: Callable[[], Tenancy]) -> Tenancy:
    return make_tenancy()


@pytest.fixture
def never_was() -> str:
    """An id that was never issued."""
    return NEVER_WAS


@pytest.fixture
def serve_with(tmp_path: Path) -> Iterator[Callable[[GuideSettings], Served]]:
    """Starts a server of the test's own."""
    running: list[Iterator[Served]] = []

    def start(settings: GuideSettings) -> Served:
        running.append(serve(tmp_path, settings))
        return next(running[-1])

    yield start
    for one in running:
        one.close()  # type: ignore[attr-defined]


@pytest.fixture
def tenancy_on() -> Callable[[Served], Tenancy]:
    def make(served: Served) -> Tenancy:
        made = served.control.projects.create("shop")
        return Tenancy(served, made.project.project_id, made.key.secret, made.key.key_id)

    return make
