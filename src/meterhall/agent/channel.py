"""The line to the service: one kept-alive connection, and what each kind of answer means.

Nothing is followed (no redirect, no proxy, no cookie), answers are bounded in size and time, certificates are
verified, and there is no way back from https to http. Every answer tells the service's clock.
"""

import contextlib
import http
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from yarl import URL

from meterhall import __version__
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.status import fail_reason
from meterhall.model.errors import BadInput, ConfigError
from meterhall.wire import agent_calls as calls
from meterhall.wire.agent_calls import AgentTargets, Enrolled, Enrolment, ReportAnswer

log = structlog.get_logger()

_ANSWER_BYTES_MAX: Final = 4 << 20
_CONNECT_S: Final = 5.0
_CALL_S: Final = 30.0
# The service keeps a connection for 75 s; ours must end first, or a call meets a closing one.
_KEEP_ALIVE_S: Final = 60.0
_RETRY_AFTER_S_MAX: Final = 3600
_NOT_A_SERVICE: Final = "it does not answer as a Meterhall service does"


class ChannelError(Exception):
    """A call that brought nothing. The text is one line that is fit to be logged."""


class Unreachable(ChannelError):
    """No answer, or one that says that the service is in trouble: try again."""


class Busy(ChannelError):
    """The service asks for patience: try again, but not before `retry_after_s`."""

    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Denied(ChannelError):
    """The key is not good for this: only an operator can help."""


class Misdirected(ChannelError):
    """Whoever answers is no service for agents: only an operator can help."""


class Unacceptable(ChannelError):
    """The service understood, and what was sent can never succeed."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the service is. `ca_file` replaces the system's authorities."""

    url: str
    ca_file: Path | None = None
    allow_plain_http: bool = False

    def base(self) -> URL:
        """The URL, checked. Raises ConfigError."""
        try:
            url = URL(self.url)
        except ValueError:
            raise ConfigError(f"the server {self.url!r} is no URL") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"the server {self.url!r} is not http(s)://HOST[:PORT]")
        if url.user or url.password or url.query_string or url.fragment:
            raise ConfigError("the server's URL may hold no user, query or fragment")
        if url.scheme == "http" and not (_is_loopback(url.host) or self.allow_plain_http):
            raise ConfigError(
                f"{url.host} would get key and data unencrypted: use https, or --allow-plain-http"
            )
        return url

    def tls(self) -> ssl.SSLContext:
        """Verifies the server's certificate and name. Raises ConfigError for a bad file."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"the CA file {self.ca_file} cannot be used: {error}") from None


class Channel:
    """Calls of one agent. Make it, use it and close it on one event loop."""

    def __init__(self, server: ServerSettings, clock: AgentClock) -> None:
        """Raises ConfigError where the server's settings are wrong."""
        self._base = server.base()
        self._clock = clock
        self.key = ""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=1, ssl=server.tls(), keepalive_timeout=_KEEP_ALIVE_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=_CALL_S, sock_connect=_CONNECT_S),
            headers={"User-Agent": f"Meterhall-agent/{__version__}", "Accept-Encoding": "identity"},
        )

    async def enrol(self, enrolment: Enrolment, key: str) -> Enrolled:
        """Makes this host known, with a key of scope `write` or a one-time token. Raises ChannelError."""
        body = calls.encode_message(enrolment)
        headers = {calls.KEY_HEADER: key, "Content-Type": "application/json"}
        _, answer = await self._call("POST", calls.ENROL_PATH, headers, body)
        return _read(answer, Enrolled)

    async def targets(self, revision: str | None) -> AgentTargets | None:
        """What to collect, None if it is still `revision`. Raises ChannelError."""
        headers = {calls.KEY_HEADER: self.key}
        if revision is not None:
            headers["If-None-Match"] = f'"{revision}"'
        status, answer = await self._call("GET", calls.TARGETS_PATH, headers)
        return None if status == http.HTTPStatus.NOT_MODIFIED else _read(answer, AgentTargets)

    async def report(self, batch: bytes, *, backfill: bool) -> ReportAnswer:
        """Delivers an encoded batch. Raises ChannelError."""
        headers = {calls.KEY_HEADER: self.key, "Content-Type": "application/octet-stream"}
        if backfill:
            headers[calls.BACKFILL_HEADER] = "1"
        _, answer = await self._call("POST", calls.REPORTS_PATH, headers, batch)
        return _read(answer, ReportAnswer)

    async def close(self) -> None:
        """Ends the connection."""
        await self._session.close()

    async def _call(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, bytes]:
        """The status, 200 or 304, and the body. Any other answer is raised as what it means."""
        machine = self._clock.machine
        sent_ms = machine.boot_ms()
        try:
            async with self._session.request(
                method,
                self._base.joinpath(path.removeprefix("/")),
                headers=headers,
                data=body,
                allow_redirects=False,
            ) as response:
                received_ms = machine.boot_ms()
                answer = await response.content.read(_ANSWER_BYTES_MAX)
                while not response.content.at_eof() and len(answer) < _ANSWER_BYTES_MAX:
                    answer += await response.content.read(_ANSWER_BYTES_MAX - len(answer))
        except TimeoutError:
            raise Unreachable("no answer in time") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Misdirected(f"its certificate is not valid: {error.certificate_error}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(fail_reason(str(error) or type(error).__name__)) from None
        if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_MODIFIED):
            raise _meaning(response.status, response.headers, answer)
        self._hear(response.headers, sent_ms, received_ms)
        return response.status, answer

    def _hear(self, headers: Mapping[str, str], sent_ms: int, received_ms: int) -> None:
        text = headers.get(calls.CLOCK_HEADER, "")
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise Misdirected(_NOT_A_SERVICE)
        try:
            self._clock.hear(int(text), sent_ms, received_ms)
        except OSError as error:
            raise Unreachable(f"the clock's file cannot be written: {error.strerror}") from None


