"""The agent channel on a free port, over a real control plane and a real store."""

import http.client
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.web.listening import listening

from meterhall.app.clock import SystemClock
from meterhall.control.database import sqlite_url
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.web.agent.api import AgentApi, AgentSettings
from meterhall.web.agent.enrolment import EnrolmentDesk, EnrolmentSettings

AGENT_ID = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"
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
    """The running channel and one project on it."""

    port: int
    control: Control
    project_id: str

    def key(self, *scopes: str, lifetime_ms: int | None = None) -> str:
        draft = KeyDraft("scoped", frozenset(scopes), lifetime_ms)  # type: ignore[arg-type]
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


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    clock = SystemClock()
    control = open_control_plane(
        sqlite_url(tmp_path / "control.db"), ControlSettings(regions=("kr", "jp")), clock
    )
    with ThreadPoolExecutor(2) as executor:
        desk = EnrolmentDesk(control.agents, executor, clock, EnrolmentSettings())
        with listening(AgentApi(control.access, clock, desk, AgentSettings())) as port:
            yield Channel(port, control, control.projects.create("shop").project.project_id)
    control.close()
