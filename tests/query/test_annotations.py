"""Texts of annotations, their positions, and numbers as Go prints them."""

import pytest

from meterhall.promql.nodes import Span
from meterhall.query.annotations import (
    Annotations,
    Repairs,
    format_decimal,
    format_float,
    format_openmetrics,
)

NUMBERS = [
    (0.0, "0", "0"),
    (-0.0, "-0", "-0"),
    (1.5, "1.5", "1.5"),
    (100000.0, "100000", "100000"),
    (1234567.0, "1.234567e+06", "1234567"),
    (1e21, "1e+21", "1000000000000000000000"),
    (-123456789.5, "-1.234567895e+08", "-123456789.5"),
    (0.0001, "0.0001", "0.0001"),
    (0.00001234, "1.234e-05", "0.00001234"),
    (5e-324, "5e-324", "0." + "0" * 323 + "5"),
]


@pytest.mark.parametrize(("value", "shortest", "plain"), NUMBERS)
def test_numbers(value, shortest, plain):
    assert format_float(value) == shortest
    assert format_decimal(value) == plain


def test_special_numbers():
    assert [format_float(float(text)) for text in ("nan", "inf", "-inf")] == ["NaN", "+Inf", "-Inf"]
    assert [format_openmetrics(value) for value in (0.0, 1.0, 0.25, 1e21)] == [
        "0.0",
        "1.0",
        "0.25",
        "1e+21",
    ]


def test_a_position_counts_lines_and_bytes():
    notes = Annotations('# "ä"\nrate(x[1m])')
    notes.possible_non_counter("x", Span(12, 13))
    (text,) = notes.infos
    assert text == (
        "PromQL info: metric might not be a counter, "
        'name does not end in _total/_sum/_count/_bucket: "x" (2:6)'
    )


def test_a_text_is_kept_once_with_its_last_position():
    notes = Annotations("x" * 50)
    for start in (3, 9):
        notes.invalid_quantile(2.0, Span(start, start + 1))
    assert notes.warnings == (
        "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)",
    )


def test_repairs_of_a_metric_are_told_together():
    notes = Annotations("x" * 50)
    notes.repaired_buckets("m", Span(0, 1), Repairs(1.0, 10.0, 0.5, 2, 60_000, 120_000))
    notes.repaired_buckets("m", Span(0, 1), Repairs(0.1, 5.0, 3.25, 1, 30_000, 30_000))
    (text,) = notes.infos
    assert text.endswith(
        ' for metric name "m", from buckets 0.1 to 10, with a max diff of 3.2, over 3 samples '
        "from 1970-01-01T00:00:30Z to 1970-01-01T00:02:00Z (1:1)"
    )


def test_a_bucket_without_metric_name():
    notes = Annotations("x")
    notes.bad_bucket("", 'a"b', Span(0, 1))
    assert notes.warnings == (
        'PromQL warning: bucket label "le" is missing or has a malformed value of "a\\"b" (1:1)',
    )
