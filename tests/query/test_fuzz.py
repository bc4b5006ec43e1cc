"""Random queries against what a real Prometheus 3.5.3 answered on the same samples.

`data/fuzz.jsonl.gz` was written by `python -m bench.promql_diff --fuzz 500 --seed N --record FILE`: the samples in
its first line, then an answer a line. Where 3.14 differs from 3.5 by intent, docs/promql-differences.md says so.
"""

import gzip
import json
import struct
from pathlib import Path

import pytest
from bench.promql_answers import difference, in_process, unpacked
from tests.query.memory import MemoryReader, Series
from tests.query.ways import ARRAYS, MACHINE, evaluated_by

from meterhall.model.labels import make_labels
from meterhall.query.engine import Engine, EngineOptions

RECORDED = Path(__file__).parent / "data" / "fuzz.jsonl.gz"
ENGINE = Engine(EngineOptions())


def number(text: str) -> float:
    """A float, or the bits of a NaN in hexadecimal: a staleness marker is one of them."""
    if len(text) == 16 and text.startswith(("7ff", "fff")):
        return struct.unpack(">d", bytes.fromhex(text))[0]
    return float(text)


@pytest.fixture(scope="module")
def recording():
    samples, *answers = gzip.decompress(RECORDED.read_bytes()).splitlines()
    series = [
        Series(
            make_labels(labels),
            list(zip(map(int, times.split()), map(number, values.split()), strict=True)),
        )
        for labels, times, values in json.loads(samples)
    ]
    return series, [unpacked(json.loads(answer)) for answer in answers]


@pytest.mark.parametrize(
    ("shared", "way"), [(False, ARRAYS), (True, ARRAYS), (False, MACHINE), (True, MACHINE)]
)
def test_answers_as_prometheus_did(recording, shared, way):
    series, answers = recording
    reader = MemoryReader(series, shared=shared)
    assert len({query for query, _, _ in answers}) >= 480
    with evaluated_by(way):
        wrong = {
            (query, grid): found
            for query, grid, theirs in answers
            if (found := difference(theirs, in_process(ENGINE, reader, query, grid)))
        }
    assert wrong == {}
