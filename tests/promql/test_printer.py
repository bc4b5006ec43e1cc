"""Printed texts and JSON trees against those of a real Prometheus 3.5.3."""

import json
from pathlib import Path

import pytest

from meterhall.promql.ast_json import to_json
from meterhall.promql.parser import parse_expr
from meterhall.promql.printer import expr_string, format_expr
from meterhall.promql.signatures import ALL_FEATURES

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "formatted.jsonl").read_text().splitlines()
]


def test_format_query_answers_as_prometheus():
    wrong = {
        row["query"]: (format_expr(parse_expr(row["query"], ALL_FEATURES)), row["formatted"])
        for row in ROWS
        if format_expr(parse_expr(row["query"], ALL_FEATURES)) != row["formatted"]
    }
    assert wrong == {}


def test_parse_query_answers_as_prometheus():
    trees = [row for row in ROWS if "tree" in row]
    assert len(trees) > 100
    for row in trees:
        assert to_json(parse_expr(row["query"], ALL_FEATURES)) == row["tree"], row["query"]


@pytest.mark.parametrize(
    ("query", "printed"),
    [
        ("foo[5m+step()]", "foo[5m + step()]"),
        ("foo[max_of(1m,range())]", "foo[max_of(1m, range())]"),
        ("foo offset -(2*3m)", "foo offset -(2 * 3m)"),
        ("foo[5m]anchored", "foo[5m] anchored"),
        ("a + fill ( 1 ) b", "a + fill (1) b"),
        ("a + fill_left(1) fill_right(-2) b", "a + fill_left (1) fill_right (-2) b"),
        ('a + on("b.c") group_left("d e") b', 'a + on ("b.c") group_left ("d e") b'),
        ('sum by ("a b", c:d) (x)', 'sum by ("a b", c:d) (x)'),
        ("foo @ -1.5 offset -1d", "foo @ -1.500 offset -1d"),
    ],
)
def test_what_the_recorded_server_prints_otherwise(query, printed):
    assert expr_string(parse_expr(query, ALL_FEATURES)) == printed
