"""Our evaluator against a real Prometheus on the same samples: label sets exactly, values within 1e-9.

    python -m bench.promql_diff --prometheus /opt/peers/prometheus --queries FILE --fuzz 1000

starts Prometheus on a free port with an empty directory, remote-writes the demo data of the PromLabs
compliance suite to it, and compares every query as instant and as range query, aligned and not. Random
queries run on small data with every oddity.
"""

import argparse
import json
import math
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cramjam
import numpy as np

from bench.promlabs_data import Entry, Sample, demo_series
from bench.promql_fuzz import Generator, odd_series
from meterhall.model.errors import MeterhallError
from meterhall.model.labels import Labels, make_labels
from meterhall.promql.parser import parse_expr
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.fixed import FixedReader
from meterhall.query.result import GridResult, QueryResult, ScalarResult, VectorResult

RELATIVE = 1e-9
SLICE_MS = 900_000
Points = dict[Labels, dict[int, float]]


@dataclass(frozen=True)
class Answer:
    """What came back: points by series, or an error; and the annotations."""

    points: Points
    error: str
    notes: frozenset[str]


@dataclass(frozen=True)
class Series:
    """Samples (time_ms, value) of one series, times ascending."""

    labels: Labels
    samples: list[Sample]


class _Clock:
    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return time.monotonic()


def _columns(series: Series) -> tuple[np.ndarray, np.ndarray]:
    times, values = zip(*series.samples, strict=True)
    return np.array(times, np.int64), np.array(values, np.float64)


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


