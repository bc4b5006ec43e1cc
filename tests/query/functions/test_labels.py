"""label_replace, label_join, absent and scalar."""

import math

import pytest
from tests.query.asking import reader, values

from meterhall.model.errors import QueryError
from meterhall.model.labels import make_labels

DATA = reader(x__a_one__b_two=1.0, y__a_one=2.0)

REPLACED = [
    ('label_replace(x, "c", "$1-$2", "a", "(.)(.*)")', {"a": "one", "b": "two", "c": "o-ne"}),
    ('label_replace(x, "c", "${n}", "a", "(?P<n>.)..")', {"a": "one", "b": "two", "c": "o"}),
    ('label_replace(x, "a", "", "a", ".*")', {"b": "two"}),
    ('label_replace(x, "c", "v", "a", "on")', {"a": "one", "b": "two"}),
    ('label_replace(x, "~ä", "v", "a", ".*")', {"a": "one", "b": "two", "~ä": "v"}),
    ('label_join(x, "c", "/", "a", "nope", "b")', {"a": "one", "b": "two", "c": "one//two"}),
    ('label_join(x, "a", "")', {"b": "two"}),
]


@pytest.mark.parametrize(("query", "labels"), REPLACED)
def test_labels_are_set(query, labels):
    assert values(DATA, query) == [(make_labels({"__name__": "x", **labels}), 1.0)]


# Texts from Prometheus 3.5.3.
REFUSED = [
    (
        'label_replace(x, "", "v", "a", "")',
        "invalid destination label name in label_replace(): ",
    ),
    (
        'label_replace(x, "a", "v", "a", "(")',
        "invalid regular expression in label_replace(): (",
    ),
    ('label_join(x, "a", ",", "")', "invalid source label name in label_join(): "),
    ('label_join(x, "", ",", "b")', "invalid destination label name in label_join(): "),
    (
        'label_replace({a="one"}, "b", "", "b", ".*") * 0',
        "vector cannot contain metrics with the same labelset",
    ),
]


@pytest.mark.parametrize(("query", "text"), REFUSED)
def test_refusals(query, text):
    with pytest.raises(QueryError) as refusal:
        values(DATA, query)
    assert str(refusal.value) == text


ABSENT = [
    ('absent(nope{a="b"})', {"a": "b"}),
    ('absent((nope{a="b"}))', {"a": "b"}),
    ('absent(nope{a="b",a="c",d="e"})', {"d": "e"}),
    ('absent(nope{a=~"b",d!="e",f=""})', {}),
    ("absent(sum(nope))", {}),
    ('absent_over_time(nope{a="b"}[1m])', {"a": "b"}),
    ('absent_over_time(nope{a="b"}[1m:10s])', {}),
]


@pytest.mark.parametrize(("query", "labels"), ABSENT)
def test_absent_promises_what_equalities_say(query, labels):
    assert values(DATA, query) == [(make_labels(labels), 1.0)]


def test_present_is_not_absent():
    assert values(DATA, "absent(x)") == []


def test_scalar_wants_exactly_one():
    assert values(DATA, "scalar(x)") == 1.0
    for query in ("scalar(nope)", 'scalar({a="one"})'):
        assert math.isnan(values(DATA, query))
