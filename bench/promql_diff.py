"""Our answers against a real Prometheus' on the same samples: label sets exactly, values within 1e-9.

    python -m bench.promql_diff --prometheus .peers/prometheus --queries FILE --fuzz 1000 --seed 1
    python -m bench.promql_diff --queries FILE --server http://127.0.0.1:9480/prometheus --key-file F
    python -m bench.promql_diff --fuzz 500 --record tests/query/data/fuzz.jsonl.gz

starts Prometheus on a free port with an empty directory and remote-writes the demo data of the PromLabs
compliance suite to it (for `--queries`: one a line) or small data with every oddity (for `--fuzz`). Each query
is asked as instant and as range query, aligned and not. Without `--server` our evaluator runs in this
process; with it a running Meterhall is written to and asked, and the two JSON answers are compared as well.
"""

import argparse
import gzip
import json
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import cramjam
import numpy as np
from tests.query.memory import MemoryReader, Series

from bench.odd_data import odd_series
from bench.promlabs_data import Sample, demo_series
from bench.promql_answers import (
    Answer,
    Api,
    Grid,
    difference,
    from_json,
    in_process,
    json_difference,
    packed,
)
from bench.promql_fuzz import Generator
from meterhall.model.labels import Labels
from meterhall.query.engine import Engine, EngineOptions

SLICE_MS = 900_000
# Where Prometheus itself gives another answer when asked again, there is nothing to agree with.
ASKED_AGAIN = 6
# Left out: Go's Log, which its Pow uses, is wrong on amd64 for numbers below 2.2e-308.
_LOG_OF_SUBNORMAL = re.compile(  # noqa: TID251 - our own pattern.
    r'\b(ln|log2|log10|a(sin|cos|tan)h)\(.*(tiny|5e-324|__name__|i=")|(tiny|5e-324).*\^'
)
_RECORDED_BYTES_MAX = 1_500_000


def _varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _timeseries(labels: Labels, samples: list[Sample]) -> bytes:
    out = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels
    )
    for time_ms, value in samples:
        out += _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time_ms))
    return _field(1, out)


def push(api: Api, series: list[Series]) -> None:
    """Remote-write everything by slices of time: Prometheus refuses what is an hour behind."""
    first = min(one.samples[0][0] for one in series)
    last = max(one.samples[-1][0] for one in series)
    for begin in range(first, last + 1, SLICE_MS):
        for at in range(0, len(series), 500):
            body = b"".join(_slices(series[at : at + 500], begin))
            headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
            said = api.post("write", bytes(cramjam.snappy.compress_raw(body)), headers)
            assert not said, f"remote write was refused: {said[:200]!r}"


def _slices(series: list[Series], begin: int) -> Iterator[bytes]:
    for one in series:
        samples = [sample for sample in one.samples if begin <= sample[0] < begin + SLICE_MS]
        if samples:
            yield _timeseries(one.labels, samples)


def in_order_of_creation(series: list[Series]) -> list[Series]:
    """As Prometheus will number them, which is the order it hands them to its evaluator."""
    first = min(one.samples[0][0] for one in series)
    return sorted(series, key=lambda one: (one.samples[0][0] - first) // SLICE_MS)


class Prometheus:
    """A Prometheus of our own in a temporary directory."""

    def __init__(self, binary: str) -> None:
        self._directory = tempfile.TemporaryDirectory()
        root = Path(self._directory.name)
        (root / "prometheus.yml").write_text("global: {}\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                binary,
                f"--config.file={root / 'prometheus.yml'}",
                f"--storage.tsdb.path={root / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-remote-write-receiver",
                "--enable-feature=promql-experimental-functions,promql-duration-expr",
                "--log.level=error",
            ]
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.base}/-/ready").close()
            except OSError:
                time.sleep(0.1)
            else:
                return self
        raise TimeoutError("Prometheus did not get ready within 30 s")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._directory.cleanup()


def grids(end_ms: int) -> list[Grid]:
    """Instant and range, aligned and not."""
    return [
        (end_ms, end_ms, 0),
        (end_ms - 3_217, end_ms - 3_217, 0),
        (end_ms - 600_000, end_ms, 10_000),
        (end_ms - 601_234, end_ms - 1_234, 7_777),
    ]


def odd_grids(end_ms: int, chance: random.Random) -> list[Grid]:
    """An instant and two ranges: inside the data, at its edges, a lookback behind, outside."""
    edge = end_ms - chance.choice([900_000, 500_000, 300_000, 210_000])
    instants = [end_ms, end_ms - 3_217, edge, edge + 300_000, edge + 299_999, end_ms + 290_001]
    instants += [end_ms - 900_000 + 300_000, end_ms + 300_000, end_ms - 7_200_000]
    at = chance.choice(instants)
    ranges = [
        (end_ms - 600_000, end_ms, 10_000),
        (end_ms - 601_234, end_ms - 1_234, 7_777),
        (end_ms - 90_000, end_ms - 30_000, 1_000),
        (end_ms - 1_300_000, end_ms - 700_000, 20_000),
        (end_ms - 7_000_000, end_ms + 700_000, 300_000),
        (end_ms - 6_900_007, end_ms + 7_200_000, 3_600_000),
        (end_ms - 60_000, end_ms + 420_000, 15_000),
        (end_ms - 450_500, end_ms - 450_500, 60_000),
        (end_ms - 1_000_001, end_ms - 399_999, 1_001),
        (end_ms - 900_000, end_ms - 5_000, 60_000),
    ]
    return [(at, at, 0), *chance.sample(ranges, 2)]


