"""The same pages, collected by a real Prometheus and by us: same verdict, same series, same values.

Pages are put together from pieces of both formats and damaged a little, from a fixed seed: most are
refused, about a quarter are not.
"""

import http.server
import json
import math
import random
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest
from allowances import allowance
from recording_writer import RecordingWriter, as_seen
from tests.collect.exporters import free_port

from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import SYNTHETIC, ScrapeSession
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant

TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
PAGES = 120
LINES = [
    b"a 1\n",
    b'a{x="y"} 2\n',
    b'{"a.b",c="d"} 3\n',
    b'v{x="1\n2"} 1\n',
    b'v{"x\ny"="2"} 1\n',
    b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\n',
    b'# TYPE s summary\ns{quantile="0.50"} 1\n',
    b'b{x="a\\nb\\"c\\\\"} 4\n',
    b'c{x=" } # ",y=""} NaN\n',
    b"# HELP a says\n",
    b'd{job="k",exported_job="l"} 5\n',
]
PIECES = [
    *(b'a b_bucket { } " =" ", x="y" le="1" , = \\ \\n \\" 1 2.5 NaN -Inf # HELP'.split(b" ")),
    *(b'__name__="z" job="k" exported_job="l" _ 0x1 + . "q" {"a.b"} \r \xff \xc3\xa4'.split(b" ")),
    *(b"1e5 # EOF\n|# TYPE a counter\n| 1\n| 1.5|\t|  |\n| # {}".split(b"|")),
]


def made_page(rng, end):
    if rng.random() < 0.2:
        return b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 12))) + end
    page = bytearray(b"".join(rng.choice(LINES) for _ in range(rng.randrange(1, 4))))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(page) + 1)
        page[at : at + rng.randrange(3)] = rng.choice(PIECES)
    return bytes(page) + end


class Exporter(http.server.ThreadingHTTPServer):
    """Answers `/N` with page N and counts how often it did."""

    daemon_threads = True

    def __init__(self, pages):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pages = pages
        self.asked = [0] * len(pages)


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        number = int(self.path[1:])
        content_type, page = self.server.pages[number]
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
        self.server.asked[number] += 1

    def log_message(self, *_):
        pass


def wait_until(met):
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline, "the peer did not come so far"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def collected(peers, tmp_path_factory):
    """The pages, the exporter's port, and what Prometheus made of each page: (up, {labels: value})."""
    rng = random.Random(2024)
    pages = [(TEXT, made_page(rng, b"")) for _ in range(PAGES)]
    pages += [(OPENMETRICS, made_page(rng, b"# EOF\n")) for _ in range(PAGES)]
    exporter = Exporter(pages)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    directory = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
        "scrape_configs": [
            {
                "job_name": f"j{number}",
                "metrics_path": f"/{number}",
                "static_configs": [{"targets": [f"127.0.0.1:{exporter.server_port}"]}],
            }
            for number in range(len(pages))
        ],
    }
    (directory / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        [
            peers / "prometheus",
            f"--config.file={directory}/config.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Once a page is asked for again, what came of it the first time is stored.
        wait_until(lambda: min(exporter.asked) > 1)
        yield pages, exporter.server_port, answers(port, len(pages))
    finally:
        process.terminate()
        process.wait()
        exporter.shutdown()
        exporter.server_close()


def answers(port, count):
    query = urllib.parse.urlencode({"query": '{job!=""}'})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}") as answer:
        result = json.load(answer)["data"]["result"]
    up, series = {}, [{} for _ in range(count)]
    for found in result:
        labels = found["metric"]
        number = int(labels["job"][1:])
        if labels["__name__"] == "up":
            up[number] = found["value"][1]
        elif labels["__name__"] not in SYNTHETIC:
            series[number][tuple(sorted(labels.items()))] = float(found["value"][1])
    return [(up[number], series[number]) for number in range(count)]


def ours(number, page, content_type, port):
    """What we make of a page: (up, {labels: value}) of the samples that a query now would see."""
    writer = RecordingWriter()
    target = ScrapeTarget(
        "t", f"j{number}", "", "127.0.0.1", "127.0.0.1", port, "/", 1, 1, tenant=Tenant("r", "p")
    )
    now = int(time.time() * 1000)
    session = ScrapeSession(target, writer, MetadataCatalog(), ScrapeLimits(), allowance())
    done = session.commit_page(page, content_type, now, 0.1)
    seen = {}
    for labels, samples in writer.samples.items():
        at = max(samples)
        if dict(labels)["__name__"] not in SYNTHETIC and now - 250_000 < at <= now:
            value = as_seen(samples[at])
            seen[labels] = math.nan if value == "nan" else value
    return ("1" if done.error is None else "0"), seen


@pytest.mark.needs("prometheus")
def test_same_verdict_and_samples(collected):
    pages, port, theirs = collected
    differing = []
    for number, (content_type, page) in enumerate(pages):
        got = ours(number, page, content_type, port)
        # repr, because NaN differs from itself.
        if repr(sorted(got[1].items())) != repr(sorted(theirs[number][1].items())) or (
            got[0] != theirs[number][0]
        ):
            differing.append((content_type, page, got, theirs[number]))
    assert not differing
    assert sum(up == "1" for up, _ in theirs) > PAGES // 4
