"""The API as it is served: uvicorn on a free port, real store, engine and control plane, two projects."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from tests.web.listening import listening
from tests.web.prometheus.samples import SAMPLE_DATA, Series, write_body

from meterhall.app.clock import SystemClock
from meterhall.control.database import sqlite_url
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.ingest.allowance import Allowances
from meterhall.ingest.limits import PushLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.query.engine import Engine, EngineOptions
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore
from meterhall.web.asgi import create_app
from meterhall.web.prometheus.api import PrometheusApi
from meterhall.web.prometheus.call import Backend, PrometheusSettings

REGIONS = ("kr", "jp")


@dataclass
class Answer:
    """One HTTP answer, its body decoded where it is JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        parsed = self.json
        assert parsed["status"] == "success", parsed
        return parsed["data"]

    @property
    def error(self) -> tuple[int, str, str]:
        parsed = self.json
        assert parsed["status"] == "error", parsed
        return self.status, parsed["errorType"], parsed["error"]


@dataclass
class Served:
    """A running server and how to call it."""

    port: int
    backend: Backend
    control: Control
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        key: str | None = "a",
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = dict(headers or {})
            if key is not None:
                sent["X-TC-APP-KEY"] = self.keys[key]
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, content)
        finally:
            connection.close()

    def get(self, endpoint: str, key: str | None = "a", **parameters: Any) -> Answer:
        query = urlencode(parameters, doseq=True)
        return self.call("GET", f"/prometheus/api/v1/{endpoint}?{query}", key=key)

    def post(self, endpoint: str, key: str | None = "a", **parameters: Any) -> Answer:
        body = urlencode(parameters, doseq=True).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.call("POST", f"/prometheus/api/v1/{endpoint}", body, form, key)

    def push(self, series: list[Series], key: str = "a") -> None:
        answer = self.call("POST", "/prometheus/api/v1/write", write_body(series), key=key)
        assert answer.status == 204, answer


Serve = Callable[..., Served]


def _server_factory(directory: Path) -> Iterator[Serve]:
    closing: list[Callable[[], None]] = []
    clock = SystemClock()

    def serve(settings: PrometheusSettings | None = None) -> Served:
        folder = directory / str(len(closing))
        folder.mkdir()
        store = EmbeddedStore(folder / "tsdb", StoreSettings(retention_ms=10**13), clock)
        control = open_control_plane(
            sqlite_url(folder / "control.db"), ControlSettings(regions=REGIONS), clock
        )
        catalog = MetadataCatalog()
        allowances = Allowances(control.limits, clock)
        backend = Backend(
            store,
            Engine(EngineOptions()),
            catalog,
            PushReceiver(store.writer, catalog, PushLimits(), allowances),
            clock,
            allowances,
            settings or PrometheusSettings(region_hosts={"jp.example": "jp"}),
        )
        api = PrometheusApi(backend, control.access)
        app = create_app(Starlette(), api, Starlette(), "test")
        stack = ExitStack()
        port = stack.enter_context(listening(app))
        served = Served(port, backend, control)
        for name in ("a", "b"):
            made = control.projects.create(name)
            served.keys[name] = made.key.secret
            for scope in ("query", "write", "manage"):
                draft = KeyDraft(scope, frozenset([scope]))
                served.keys[f"{name}:{scope}"] = control.keys.create(
                    made.project.project_id, draft
                ).secret

        def close() -> None:
            stack.close()
            api.close()
            control.close()
            store.close()

        closing.append(close)
        return served

    yield serve
    for close in reversed(closing):
        close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers of one's own, for tests that need other settings."""
    yield from _server_factory(tmp_path)


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with SAMPLE_DATA in project a, for all tests that only read."""
    for factory in _server_factory(tmp_path_factory.mktemp("served")):
        server = factory()
        server.push(SAMPLE_DATA)
        yield server