def small_grids(end_ms: int) -> list[Grid]:
    """For a recording: an instant, and a range of thirteen steps."""
    return [(end_ms - 3_217, end_ms - 3_217, 0), (end_ms - 430_000, end_ms + 134_001, 47_000)]


Body = dict[str, Any]


class Comparison:
    """Asks both and prints each disagreement as it is found."""

    def __init__(self, peer: Api, series: list[Series], server: Api | None) -> None:
        self._peer = peer
        self._server = server
        self._reader = MemoryReader(in_order_of_creation(series))
        self._engine = Engine(EngineOptions())
        self.compared = 0
        self.unsettled = 0
        self.found = 0
        self.agreed: list[tuple[str, Grid, Answer]] = []

    def compare(self, query: str, grid: Grid) -> None:
        """One query at one grid."""
        self.compared += 1
        differing = self._differing(query, grid)
        theirs = self._peer.ask(query, grid)
        found = differing(theirs)
        if not found:
            self.agreed.append((query, grid, from_json(theirs)))
        elif self._is_settled(query, grid, theirs, differing):
            self.found += 1
            print(f"{query}\n  {grid}: {found}", flush=True)
        else:
            self.unsettled += 1

    def _differing(self, query: str, grid: Grid) -> Callable[[Body], str]:
        """Our answer, as what tells how one of theirs is different."""
        if self._server is None:
            ours = in_process(self._engine, self._reader, query, grid)
            return lambda theirs: difference(from_json(theirs, query), ours)
        answer = self._server.ask(query, grid)
        return lambda theirs: json_difference(theirs, answer, query, grid)

    def _is_settled(
        self, query: str, grid: Grid, theirs: Body, differing: Callable[[Body], str]
    ) -> bool:
        """Whether Prometheus repeats itself."""
        again = [self._peer.ask(query, grid) for _ in range(ASKED_AGAIN)]
        first = from_json(theirs)
        return all(differing(body) and not difference(first, from_json(body)) for body in again)


def _record(path: Path, series: list[Series], agreed: list[tuple[str, Grid, Answer]]) -> None:
    """The samples in the first line, then an answer a line."""
    samples = [[dict(one.labels), *map(_texts, zip(*one.samples, strict=True))] for one in series]
    lines = [json.dumps(samples), *(json.dumps(packed(*entry)) for entry in agreed)]
    data = gzip.compress("\n".join(lines).encode(), mtime=0)
    assert len(data) < _RECORDED_BYTES_MAX, f"a recording of {len(data)} bytes"
    path.write_bytes(data)
    print(f"{len(agreed)} answers in {len(data)} bytes")


def _texts(numbers: tuple[float, ...]) -> str:
    """Numbers so that none is lost: a staleness marker is one NaN among many."""
    return " ".join(
        struct.pack(">d", number).hex() if number != number else repr(number) for number in numbers
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", default=".peers/prometheus")
    parser.add_argument("--queries", type=Path, help="a query a line, on the demo data")
    parser.add_argument("--fuzz", type=int, default=0, help="so many random queries on odd data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", help="a Meterhall with empty store, to be asked instead")
    parser.add_argument("--key-file", type=Path, help="its appkey, in a file")
    parser.add_argument(
        "--record", type=Path, help="keep what agreed, for tests/query/test_fuzz.py"
    )
    return parser.parse_args()


def _server(arguments: argparse.Namespace) -> Api | None:
    if not arguments.server:
        return None
    return Api(arguments.server, {"X-TC-APP-KEY": arguments.key_file.read_text().strip()})


def _run(arguments: argparse.Namespace, series: list[Series], asked: list[tuple[str, Grid]]) -> int:
    server = _server(arguments)
    with Prometheus(arguments.prometheus) as peer:
        api = Api(peer.base)
        comparison = Comparison(api, series, server)
        for target in filter(None, (api, server)):
            push(target, series)
        for query, grid in asked:
            if not _LOG_OF_SUBNORMAL.search(query):
                comparison.compare(query, grid)
    if arguments.record:
        _record(arguments.record, in_order_of_creation(series), comparison.agreed)
    print(
        f"{comparison.compared} comparisons, {comparison.found} disagreements, "
        f"{comparison.unsettled} where Prometheus does not agree with itself"
    )
    return comparison.found


def main() -> int:
    """Compare, print each disagreement and the count; 1 where there is any."""
    arguments = _arguments()
    end_ms = int(time.time()) // 60 * 60_000 - 720_000  # noqa: TID251 - a tool outside the service
    rng = np.random.default_rng(arguments.seed)
    found = 0
    if arguments.queries:
        series = [Series(*entry) for entry in demo_series(end_ms, rng)]
        queries = arguments.queries.read_text().splitlines()
        found += _run(arguments, series, [(q, grid) for q in queries for grid in grids(end_ms)])
    if arguments.fuzz:
        series = [Series(*entry) for entry in odd_series(end_ms, rng)]
        generator, chance = Generator(arguments.seed, end_ms), random.Random(arguments.seed)
        asked: list[tuple[str, Grid]] = []
        for _ in range(arguments.fuzz):
            chosen = small_grids(end_ms) if arguments.record else odd_grids(end_ms, chance)
            query = generator.query()
            asked += [(query, grid) for grid in chosen]
        found += _run(arguments, series, asked)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
