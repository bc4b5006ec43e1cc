"""Vector matching: Prometheus' refusals, word for word."""

import pytest
from tests.query.asking import ask, reader, values

from meterhall.model.errors import QueryError

DATA = reader(
    m__job_a__i_1=1.0, m__job_a__i_2=2.0, o__job_a=10.0, p__job_a__k_1=1.0, p__job_a__k_2=2.0
)

REFUSED = [
    (
        "m * on(job) o",
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    ),
    (
        "m > on(job) o",
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    ),
    (
        "o * on(job) m",
        (
            'found duplicate series for the match group {job="a"} on the right hand-side of the '
            'operation: [{__name__="m", i="2", job="a"}, {__name__="m", i="1", job="a"}];many-to-many '
            "matching not allowed: matching labels must be unique on one side"
        ),
    ),
    (
        "m * on(job) group_right() o",
        (
            'found duplicate series for the match group {job="a"} on the left hand-side of the '
            'operation: [{__name__="m", i="2", job="a"}, {__name__="m", i="1", job="a"}];many-to-many '
            "matching not allowed: matching labels must be unique on one side"
        ),
    ),
    (
        'label_replace(m, "i", "", "i", ".*") * on(job) group_left() o',
        "vector cannot contain metrics with the same labelset",
    ),
    (
        "m * on(job) group_left(i) o",
        "multiple matches for labels: grouping labels must ensure unique matches",
    ),
]


@pytest.mark.parametrize(("query", "text"), REFUSED)
def test_refusals(query, text):
    with pytest.raises(QueryError) as refusal:
        ask(DATA, query)
    assert str(refusal.value) == text


LABELS = [
    ("m * on(job, i) m", [{"i": "1", "job": "a"}, {"i": "2", "job": "a"}]),
    ("m{i='1'} == on(job) m{i='1'}", [{"job": "a"}]),
    ("m == m", [{"__name__": "m", "i": i, "job": "a"} for i in "12"]),
    ("m == bool m", [{"i": i, "job": "a"} for i in "12"]),
    ("m{i='1'} > ignoring(i) m{i='1'} - 1", [{"__name__": "m", "job": "a"}]),
    ("p * on(job) group_left() o", [{"job": "a", "k": k} for k in "12"]),
    ("o * on(job) group_right() p", [{"job": "a", "k": k} for k in "12"]),
    ("o * on(job) group_left(i) m{i='2'}", [{"i": "2", "job": "a"}]),
    ("m unless on(i) m{i='1'}", [{"__name__": "m", "i": "2", "job": "a"}]),
    ("o or on(job) m", [{"__name__": "o", "job": "a"}]),
]


@pytest.mark.parametrize(("query", "expected"), LABELS)
def test_labels_of_results(query, expected):
    assert sorted(
        map(sorted, map(dict.items, map(dict, (ls for ls, _ in values(DATA, query)))))
    ) == (sorted(sorted(labels.items()) for labels in expected))


def test_a_comparison_keeps_the_left_value_on_either_side():
    assert [v for _, v in values(DATA, "o > on(job) group_right() p")] == [10.0, 10.0]
    assert [v for _, v in values(DATA, "5 < o")] == [10.0]
