"""Order of instant vectors."""

import math

import pytest
from tests.query.asking import reader, values

DATA = reader(x__i_4m5=3.0, x__i_4m600=math.nan, x__i_4m1000=1.0, x__i_b=2.0)

CASES = [
    ("sort(x)", ["4m1000", "b", "4m5", "4m600"]),
    ("sort_desc(x)", ["4m5", "b", "4m1000", "4m600"]),
    ('sort_by_label(x, "i")', ["4m5", "4m600", "4m1000", "b"]),
    ('sort_by_label_desc(x, "i")', ["b", "4m1000", "4m600", "4m5"]),
    ("topk(2, x)", ["4m5", "b"]),
    ("bottomk(3, x)", ["4m1000", "b", "4m5"]),
    ("topk(9, x)", ["4m5", "b", "4m1000", "4m600"]),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_order(query, expected):
    assert [dict(labels)["i"] for labels, _ in values(DATA, query)] == expected
