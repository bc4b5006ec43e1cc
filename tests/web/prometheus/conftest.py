"""The API as it is served: uvicorn on a free port, real store, engine and control plane, two projects."""

import http.client
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cramjam
import pytest
import uvicorn
from starlette.applications import Starlette

from meterhall.app.clock import SystemClock
from meterhall.control.database import sqlite_url
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.ingest.limits import PushLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.query.engine import Engine, EngineOptions
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore
from meterhall.web.asgi import create_app
from meterhall.web.prometheus.api import PrometheusApi
from meterhall.web.prometheus.call import Backend, PrometheusSettings
from meterhall.web.slow_clients import HeadTimeoutProtocol, SlowClientSettings

REGIONS = ("kr", "jp")
T0 = 1_700_000_000


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

    def push(
        self, series: list[tuple[dict[str, str], list[tuple[int, float]]]], key: str = "a"
    ) -> None:
        answer = self.call("POST", "/prometheus/api/v1/write", write_body(series), key=key)
        assert answer.status == 204, answer


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def write_body(series: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> bytes:
    """A remote-write 1.0 body, straight from the message layout of contract 6.3. Times in milliseconds."""
    request = b""
    for labels, samples in series:
        message = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, value.encode()))
            for name, value in sorted(labels.items())
        )
        for time_ms, value in samples:
            message += _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time_ms))
        request += _field(1, message)
    return bytes(cramjam.snappy.compress_raw(request))


def a_counter(name: str, labels: dict[str, str], step: float = 1.0, count: int = 41) -> tuple:
    """Fifteen-second samples from T0 on, for ten minutes."""
    samples = [((T0 + 15 * index) * 1000, step * index) for index in range(count)]
    return ({"__name__": name, **labels}, samples)


SAMPLE_DATA = [
    a_counter("requests_total", {"job": "api", "instance": "a:80"}),
    a_counter("requests_total", {"job": "api", "instance": "b:80"}, 2.0),
    a_counter("requests_total", {"job": "web", "instance": "c:80"}, 0.1),
    a_counter("odd_total", {"a<b": "x&y", "http.status_code": "200"}),
    ({"__name__": "special", "kind": "nan"}, [(T0 * 1000, float("nan"))]),
    ({"__name__": "special", "kind": "inf"}, [(T0 * 1000, float("inf"))]),
    ({"__name__": "special", "kind": "neg"}, [(T0 * 1000, float("-inf"))]),
    ({"__name__": "special", "kind": "zero"}, [(T0 * 1000, -0.0)]),
    ({"__name__": "special", "kind": "tiny"}, [(T0 * 1000, 1.234e-07)]),
    ({"__name__": "special", "kind": "huge"}, [(T0 * 1000, 1e21)]),
    ({"__name__": "special", "kind": "long"}, [(T0 * 1000, 123456789012345680000.0)]),
    ({"__name__": "late", "kind": "ms"}, [(T0 * 1000 + 413, 1.0)]),
]


class _QuietServer(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """The test process keeps its own."""


def _start(app: Any, patience: SlowClientSettings) -> tuple[uvicorn.Server, threading.Thread, int]:
    protocol = type("Protocol", (HeadTimeoutProtocol,), {"bounds": patience})
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http=protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
    )
    server = _QuietServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        assert thread.is_alive()
        time.sleep(0.01)
    return server, thread, server.servers[0].sockets[0].getsockname()[1]


Serve = Callable[..., Served]


def _server_factory(directory: Path) -> Iterator[Serve]:
    closing: list[Callable[[], None]] = []
    clock = SystemClock()

    def serve(
        settings: PrometheusSettings | None = None, patience: SlowClientSettings | None = None
    ) -> Served:
        folder = directory / str(len(closing))
        folder.mkdir()
        store = EmbeddedStore(folder / "tsdb", StoreSettings(retention_ms=10**13), clock)
        control = open_control_plane(
            sqlite_url(folder / "control.db"), ControlSettings(regions=REGIONS), clock
        )
        catalog = MetadataCatalog()
        backend = Backend(
            store,
            Engine(EngineOptions()),
            catalog,
            PushReceiver(store.writer, catalog, PushLimits()),
            clock,
            settings or PrometheusSettings(region_hosts={"jp.example": "jp"}),
        )
        api = PrometheusApi(backend, control.access)
        app = create_app(Starlette(), api, "test")
        server, thread, port = _start(app, patience or SlowClientSettings())
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
            server.should_exit = True
            thread.join(20)
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
