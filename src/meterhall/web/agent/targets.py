"""`GET /agent/v1/targets`: what an agent is to collect. Asked every few seconds by each, and answered from memory."""

from dataclasses import dataclass
from hashlib import sha256
from weakref import WeakKeyDictionary

from meterhall.collect.fleet import FleetHost
from meterhall.model.target import ScrapeTarget
from meterhall.web.reply import JSON, NOSNIFF, Headers, Reply
from meterhall.wire.agent_calls import AgentTarget, AgentTargets, ReportLimits, encode_message

_REVISION_CHARS = 16


@dataclass(frozen=True, slots=True)
class _Written:
    """An answer, and what it was written from."""

    targets: tuple[ScrapeTarget, ...]
    etag: bytes
    body: bytes


class Handout:
    """Writes each host's answer once and again when its targets change. Used on the event loop."""

    def __init__(self, poll_s: float, limits: ReportLimits) -> None:
        self._poll_s = poll_s
        self._limits = limits
        self._written: WeakKeyDictionary[FleetHost, _Written] = WeakKeyDictionary()

    def reply(self, host: FleetHost, headers: Headers) -> Reply:
        """304 where the agent has this revision, else 200 with all."""
        written = self._written.get(host)
        if written is None or written.targets is not host.host.targets:
            written = self._written[host] = self._write(host)
        etag = (b"etag", written.etag)
        if any(name == b"if-none-match" and value == written.etag for name, value in headers):
            return Reply(304, [etag])
        return Reply(200, [JSON, NOSNIFF, etag], written.body)

    def _write(self, host: FleetHost) -> _Written:
        targets = host.host.targets
        # The same for equal content, so that a restart of the service changes nothing.
        revision = sha256(encode_message(self._message(host, "-"))).hexdigest()[:_REVISION_CHARS]
        body = encode_message(self._message(host, revision))
        return _Written(targets, f'"{revision}"'.encode(), body)

    def _message(self, host: FleetHost, revision: str) -> AgentTargets:
        targets = [_agent_target(target) for target in host.host.targets]
        return AgentTargets(revision, host.host.host_id, self._poll_s, targets, self._limits)


def _agent_target(target: ScrapeTarget) -> AgentTarget:
    return AgentTarget(
        target.target_id,
        target.job,
        target.port,
        target.metrics_path,
        target.interval_ms,
        target.timeout_ms,
        target.builtin,
    )
