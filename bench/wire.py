"""How fast pages and pushes are taken in: `python bench/wire.py`, one thread, no store behind.

Prints, for a real node_exporter page and for larger ones made of it: the first reading, a repeated one, one
that lost a series, and a whole collection (ScrapeSession with a writer that takes everything): medians. Then
pushes: a sender's stream of 20,000 series in bodies of 2,000 samples that repeat, and of 1,937 that never do.
"""

import random
import statistics
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "wire")]

from write_request import encoded, knowing, snappy  # noqa: E402

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
SERIES, ROUNDS = 20_000, 8


class Sink:
    """A writer that takes everything and keeps nothing but refs."""

    def __init__(self):
        self.refs = {}

    def intern(self, clock, series, _series_max=None):
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
    """CPU seconds a million samples: decoding alone, and with all that a push does before the store."""
    for zeros in (0.0, 0.01):
        stream = rounds(zeros)
        for size in (2_000, 1_937):
            bodies = [
                (snappy(b"".join(stream[at : at + size])), len(stream[at : at + size]))
                for at in range(0, len(stream), size)
            ]
            name = f"push, {size} of {SERIES} series, {zeros:.0%} turn zero"
            known = knowing()
            spent = [first_decoding(body, known) for body, _ in bodies[: SERIES // size + 1]]
            report_push(f"{name}: decode, all new", sum(spent), size * len(spent))
            once = knowing(known.numbers)
            report_push(
                f"{name}: decode, one by one",
                *over(bodies, lambda b, k=once: decode(b, k, 1 << 25)),
            )
            often = knowing(known.numbers, 1 << 24)
            report_push(f"{name}: decode", *over(bodies, lambda b, k=often: decode(b, k, 1 << 25)))
            sink = Sink()
            receiver = PushReceiver(lambda _, s=sink: s, MetadataCatalog(), PushLimits(), UNLIMITED)
            report_push(
                f"{name}: received", *over(bodies, lambda b, r=receiver: r.receive(TENANT, b))
            )


def first_decoding(body, known):
    begin = time.thread_time()
    request = decode(body, known, 1 << 25)
    spent = time.thread_time() - begin
    known.add({block: len(known.numbers) + new for new, block in enumerate(request.fresh)})
    return spent


def over(bodies, call):
    """Seconds and samples of the later half of the bodies: the earlier shows what repeats."""
    half = len(bodies) // 2
    for body, _ in bodies[:half]:
        call(body)
    begin = time.thread_time()
    for body, _ in bodies[half:]:
        call(body)
    return time.thread_time() - begin, sum(samples for _, samples in bodies[half:])


def report_push(name, seconds, samples):
    print(f"{name:<66}{seconds / samples * 1e6:>8.3f} CPU s/M")


def rounds(zeros):
    """Messages of all series in the same order, again and again; now and then one is zero, and so shorter."""
    some = random.Random(1)
    return [
        encoded(
            [(labels(i), [(NOW + 15_000 * k, 0.0 if some.random() < zeros else some.random())])]
        )
        for k in range(ROUNDS)
        for i in range(SERIES)
    ]


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


if __name__ == "__main__":
    pages()
    pushes()
