"""The small calls between a host's agent and the service, as JSON: enrolment, targets, what became of a report.

Every field is bounded, because each side reads what the other may have made up. Unknown fields are passed
over, so that either side may be newer.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from meterhall.model.errors import BadInput
from meterhall.model.limits import INTERVAL_MS_MAX, INTERVAL_MS_MIN

KEY_HEADER = "X-TC-APP-KEY"
CLOCK_HEADER = "X-Meterhall-Time-Ms"
# Set to "1" on a report that is back-fill: the service may let it wait for longer than a live one.
BACKFILL_HEADER = "X-Meterhall-Backfill"
ENROL_PATH = "/agent/v1/enrol"
TARGETS_PATH = "/agent/v1/targets"
REPORTS_PATH = "/agent/v1/reports"

# Bounds of what a service may tell its agents; its settings are held to them.
POLL_MS_MIN = 100
POLL_MS_MAX = 3_600_000
TARGETS_MAX = 1_000
BYTES_MAX = 1 << 40

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Count = Annotated[int, Meta(ge=1, le=BYTES_MAX)]

Message = TypeVar("Message", bound=Struct)


class Enrolment(Struct, frozen=True, rename="camel"):
    """What an agent tells about its host. `agent_id` is a UUID that it made at its first start and keeps."""

    agent_id: Annotated[str, Meta(min_length=36, max_length=36)]
    hostname: Name
    address: Annotated[str, Meta(min_length=1, max_length=64)]
    os: Annotated[str, Meta(min_length=1, max_length=32)]
    version: Annotated[str, Meta(max_length=64)]
    instance_id: Name | None = None
    region: Name | None = None


class Enrolled(Struct, frozen=True, rename="camel"):
    """The agent's own credential, shown this once."""

    host_id: Name
    key: Name
    region: Name


class AgentTarget(Struct, frozen=True, rename="camel"):
    """One target of the host. `builtin`: the host's own metrics, which are gathered and not fetched."""

    target_id: Annotated[str, Meta(min_length=1, max_length=64)]
    job: Name
    port: Annotated[int, Meta(ge=0, le=65_535)]
    metrics_path: Annotated[str, Meta(min_length=1, max_length=4096)]
    interval_ms: Annotated[int, Meta(ge=INTERVAL_MS_MIN, le=INTERVAL_MS_MAX)]
    timeout_ms: Annotated[int, Meta(ge=1, le=INTERVAL_MS_MAX)]
    builtin: bool = False


class ReportLimits(Struct, frozen=True, rename="camel"):
    """The service's caps. Bytes of a page are decoded; of a batch, compressed and decoded."""

    page_bytes_max: Count
    samples_max: Count
    batch_bytes_max: Count
    batch_decoded_bytes_max: Count


class AgentTargets(Struct, frozen=True, rename="camel"):
    """What to collect. `revision` changes whenever anything else here does."""

    revision: Name
    host_id: Name
    poll_seconds: Annotated[float, Meta(ge=POLL_MS_MIN / 1000, le=POLL_MS_MAX / 1000)]
    targets: Annotated[list[AgentTarget], Meta(max_length=TARGETS_MAX)]
    limits: ReportLimits


class RefusedScrape(Struct, frozen=True, rename="camel"):
    """A scrape that can never be stored, and why."""

    seq: int
    reason: str


class ReportAnswer(Struct, frozen=True, rename="camel"):
    """What became of a batch: a `seq` that is in neither list is on disk."""

    stored: int
    unknown_shapes: list[int]
    refused: list[RefusedScrape]


class Refusal(Struct, frozen=True):
    """The body of any answer that is not 200 or 304: a sentence."""

    error: str


def encode_message(message: Struct) -> bytes:
    """The message as JSON."""
    return msgspec.json.encode(message)


def decode_message(body: bytes, kind: type[Message]) -> Message:
    """The message. Raises BadInput, which says where it is wrong and quotes nothing."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"no {kind.__name__}: {error}") from None
