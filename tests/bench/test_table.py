"""Figures as people read them, and who is better."""

import math

import pytest
from bench.table import Table, figure, geometric_mean, times_better


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (None, "?"),
        (math.nan, "?"),
        (1234567.8, "1,234,568"),
        (123.45, "123"),
        (12.345, "12.3"),
        (1.2345, "1.23"),
        (0.0123456, "0.0123"),
    ],
)
def test_figure(value, text):
    assert figure(value) == text


def test_times_better():
    assert times_better(2.0, 6.0) == "3.00x"
    assert times_better(2.0, 6.0, more_is_better=True) == "0.33x"
    assert times_better(None, 6.0) == times_better(2.0, None) == times_better(0.0, 1.0) == "?"


def test_geometric_mean():
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([]))


def test_columns_stand_under_each_other():
    table = Table("T", ["what", "ms"], [["a", "1.5"], ["longer", "12"]], ["Note."])
    assert table.markdown().splitlines() == [
        "### T",
        "",
        "| what   |  ms |",
        "| ------ | --: |",
        "| a      | 1.5 |",
        "| longer |  12 |",
        "",
        "Note.",
    ]
