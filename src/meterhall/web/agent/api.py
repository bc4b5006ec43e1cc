"""The agent channel as an ASGI application: routes, who is calling, and how answers and refusals go out.

Every answer tells the service's clock, also the refusals: an agent whose own clock is wrong learns it there.
"""

from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from meterhall.collect.fleet import Fleet, FleetHost
from meterhall.model.errors import MeterhallError
from meterhall.model.tenant import Principal
from meterhall.ports.access import Access
from meterhall.ports.clock import Clock
from meterhall.telemetry.metrics import AGENT_REQUESTS
from meterhall.web.agent.enrolment import EnrolmentDesk
from meterhall.web.agent.refusals import refusal, refusal_of
from meterhall.web.agent.reports import ReportDesk
from meterhall.web.agent.targets import Handout
from meterhall.web.auth import authenticate, require_scope
from meterhall.web.body import BodyReader, BodySettings, discard
from meterhall.web.errors import ClientGone, answered
from meterhall.web.reply import CLOSE, JSON, NOSNIFF, Headers, Reply, send_reply
from meterhall.wire.agent_calls import CLOCK_HEADER, ENROL_PATH, REPORTS_PATH, TARGETS_PATH

PREFIX = "/agent"

_CLOCK_HEADER = CLOCK_HEADER.lower().encode()
_METHODS = {ENROL_PATH: "POST", TARGETS_PATH: "GET", REPORTS_PATH: "POST"}
_CALLS = {ENROL_PATH: "enrol", TARGETS_PATH: "targets", REPORTS_PATH: "reports"}
_BACKFILL = (b"x-meterhall-backfill", b"1")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Bounds of the channel."""

    bodies: BodySettings = field(default_factory=lambda: BodySettings(in_hand_bytes_max=64 << 20))


@dataclass(frozen=True, slots=True)
class AgentBackend:
    """The service behind the channel."""

    fleet: Fleet
    enrolment: EnrolmentDesk
    handout: Handout
    reports: ReportDesk
    clock: Clock


class AgentApi:
    """Everything under /agent."""

    def __init__(self, backend: AgentBackend, access: Access, settings: AgentSettings) -> None:
        self._access = access
        self._clock = backend.clock
        self._fleet = backend.fleet
        self._enrolment = backend.enrolment
        self._handout = backend.handout
        self._reports = backend.reports
        self._bodies = BodyReader(settings.bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        path: str = scope["path"]
        incoming = _Incoming(receive)
        try:
            reply = await answered(self._answer(path, scope, incoming), scope)
        except ClientGone:
            return
        except MeterhallError as error:
            reply = refusal_of(error)
        if scope["method"] == "POST" and not incoming.complete and not await discard(incoming):
            reply.headers.append(CLOSE)
        AGENT_REQUESTS.labels(_CALLS.get(path, "other"), str(reply.status)).inc()
        now: Headers = [(_CLOCK_HEADER, b"%d" % self._clock.now_ms())]
        await send_reply(send, reply, now)

    async def _answer(self, path: str, scope: Scope, receive: Receive) -> Reply:
        method = _METHODS.get(path)
        if method is None:
            return refusal(404, "there is no such path")
        if scope["method"] != method:
            reply = refusal(405, f"allowed on this path: {method}")
            reply.headers.append((b"allow", method.encode()))
            return reply
        headers: Headers = scope["headers"]
        principal = authenticate(headers, self._access)
        if path == ENROL_PATH:
            return await self._enrol(principal, headers, receive)
        require_scope(principal, "agent")
        assert principal.host_id is not None, "bug: an agent's key without a host"
        host = self._fleet.hear(principal.host_id)
        if path == TARGETS_PATH:
            return self._handout.reply(host, headers)
        return await self._report(host, headers, receive)

    async def _enrol(self, principal: Principal, headers: Headers, receive: Receive) -> Reply:
        self._enrolment.admit(principal)
        body = await self._bodies.read(headers, receive, self._enrolment.body_bytes_max)
        try:
            return Reply(200, [JSON, NOSNIFF], await self._enrolment.enrol(principal, body))
        finally:
            self._bodies.release(body)

    async def _report(self, host: FleetHost, headers: Headers, receive: Receive) -> Reply:
        filling = _BACKFILL in headers
        with self._reports.gate(filling=filling).place(host.host.host_id):
            body = await self._bodies.read(headers, receive, self._reports.body_bytes_max)
            try:
                answer = await self._reports.store(host, body, filling=filling)
            finally:
                self._bodies.release(body)
        return Reply(200, [JSON, NOSNIFF], answer)


class _Incoming:
    """A request's body on its way in, which knows whether its end has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        return message
