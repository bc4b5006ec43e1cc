"""OpenMetrics: the verdicts of Prometheus' own parser on the 211 official cases, and our own corners."""

import json
from pathlib import Path

import pytest

from meterhall.model.errors import ExpositionError
from meterhall.wire.openmetrics import entries

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "openmetrics-parsers.jsonl")
    .read_text()
    .splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_verdict_of_prometheus(case):
    try:
        list(entries(case["text"].encode()))
        accepted = True
    except ExpositionError:
        accepted = False
    assert accepted == case["prometheus_ok"]
