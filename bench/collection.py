"""Collection on time: 1,000 targets at one second's interval in one process, into the real store.

Run it with `python -m bench.collection [TARGETS] [SECONDS] [SAMPLES A PAGE]`. One aiohttp server in a process of
its own answers for all targets. Printed are the collections that were due and done, how late they began, how
long the event loop was ever held, and the processor time that a thousand samples cost.
"""

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from aiohttp import web

from bench.unlimited import UNLIMITED
from meterhall.app.clock import SystemClock
from meterhall.app.process import tune
from meterhall.collect.addresses import AddressPolicy
from meterhall.collect.collector import Collaborators, Collector, CollectSettings
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant
from meterhall.telemetry.heartbeat import beat
from meterhall.telemetry.metrics import LOOP_LAG_SECONDS, REGISTRY
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

WARM_UP_S = 3


class FixedInventory:
    """Targets that do not change."""

    changes = 0

    def __init__(self, targets: list[ScrapeTarget]) -> None:
        self._targets = targets

    def scrape_targets(self, _regions: object) -> list[ScrapeTarget]:
        return self._targets

    def save_reports(self, _reports: object) -> None:
        """Nobody asks for them here."""


def serve(pipe: Connection, samples: int) -> None:
    """An exporter whose values change with every page."""

    async def page(_request: web.Request) -> web.Response:
        now = time.time_ns() // 1_000_000
        return web.Response(body=template % ((now,) * samples), content_type="text/plain")

    template = b"".join(b'metric_%d{item="%d"} %%d\n' % (i % 50, i) for i in range(samples))

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/metrics", page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def targets_of(count: int, port: int) -> list[ScrapeTarget]:
    """All on one server; only names tell them apart."""
    return [
        ScrapeTarget(
            target_id=f"target-{i}",
            tenant=Tenant("kr", f"project{i % 20}"),
            job="node",
            host_id=f"host-{i}",
            host_name=f"web-{i}",
            address="127.0.0.1",
            port=port,
            metrics_path="/metrics",
            interval_ms=1000,
            timeout_ms=1000,
        )
        for i in range(count)
    ]


def late_counts() -> dict[float, float]:
    """Cumulated counts of the lateness histogram, and of all outcomes."""
    counts = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.name == "meterhall_scrape_late_seconds_bucket":
                counts[float(sample.labels["le"])] = sample.value
    return counts


def fsyncs() -> tuple[float, float]:
    """How many group commits there were, and the seconds that they took."""
    found = {
        sample.name: sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name.startswith("meterhall_wal_fsync_duration_seconds_")
        and "le" not in sample.labels
    }
    prefix = "meterhall_wal_fsync_duration_seconds_"
    return found[prefix + "count"], found[prefix + "sum"]


def outcomes() -> dict[str, float]:
    """Collections so far, by outcome."""
    return {
        sample.labels["outcome"]: sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "meterhall_scrapes_total"
    }


async def measure(count: int, seconds: float, port: int, directory: Path) -> dict[str, float]:
    """Runs the collector and returns what the table shows."""
    clock = SystemClock()
    store = EmbeddedStore(directory, StoreSettings(), clock)
    catalog = MetadataCatalog()

    def open_session(target: ScrapeTarget) -> ScrapeSession:
        allowance = UNLIMITED.of(target.tenant)
        writer = store.writer(target.tenant)
        return ScrapeSession(target, writer, catalog, ScrapeLimits(), allowance)

    collaborators = Collaborators(
        FixedInventory(targets_of(count, port)), open_session, lambda: b"", clock
    )
    collector = Collector(
        ["kr"], collaborators, AddressPolicy(allow_loopback=True), CollectSettings()
    )
    began_s = clock.monotonic()
    heart = asyncio.create_task(beat())
    await collector.start()
    await asyncio.sleep(WARM_UP_S)
    late_before, done_before, cpu_before = late_counts(), outcomes(), cpu_s()
    window_s = clock.monotonic()
    await asyncio.sleep(seconds)
    elapsed_s = clock.monotonic() - window_s
    late, done, cpu = late_counts(), outcomes(), cpu_s() - cpu_before
    lag = LOOP_LAG_SECONDS._value.get()  # noqa: SLF001 - a bench may look inside.
    await collector.stop()
    heart.cancel()
    store.close()
    began = {le: late[le] - late_before[le] for le in late}
    return {
        "due": count * elapsed_s,
        "ok": done.get("ok", 0) - done_before.get("ok", 0),
        "not ok": sum(done.values())
        - sum(done_before.values())
        - done.get("ok", 0)
        + done_before.get("ok", 0),
        "late p50 below s": quantile(began, 0.5),
        "late p99 below s": quantile(began, 0.99),
        "loop held at most s": lag,
        "fsyncs a second": fsyncs()[0] / (clock.monotonic() - began_s),
        "fsync mean s": fsyncs()[1] / max(1.0, fsyncs()[0]),
        "CPU s a second": cpu / elapsed_s,
        "resident MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def cpu_s() -> float:
    """Processor time of this process and its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def quantile(cumulated: dict[float, float], share: float) -> float:
    """The histogram's bound below which that share lies."""
    total = max(cumulated.values())
    return min(le for le, count in cumulated.items() if count >= share * total)


def main() -> None:
    """Prints the table."""
    count, seconds, samples = (
        int(given) for given in [*sys.argv[1:], *("1000", "20", "100")[len(sys.argv) - 1 :]]
    )
    parent, child = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(child, samples), daemon=True)
    server.start()
    tune()
    try:
        with tempfile.TemporaryDirectory() as directory:
            run = measure(count, seconds, parent.recv(), Path(directory) / "data")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(run)
    finally:
        server.kill()
    print(f"{count} targets, {samples} samples a page, every second, {seconds} s")
    for name, value in figures.items():
        print(f"  {name:22} {value:12.3f}")


if __name__ == "__main__":
    main()
