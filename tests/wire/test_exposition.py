"""The classic format: the verdicts and samples of Prometheus' own parser, and our own corners."""

import base64
import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


# Every text an error may have: none holds anything of the page.
REASONS = {
    "comma or closing brace expected after a label",
    "label name or value is not UTF-8",
    'label expected: name="value"',
    "metric name given twice",
    "no metric name",
    "not a sample: metric name expected",
    "no value",
    "value is not a number",
    "timestamp is not whole milliseconds, or more follows it",
    "no metric name after HELP",
    "no metric name after TYPE",
    "unknown metric type",
    "help is not UTF-8",
}
PIECES = [
    *("a", "b_bucket", " ", " ", "\n", "\n", "{", "}", '"', '="', '",', 'x="y"', ",", "=", "\\"),
    *(
        "1",
        "2.5",
        "NaN",
        " 1\n",
        "# HELP ",
        "# TYPE ",
        "a histogram\n",
        '{le="1"}',
        "\t",
        "\0",
        "#",
    ),
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_errors_say_where_and_what_but_nothing_of_the_page(page):
    error = error_of(page.encode())
    if error is not None:
        assert 1 <= error.line <= page.count("\n") + 1
        assert error.reason in REASONS


def error_of(page):
    try:
        list(entries(page))
    except ExpositionError as error:
        return error
    return None


@given(st.binary(max_size=50))
def test_nothing_but_the_typed_error_on_any_bytes(page):
    with contextlib.suppress(ExpositionError):
        list(entries(page))


def only_samples(case):
    """A good page of nothing but samples, each on a line of its own."""
    entry_lines = [line for line in page_of(case).split(b"\n") if line.strip()]
    kinds = [entry[0] for entry in case["entries"] or []]
    return case["ok"] and len(kinds) == len(entry_lines) and set(kinds) == {"sample"}


@pytest.mark.parametrize("case", list(filter(only_samples, CASES)), ids=lambda case: case["name"])
def test_a_remembered_series_reads_like_a_new_one(case):
    """A blank at the end of a line keeps it from being remembered, and changes nothing else."""
    page = page_of(case)
    blank = page.replace(b"\n", b" \n")
    plain, odd = ([(s.labels, repr(s.value), s.time_ms) for s in entries(p)] for p in (page, blank))
    assert plain == odd


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (b"a 1\nb\n", "line 2: no value"),
        (b'a{x="\n\n"} 1\nb oops\n', "line 4: value is not a number"),
        (b"# TYPE a thing\n", "line 1: unknown metric type"),
        (b'a{x="\n', 'line 1: label expected: name="value"'),
        (b"a 1 2 3", "line 1: timestamp is not whole milliseconds, or more follows it"),
        (b"a 1\n" * 30_000 + b"b", "line 30001: no value"),
    ],
)
def test_errors_name_the_line(page, error):
    with pytest.raises(ExpositionError) as caught:
        list(entries(page))
    assert str(caught.value) == error


def test_lines_may_be_long():
    value = "v" * 1_000_000
    (sample,) = entries(f'a{{x="{value}"}} 1\n'.encode())
    assert sample.labels == (("__name__", "a"), ("x", value))
    with pytest.raises(ExpositionError):
        list(entries(b'a{x="' + b"\\" * 2_000_000))


def test_a_nul_where_a_line_begins_ends_the_page():
    assert len(list(entries(b"a 1\n\0rubbish {\n"))) == 1
    assert len(list(entries(b"a 1\n \0\nb 1"))) == 1
    assert len(list(entries(b"a 1\n#x\0\nb 1"))) == 1
    assert len(list(entries(b"a 1\n# x\0\nb 1"))) == 3
