"""The remote-write receiver (contract 6.1, 6.2): version 1.0, acknowledged when it is on disk.

A sender drops what a 4xx refuses and sends again what a 5xx or 429 does, so the two must not be mixed up:
samples that can never be taken are 400, a project over its limits is 429 and a disk that is full 503, both with Retry-After. Version 2.0 is 415 and
none of its headers is ever sent. Errors are plain text here, as senders log them.
"""

from starlette.types import Receive

from meterhall.ingest.push import Received
from meterhall.model.errors import MeterhallError
from meterhall.web.body import BodyReader, discard
from meterhall.web.errors import Refused, failure_of
from meterhall.web.prometheus.call import Backend, Call
from meterhall.web.prometheus.runner import Runner, Ticket
from meterhall.web.reply import CLOSE, NOSNIFF, TEXT, Header, Reply

_MEDIA_TYPE = b"application/x-protobuf"
_PROTO_V1 = b"prometheus.WriteRequest"
_REASONS_MAX = 10


async def write(
    backend: Backend, call: Call, bodies: BodyReader, runner: Runner, receive: Receive
) -> Reply:
    """204 when every sample is accepted and durable; else a plain text that says what was not."""
    fault = _media_fault(call)
    if fault is not None:
        # A sender that sees its connection reset instead of the 415 would try again for ever.
        reply = _refusal(fault)
        if not await discard(receive):
            reply.headers.append(CLOSE)
        return reply
    try:
        body = await bodies.read(call.headers, receive, backend.settings.push_bytes_max)

        def work(ticket: Ticket[Received]) -> Received:
            received = backend.pushes.receive(call.tenant, body)
            ticket.hold_back(received.durable)
            return received

        try:
            received = await runner.run(call.tenant, work)
        finally:
            bodies.release(body)
    except MeterhallError as error:
        return _refusal(error)
    return _outcome(received)


def _outcome(received: Received) -> Reply:
    if not received.reasons:
        return Reply(204, [])
    text = "\n".join(received.reasons[:_REASONS_MAX])
    if received.over_limit is None:
        return _text(400, text)
    reply = _text(failure_of(received.over_limit).status, text)
    reply.headers.append((b"retry-after", b"%d" % received.over_limit.retry_after_s))
    return reply


def _refusal(error: MeterhallError) -> Reply:
    failure = failure_of(error)
    reply = _text(failure.status, failure.text)
    if failure.retry_after_s is not None:
        reply.headers.append((b"retry-after", b"%d" % failure.retry_after_s))
    if failure.status in (408, 413):
        # The rest of the body would be taken for the next request.
        reply.headers.append(CLOSE)
    return reply


def _text(status: int, text: str) -> Reply:
    headers: list[Header] = [TEXT, NOSNIFF]
    return Reply(status, headers, text.encode() + b"\n")


def _media_fault(call: Call) -> Refused | None:
    """A 415 for anything but version 1.0 in block-format snappy."""
    media, *parameters = [part.strip() for part in call.content_type.split(b";")]
    protos = [
        value.strip(b'"')
        for name, _, value in (parameter.partition(b"=") for parameter in parameters)
        if name.strip().lower() == b"proto"
    ]
    if media.lower() not in (b"", _MEDIA_TYPE) or any(proto != _PROTO_V1 for proto in protos):
        return Refused(
            415,
            "bad_data",
            "unsupported remote write media type; send application/x-protobuf or "
            "application/x-protobuf;proto=prometheus.WriteRequest (version 1.0)",
        )
    encodings = [
        value.strip().lower() for name, value in call.headers if name == b"content-encoding"
    ]
    if encodings not in ([], [b""], [b"snappy"]):
        return Refused(415, "bad_data", "unsupported content encoding; send snappy (block format)")
    return None
