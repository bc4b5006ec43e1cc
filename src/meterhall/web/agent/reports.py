"""`POST /agent/v1/reports`: batches of scrapes, decoded and stored on worker threads, answered after fsync.

Live batches and back-fill have places, and threads, of their own: five hundred agents that return together
after hours fill their gaps one by one, and keep no one's newest scrapes waiting.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from meterhall.collect.fetch import Failure, FailureKind
from meterhall.collect.fleet import Fleet, FleetHost, Receipt
from meterhall.collect.lane import Reported
from meterhall.ingest.shapes import ShapeLibrary
from meterhall.model.errors import BadInput
from meterhall.model.tenant import Tenant
from meterhall.ports.clock import Clock
from meterhall.telemetry.metrics import AGENT_REPORT_BYTES, AGENT_SCRAPES_DROPPED
from meterhall.web.agent.gate import Gate
from meterhall.wire.agent_calls import RefusedScrape, ReportAnswer, ReportLimits, encode_message
from meterhall.wire.agent_report import (
    FailedScrape,
    Scrape,
    SplitPage,
    WholePage,
    decode_batch,
)
from meterhall.wire.page import PageReader
from meterhall.wire.reading import BodyReading, WordsReading

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Bounds of reports. Places are batches in hand, each of another host; threads work on them."""

    limits: ReportLimits
    live_places: int = 256
    live_threads: int = 2
    filling_places: int = 4
    filling_threads: int = 1


class ReportDesk:
    """Takes batches in. Used on the event loop."""

    def __init__(
        self, fleet: Fleet, shapes: ShapeLibrary, clock: Clock, settings: ReportSettings
    ) -> None:
        self._fleet = fleet
        self._shapes = shapes
        self._limits = settings.limits
        refusal = "too many reports at once; try again later"
        self._live = Gate(settings.live_places, refusal, clock)
        self._filling = Gate(
            settings.filling_places, "back-fill has to wait; try again later", clock
        )
        self._live_workers = ThreadPoolExecutor(settings.live_threads, "agent-live")
        self._filling_workers = ThreadPoolExecutor(settings.filling_threads, "agent-filling")

    @property
    def body_bytes_max(self) -> int:
        """The largest body, as it comes."""
        return self._limits.batch_bytes_max

    def close(self) -> None:
        """Waits for work in hand."""
        self._live_workers.shutdown()
        self._filling_workers.shutdown()

    def gate(self, *, filling: bool) -> Gate:
        """Where a place has to be found before the body is read."""
        return self._filling if filling else self._live

    async def store(self, host: FleetHost, body: bytes, *, filling: bool) -> bytes:
        """The answer to a batch, once all of it is on disk. Raises BadInput, TooLarge, StoreUnavailable."""
        workers = self._filling_workers if filling else self._live_workers
        AGENT_REPORT_BYTES.labels("backfill" if filling else "live").inc(len(body))
        async with host.lock:
            answer, receipt = await asyncio.get_running_loop().run_in_executor(
                workers, self._take, host, body
            )
            await _settled(receipt.durable)
            self._fleet.settle(host, receipt)
        return answer

    def _take(self, host: FleetHost, body: bytes) -> tuple[bytes, Receipt]:
        batch = decode_batch(body, self._limits.batch_decoded_bytes_max)
        if batch.dropped:
            AGENT_SCRAPES_DROPPED.inc(batch.dropped)
            log.warning("agent lost scrapes", host=host.host.host_id, scrapes=batch.dropped)
        unknown: list[int] = []
        refused: list[RefusedScrape] = []
        readable: list[int] = []
        scrapes: list[tuple[str, Reported]] = []
        for scrape in batch.scrapes:
            try:
                outcome = self._outcome(host.host.tenant, scrape)
            except BadInput as error:
                refused.append(RefusedScrape(scrape.seq, str(error)))
                continue
            if outcome is None:
                unknown.append(scrape.seq)
                continue
            readable.append(scrape.seq)
            reported = Reported(scrape.time_ms, scrape.duration_s, outcome)
            scrapes.append((scrape.target_id, reported))
        receipt = self._fleet.take(host, scrapes)
        refused += [
            RefusedScrape(readable[place], reason) for place, reason in receipt.refused.items()
        ]
        stored = len(scrapes) - len(receipt.refused)
        return encode_message(ReportAnswer(stored, unknown, refused)), receipt

    def _outcome(
        self, tenant: Tenant, scrape: Scrape
    ) -> BodyReading | WordsReading | Failure | None:
        """What was collected; None where its shape has to be sent. Raises BadInput where it is no page."""
        told = scrape.outcome
        limits = self._limits
        match told:
            case FailedScrape():
                return Failure(FailureKind(told.kind), told.reason, told.http_status)
            case WholePage():
                if len(told.body) > limits.page_bytes_max:
                    return _too_large(limits.page_bytes_max)
                reader = PageReader(limits.samples_max)
                return BodyReading(reader, told.body, told.content_type)
            case SplitPage():
                name = (tenant, told.shape_id, told.content_type)
                if told.shape is None:
                    known = self._shapes.find(*name)
                elif len(told.shape) > limits.page_bytes_max:
                    return _too_large(limits.page_bytes_max)
                else:
                    known = self._shapes.add(*name, told.shape)
                if known is None:
                    return None
                return WordsReading(known, told.words, limits.samples_max)


def _too_large(bytes_max: int) -> Failure:
    return Failure(FailureKind.LIMIT, f"page is larger than {bytes_max} bytes")


async def _settled(durable: Sequence[Future[None]]) -> None:
    """Waits for all, the last one first: the log writes them in their order. Raises the first failure."""
    for future in reversed(durable):
        if not future.done():
            # Shielded, for others wait for the same commit.
            await asyncio.shield(asyncio.wrap_future(future))
    for future in durable:
        future.result()