def push(base: str, series: list[Series]) -> None:
    """Remote-write everything by slices of time: Prometheus refuses what is an hour behind."""
    first = min(one.samples[0][0] for one in series)
    last = max(one.samples[-1][0] for one in series)
    for begin in range(first, last + 1, SLICE_MS):
        for at in range(0, len(series), 500):
            body = b"".join(
                _timeseries(
                    one.labels, [s for s in one.samples if begin <= s[0] < begin + SLICE_MS]
                )
                for one in series[at : at + 500]
            )
            request = urllib.request.Request(
                f"{base}/api/v1/write",
                bytes(cramjam.snappy.compress_raw(body)),
                {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
            )
            urllib.request.urlopen(request).close()


def _get(base: str, path: str, parameters: dict[str, str]) -> dict:
    data = urllib.parse.urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(f"{base}/api/v1/{path}", data) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def theirs(base: str, query: str, grid: tuple[int, int, int]) -> Answer:
    """Prometheus' answer; a step of 0 asks for an instant."""
    start, end, step = grid
    if step:
        times = {"start": start / 1000, "end": end / 1000, "step": step / 1000}
        body = _get(base, "query_range", {"query": query, **times})
    else:
        body = _get(base, "query", {"query": query, "time": start / 1000})
    notes = frozenset((*body.get("warnings", ()), *body.get("infos", ())))
    if body["status"] != "success":
        return Answer({}, body["error"], notes)
    result = body["data"]["result"]
    if body["data"]["resultType"] == "scalar":
        return Answer({(): {_ms(result[0]): float(result[1])}}, "", notes)
    if body["data"]["resultType"] == "string":
        return Answer({((result[1], ""),): {}}, "", notes)
    points = {
        make_labels(entry["metric"]): {
            _ms(t): float(v) for t, v in entry.get("values", [entry.get("value")])
        }
        for entry in result
    }
    return Answer(points, "", notes)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def ours(engine: Engine, reader: FixedReader, query: str, grid: tuple[int, int, int]) -> Answer:
    """The same from our evaluator."""
    start, end, step = grid
    budget = Budget(QueryLimits(), _Clock(), 120)
    try:
        expr = parse_expr(query)
        if step:
            result = engine.range(reader, expr, query, start, end, step, budget)
        else:
            result = engine.instant(reader, expr, query, start, budget)
    except MeterhallError as error:
        return Answer({}, str(error), frozenset())
    return Answer(_points(result), "", frozenset((*result.warnings, *result.infos)))


def _points(result: QueryResult) -> Points:
    value = result.value
    match value:
        case ScalarResult():
            return {(): {value.time_ms: value.value}}
        case VectorResult():
            return {
                labels: {value.time_ms: float(v)}
                for labels, v in zip(value.labels, value.values, strict=True)
            }
        case GridResult():
            mask = np.ones(value.values.shape, bool) if value.present is None else value.present
            return {
                labels: dict(zip(value.times[here].tolist(), row[here].tolist(), strict=True))
                for labels, row, here in zip(value.labels, value.values, mask, strict=True)
            }
    return {
        labels: dict(zip(t.tolist(), v.tolist(), strict=True))
        for labels, t, v in zip(value.labels, value.times, value.values, strict=True)
    }


def difference(left: Answer, right: Answer) -> str:
    """The first disagreement in words, or nothing."""
    if bool(left.error) != bool(right.error):
        return f"error: theirs {left.error!r}, ours {right.error!r}"
    if left.error:
        same = left.error.endswith(right.error) or _worded(left.error) == _worded(right.error)
        return "" if same else f"text: {left.error!r} / {right.error!r}"
    if left.points.keys() != right.points.keys():
        missing, extra = left.points.keys() - right.points.keys(), right.points.keys() - left.points
        return f"labels: missing {sorted(missing)[:2]}, extra {sorted(extra)[:2]}"
    for labels, points in left.points.items():
        mine = right.points[labels]
        if points.keys() != mine.keys():
            return f"times of {labels}: {sorted(points.keys() ^ mine.keys())[:5]}"
        for time_ms, value in points.items():
            if not _close(value, mine[time_ms]):
                return f"value of {labels} at {time_ms}: {value!r} / {mine[time_ms]!r}"
    return _note_difference(left.notes, right.notes)


def _note_difference(left: frozenset[str], right: frozenset[str]) -> str:
    theirs_worded = {_worded(note) for note in left if "annotations omitted" not in note}
    ours_worded = {_worded(note) for note in right if "sort is ineffective" not in note}
    # The API shows ten of a kind; then only what it shows can be compared.
    shortened = len(theirs_worded) < len(left)
    if theirs_worded == ours_worded or (shortened and theirs_worded < ours_worded):
        return ""
    return f"notes: {sorted(theirs_worded ^ ours_worded)[:4]}"


# What 3.14 words differently from 3.5, and which of two equal culprits is named first.
_REWORDED = [
    (r' for metric name ""', ""),
    (r", from buckets .* to \S+Z", ""),
    (r"match group .* of the operation: \[.*\]", "operation:"),
    (r"Scalar value \S+ (over|under)flows", "Scalar value flows"),
]


def _worded(text: str) -> str:
    for pattern, plain in _REWORDED:
        text = re.sub(pattern, plain, text)
    return text


def _close(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or abs(left - right) <= RELATIVE * max(abs(left), abs(right))


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


def grids(end_ms: int) -> Iterator[tuple[int, int, int]]:
    """Instant and range, aligned and not."""
    yield end_ms, end_ms, 0
    yield end_ms - 3_217, end_ms - 3_217, 0
    yield end_ms - 600_000, end_ms, 10_000
    yield end_ms - 601_234, end_ms - 1_234, 7_777


def compare(
    base: str, series: list[Series], queries: list[str], grids: list[tuple[int, int, int]]
) -> Iterator[str]:
    """Each disagreement, printed as it is found."""
    reader = FixedReader({one.labels: _columns(one) for one in series})
    engine = Engine(EngineOptions())
    for query in queries:
        for grid in grids:
            found = difference(theirs(base, query, grid), ours(engine, reader, query, grid))
            if found:
                print(f"{query}\n  {grid}: {found}", flush=True)
                yield found


def _plan(
    arguments: argparse.Namespace, end_ms: int, rng: np.random.Generator
) -> Iterator[tuple[Iterator[Entry], list[str]]]:
    if arguments.queries:
        yield demo_series(end_ms, rng), arguments.queries.read_text().splitlines()
    if arguments.fuzz:
        generator = Generator(arguments.seed, end_ms)
        yield odd_series(end_ms, rng), [generator.query() for _ in range(arguments.fuzz)]


def main() -> int:
    """Compare, print each disagreement and the count; 1 where there is any."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prometheus", default="/opt/peers/prometheus")
    parser.add_argument("--queries", type=Path, help="a query a line, on the demo data")
    parser.add_argument("--fuzz", type=int, default=0, help="so many random queries on odd data")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    end_ms = int(time.time()) // 60 * 60_000 - 720_000  # noqa: TID251 - a tool outside the service
    rng = np.random.default_rng(arguments.seed)
    compared = disagreements = 0
    for entries, queries in _plan(arguments, end_ms, rng):
        series = [Series(*entry) for entry in entries]
        with Prometheus(arguments.prometheus) as peer:
            push(peer.base, series)
            found = list(compare(peer.base, series, queries, list(grids(end_ms))))
        compared += len(queries) * 4
        disagreements += len(found)
    print(f"{compared} comparisons, {disagreements} disagreements")
    return 1 if disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
