"""Parameters of aggregations, and count_values."""

import math

import pytest
from tests.query.asking import ask, reader, values

from meterhall.model.errors import QueryError
from meterhall.model.labels import make_labels

DATA = reader(x__g_a__i_1=1.0, x__g_a__i_2=-0.0, x__g_b__i_3=1e21, x__g_b__i_4=math.nan)

REFUSED = [
    ("topk(NaN, x)", "Parameter value is NaN"),
    ("limitk(NaN, nothing)", "Parameter value is NaN"),
    ("topk(1e30, x)", "Scalar value 1e+30 overflows int64"),
    ("bottomk(9.3e18, nothing)", "Scalar value 9.3e+18 overflows int64"),
    ("limit_ratio(NaN, x)", "Ratio value is NaN"),
    ('count_values("", x)', 'invalid label name ""'),
]


@pytest.mark.parametrize(("query", "text"), REFUSED)
def test_refusals(query, text):
    with pytest.raises(QueryError) as refusal:
        ask(DATA, query)
    assert str(refusal.value) == text


def test_count_values_spells_values_in_full():
    counted = dict(values(DATA, 'count_values("v", x)'))
    texts = ["-0", "1", "1000000000000000000000", "NaN"]
    assert counted == {make_labels({"v": text}): 1.0 for text in texts}


def test_count_values_by_and_without():
    by = dict(values(DATA, 'count_values by (g) ("v", x * 0 == 0)'))
    assert by == {
        make_labels({"g": "a", "v": "0"}): 1.0,
        make_labels({"g": "a", "v": "-0"}): 1.0,
        make_labels({"g": "b", "v": "0"}): 1.0,
    }
    without = dict(values(DATA, 'count_values without (g, i) ("i", x)'))
    assert without == {(): 4.0}


@pytest.mark.parametrize(
    ("query", "size"), [("topk(0, x)", 0), ("topk(1.9, x)", 1), ("bottomk(-Inf, x)", 0)]
)
def test_sizes_are_cut_to_integers(query, size):
    assert len(values(DATA, query)) == size


def test_halves_of_limit_ratio_make_a_whole():
    halves = [values(DATA, f"limit_ratio({ratio}, x)") for ratio in ("0.3", "-0.7")]
    assert sorted(labels for half in halves for labels, _ in half) == sorted(
        labels for labels, _ in values(DATA, "x")
    )


def test_a_ratio_beyond_one_is_capped_with_a_warning():
    assert ask(DATA, "limit_ratio(1.5, x)").warnings == (
        "PromQL warning: ratio value should be between -1 and 1, got 1.5, capping to 1 (1:13)",
    )
