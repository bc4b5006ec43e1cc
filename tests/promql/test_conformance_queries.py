"""Every query of the compliance lists parses."""

from pathlib import Path

from meterhall.model.errors import PromQLError
from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import ALL_FEATURES

QUERIES = (Path(__file__).parent / "data" / "queries.txt").read_text().splitlines()


def test_all_queries_parse():
    refused = {}
    for query in QUERIES:
        try:
            parse_expr(query, ALL_FEATURES)
        except PromQLError as error:
            refused[query] = repr(error)
    assert not refused
