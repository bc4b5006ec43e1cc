"""The agent channel as an ASGI application: routes, who is calling, and how answers and refusals go out.

Every answer tells the service's clock, also the refusals: an agent whose own clock is wrong learns it there.
"""

from dataclasses import dataclass, field

import structlog
from starlette.types import Message, Receive, Scope, Send

from meterhall.model.errors import MeterhallError
from meterhall.model.tenant import Principal
from meterhall.ports.access import Access
from meterhall.ports.clock import Clock
from meterhall.telemetry.metrics import AGENT_REQUESTS
from meterhall.web.agent.enrolment import EnrolmentDesk
from meterhall.web.agent.refusals import refusal, refusal_of
from meterhall.web.auth import authenticate
from meterhall.web.body import BodyReader, BodySettings, ClientGone, discard
from meterhall.web.reply import CLOSE, JSON, NOSNIFF, Headers, Reply, send_reply
from meterhall.wire.agent_calls import CLOCK_HEADER, ENROL_PATH

PREFIX = "/agent"

_log = structlog.get_logger()

_CLOCK_HEADER = CLOCK_HEADER.lower().encode()
_METHODS = {ENROL_PATH: "POST"}


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Bounds of the channel."""

    bodies: BodySettings = field(default_factory=lambda: BodySettings(in_hand_bytes_max=64 << 20))


class AgentApi:
    """Everything under /agent."""

    def __init__(
        self, access: Access, clock: Clock, enrolment: EnrolmentDesk, settings: AgentSettings
    ) -> None:
        self._access = access
        self._clock = clock
        self._enrolment = enrolment
        self._bodies = BodyReader(settings.bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        path: str = scope["path"]
        incoming = _Incoming(receive)
        try:
            reply = await self._answer(path, scope, incoming)
        except ClientGone:
            return
        except MeterhallError as error:
            reply = refusal_of(error)
        except Exception:  # noqa: BLE001 - a bug costs its own request; the log has it
            request_id = str(scope.get("state", {}).get("request_id", ""))
            _log.exception("agent call failed", path=path, request_id=request_id)
            reply = refusal(500, f"internal error; the log has it under request id {request_id}")
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
        principal = authenticate(scope["headers"], self._access)
        return await self._enrol(principal, scope["headers"], receive)

    async def _enrol(self, principal: Principal, headers: Headers, receive: Receive) -> Reply:
        self._enrolment.admit(principal)
        body = await self._bodies.read(headers, receive, self._enrolment.body_bytes_max)
        try:
            return Reply(200, [JSON, NOSNIFF], await self._enrolment.enrol(principal, body))
        finally:
            self._bodies.release(body)


_CALLS = {ENROL_PATH: "enrol"}


class _Incoming:
    """A request's body on its way in, which knows whether its end has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        return message
