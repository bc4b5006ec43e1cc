"""How fast pages and pushes are taken in: `python bench/wire.py`, one thread, no store behind.

Prints, for a real node_exporter page and for larger ones made of it: the first reading, a repeated one, one
that lost a series, and a whole collection (ScrapeSession with a writer that takes everything). Then
remote-write bodies of 2,000 series with one and with ten samples each. Medians.
"""

import statistics
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "wire")]

from write_request import body_of  # noqa: E402

from bench.unlimited import UNLIMITED  # noqa: E402
from meterhall.ingest.limits import PushLimits, ScrapeLimits  # noqa: E402
from meterhall.ingest.metadata import MetadataCatalog  # noqa: E402
from meterhall.ingest.push import PushReceiver  # noqa: E402
from meterhall.ingest.scrape import ScrapeSession  # noqa: E402
from meterhall.model.target import ScrapeTarget  # noqa: E402
from meterhall.model.tenant import Tenant  # noqa: E402
from meterhall.ports.append import Appended  # noqa: E402
from meterhall.wire.page import PageReader  # noqa: E402
from meterhall.wire.remote_write import decode  # noqa: E402

PAGE = (ROOT / "tests" / "wire" / "data" / "real_scrape_1.txt").read_bytes()
TEXT = "text/plain; version=0.0.4"
TENANT = Tenant("kr", "bench")
SECONDS = 0.5
NOW = 1_700_000_000_000


class Sink:
    """A writer that takes everything and keeps nothing but refs."""

    def __init__(self):
        self.refs = {}

    def intern(self, clock, series):
        refs = self.refs
        return np.array([refs.setdefault(labels, len(refs)) for labels in series], np.int64)

    def append(self, rows):
        durable = Future()
        durable.set_result(None)
        return Appended(sum(len(row.refs) for row in rows), (), (), durable)


def median(call):
    """Median seconds of CPU that a call takes, over about SECONDS: other load does not count."""
    spent = []
    while sum(spent) < SECONDS or len(spent) < 5:
        begin = time.thread_time()
        call()
        spent.append(time.thread_time() - begin)
    return statistics.median(spent)


def report(name, seconds, samples):
    print(f"{name:<58}{1 / seconds:>10,.0f} /s{samples / seconds:>14,.0f} samples/s")


def pages():
    for copies in (1, 5):
        page = b"".join(PAGE.replace(b"node_", b"node%d_" % i) for i in range(copies))
        samples = sum(not line.startswith(b"#") for line in page.splitlines())
        name = f"page, {samples} samples, {len(page) >> 10} KiB"
        report(f"{name}: first", median(lambda p=page: PageReader(50_000).read(p, TEXT)), samples)
        reader = PageReader(50_000)
        reader.read(page, TEXT)
        report(f"{name}: repeated", median(lambda p=page, r=reader: r.read(p, TEXT)), samples)
        shorter = page[: page.rindex(b"\n", 0, -1) + 1]
        both = [page, shorter] * 10_000
        report(
            f"{name}: series come and go",
            median(lambda b=both, r=reader: r.read(b.pop(), TEXT)),
            samples,
        )
        scrapes(name, page, samples)


def scrapes(name, page, samples):
    target = ScrapeTarget(
        "t", "j", "h", "n", "192.0.2.1", 9100, "/metrics", 60_000, 10_000, tenant=TENANT
    )
    catalog, limits, sink = MetadataCatalog(), ScrapeLimits(), Sink()
    allowance = UNLIMITED.of(TENANT)

    def first():
        ScrapeSession(target, sink, catalog, limits, allowance).commit_page(page, TEXT, 1, 0.1)

    session = ScrapeSession(target, sink, catalog, limits, allowance)
    report(f"{name}: first collection", median(first), samples)
    again = median(lambda: session.commit_page(page, TEXT, 1, 0.1))
    report(f"{name}: repeated collection", again, samples)


def pushes():
    series = 2_000
    for count in (1, 10):
        body = body_of([(labels(i), points(i, count)) for i in range(series)])
        name = f"push, {series} series x {count}"
        report(
            f"{name}: decode, labels new",
            median(lambda b=body: decode(b, (), 1 << 25)),
            series * count,
        )
        known = set(decode(body, (), 1 << 25).blocks)
        report(
            f"{name}: decode, labels known",
            median(lambda b=body, k=known: decode(b, k, 1 << 25)),
            series * count,
        )
        sink = Sink()
        receiver = PushReceiver(lambda _, s=sink: s, MetadataCatalog(), PushLimits(), UNLIMITED)
        receiver.receive(TENANT, body)
        report(
            f"{name}: received",
            median(lambda b=body, r=receiver: r.receive(TENANT, b)),
            series * count,
        )


def labels(i):
    return {
        "__name__": f"node_cpu_seconds_total_{i % 40}",
        "az": f"eu-west-1{'abc'[i % 3]}",
        "cpu": str(i % 16),
        "env": "production",
        "instance": f"node-{i % 100:05}.example.com:9100",
        "job": "node",
        "mode": ("user", "system", "idle")[i % 3],
        "serial": str(i),
    }


def points(i, count):
    """Every twentieth value is zero, which protobuf leaves out."""
    return [(NOW + k, float((i + k) % 20) * 1.37) for k in range(count)]


if __name__ == "__main__":
    pages()
    pushes()
