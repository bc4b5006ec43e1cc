"""OpenMetrics: the verdicts of Prometheus' own parser on the 211 official cases, and our own corners."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import ExpositionError
from meterhall.wire.entries import Help, Sample, Type, Unit
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


def read(text):
    """All entries but where they stand: labels, value, time of a sample."""
    return [
        (dict(entry.labels), entry.value, entry.time_ms) if isinstance(entry, Sample) else entry
        for entry in entries(text.encode() + b"# EOF\n")
    ]


def test_what_is_read():
    assert read(
        '# TYPE h_s histogram\n# UNIT h_s s\n# HELP h_s a\\n\\"b\\\\\n'
        'h_s_bucket{le="1"} 1 # {id="x"} 0.5\n'
        'h_s_bucket{le="1e6"} 2 1.5 # {id="x"} 0.5 1.25\n'
        "h_s_created 1520430000.123\n"
        '{"a.b","c d"="e\\"f"} +Inf -0.0015\n'
    ) == [
        Type("h_s", "histogram"),
        Unit("h_s", "s"),
        Help("h_s", 'a\n"b\\'),
        ({"__name__": "h_s_bucket", "le": "1.0"}, 1.0, None),
        ({"__name__": "h_s_bucket", "le": "1e+06"}, 2.0, 1500),
        ({"__name__": "h_s_created"}, 1520430000.123, None),
        ({"__name__": "a.b", "c d": 'e"f'}, float("inf"), -1),
    ]


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (b"a 1\n", "line 2: page does not end with # EOF"),
        (b"", "line 1: page does not end with # EOF"),
        (b"a 1\n# EOF\n\n", "line 2: data after # EOF"),
        (b"a 1\n\n# EOF\n", "line 2: not a sample: metric name expected"),
        (b"# hi\n# EOF\n", "line 1: a comment must be HELP, TYPE, UNIT or EOF"),
        (b"a 1\r\n# EOF\n", "line 1: value is not a number"),
        (b'a 1 # {"x"} 1\n# EOF\n', "line 1: an exemplar has no metric name"),
        (b"a 1 NaN\n# EOF\n", "line 1: timestamp is not a number of seconds"),
        (b"a 1", "line 1: page does not end with # EOF"),
    ],
)
def test_errors(page, error):
    with pytest.raises(ExpositionError) as caught:
        list(entries(page))
    assert str(caught.value) == error


@given(st.binary(max_size=50))
def test_nothing_but_the_typed_error_on_any_bytes(page):
    with contextlib.suppress(ExpositionError):
        list(entries(page))