def _meaning(status: int, headers: Mapping[str, str], answer: bytes) -> ChannelError:
    reason = f"{status}"
    with contextlib.suppress(BadInput):
        reason = f"{status}: {fail_reason(calls.decode_message(answer, calls.Refusal).error)}"
    if status in (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE):
        after = headers.get("Retry-After", "")
        if after.isascii() and after.isdigit():
            return Busy(reason, min(int(after[:5]), _RETRY_AFTER_S_MAX))
        return Unreachable(reason)
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return Denied(reason)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status == http.HTTPStatus.REQUEST_TIMEOUT:
        return Unreachable(reason)
    if status < http.HTTPStatus.BAD_REQUEST or status in (
        http.HTTPStatus.NOT_FOUND,
        http.HTTPStatus.METHOD_NOT_ALLOWED,
    ):
        return Misdirected(f"{_NOT_A_SERVICE} ({reason})")
    return Unacceptable(reason)


def _read(answer: bytes, kind: type[calls.Message]) -> calls.Message:
    try:
        return calls.decode_message(answer, kind)
    except BadInput as error:
        raise Misdirected(f"{_NOT_A_SERVICE}: {fail_reason(str(error))}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Patience:
    """How long to wait before the next try: twice as long after each failure, never all agents at once.

    `jitter` draws from [0, 1).
    """

    FIRST_S: Final = 1.0
    LONGEST_S: Final = 30.0
    # Where only an operator can help.
    RARELY_S: Final = 120.0

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self._failures = 0

    def after(self, error: ChannelError) -> float:
        """Seconds to wait now."""
        match error:
            case Busy(retry_after_s=seconds):
                return max(self.FIRST_S / 2, seconds) * (1 + self._jitter() / 4)
            case Denied() | Misdirected():
                return self.RARELY_S * (1 + self._jitter() / 4)
            case _:
                self._failures += 1
                longest = min(self.LONGEST_S, self.FIRST_S * (1 << min(self._failures - 1, 10)))
                return longest * (0.5 + self._jitter() / 2)
