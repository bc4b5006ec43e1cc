"""The classic format: the verdicts and samples of Prometheus' own parser, and our own corners."""

import base64
import json
import math
from pathlib import Path

import pytest

from meterhall.model.errors import ExpositionError
from meterhall.wire.entries import Comment, Help, Sample, Type
from meterhall.wire.exposition import entries

DATA = Path(__file__).parent / "data"
CASES = [json.loads(line) for line in (DATA / "textparse-classic.jsonl").read_text().splitlines()]


def page_of(case):
    return base64.b64decode(case["base64"]) if "base64" in case else case["text"].encode()


def as_listed(entry):
    match entry:
        case Help():
            return ["help", entry.family, entry.text]
        case Type():
            return ["type", entry.family, entry.type]
        case Comment():
            return ["comment", entry.text]
        case Sample():
            return ["sample", dict(entry.labels), go_float(entry.value), entry.time_ms]
    raise AssertionError(entry)


def go_float(value):
    """Compared as numbers, so any exact spelling will do."""
    return "NaN" if math.isnan(value) else value


def listed_number(text):
    return "NaN" if text == "NaN" else float(text)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_agrees_with_prometheus(case):
    expected = [
        [*entry[:2], listed_number(entry[2]), entry[3]] if entry[0] == "sample" else entry
        for entry in case["entries"] or []
    ]
    got, error = [], None
    try:
        got.extend(map(as_listed, entries(page_of(case))))
    except ExpositionError as caught:
        error = caught
    assert (error is None) == case["ok"]
    assert got == expected
