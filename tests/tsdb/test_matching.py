"""Matchers on the head's and on a block's index, against a plain loop over the label sets."""

import itertools

import numpy as np
import pytest
from pyroaring import BitMap
from tests.tsdb.stores import EVER, NOW, TENANT, open_store

from meterhall.model.errors import BadInput
from meterhall.model.labels import label_value, make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import Row
from meterhall.tsdb.matching import bitmap

SERIES = [
    make_labels({"__name__": name, "job": job, "path": path})
    for name, job, path in itertools.product(
        ["up", "up2", "cpu.total", "가격"], ["", "a", "ab", "b\nc"], ["", "/", "/x", "(x)"]
    )
]
VALUES = ["", "a", "ab", "/x", "(x)", "up", "가격", "missing"]
PATTERNS = [
    "", ".*", ".+", "(.*)", "a", "a|ab", "a|", "|", "up.*", "up.+", "a.*", ".*b", "a.", "[ab]+", "(a|b).*",
    "(?i)UP", "가.*", "b.c", "cpu.total", "cpu\\.total", "\\(x\\)", "/|/x", "()", "a?",
]  # fmt: skip
MATCHERS = [
    Matcher(op, name, text)
    for name in ("__name__", "job", "path", "nowhere")
    for op, texts in (
        (MatchOp.EQUAL, VALUES),
        (MatchOp.NOT_EQUAL, VALUES),
        (MatchOp.REGEX, PATTERNS),
        (MatchOp.NOT_REGEX, PATTERNS),
    )
    for text in texts
]


@pytest.fixture(scope="module", params=["head", "block"])
def reader(request, tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp(request.param), block_span_ms=1000)
    writer = store.writer(TENANT)
    writer.append([Row(NOW, writer.intern("c", SERIES), np.arange(float(len(SERIES))))])
    if request.param == "block":
        store.flush(NOW + 1000)
    yield store.reader(TENANT)
    store.close()


def matching(*matchers):
    return sorted(
        labels
        for labels in SERIES
        if all(matcher.matches(label_value(labels, matcher.name)) for matcher in matchers)
    )


def test_each_matcher(reader):
    for matcher in MATCHERS:
        assert reader.series([[matcher]], *EVER) == matching(matcher), matcher


def test_pairs_of_matchers(reader):
    for left, right in itertools.product(MATCHERS[::5], MATCHERS[::7]):
        assert reader.series([[left, right]], *EVER) == matching(left, right), (left, right)


def test_unions_names_and_values(reader):
    sets = [[Matcher(MatchOp.EQUAL, "job", "a")], [Matcher(MatchOp.REGEX, "__name__", "up.*")]]
    found = sorted({*matching(*sets[0]), *matching(*sets[1])})
    assert reader.series(sets, *EVER) == found
    assert reader.series([], *EVER) == []
    assert reader.label_names([], *EVER) == ["__name__", "job", "path"]
    assert reader.label_names([[Matcher(MatchOp.EQUAL, "job", "x")]], *EVER) == []
    assert reader.label_values("__name__", [], *EVER) == ["cpu.total", "up", "up2", "가격"]
    assert reader.label_values("job", sets[:1], *EVER) == ["a"]
    assert reader.label_values("job", sets, *EVER) == ["a", "ab", "b\nc"]
    assert reader.label_names(sets, *EVER) == ["__name__", "job", "path"]
    assert reader.label_values("nowhere", [], *EVER) == []


@pytest.mark.parametrize("numbers", [[], [3], [70_000, 2, 5], range(10_000)])
@pytest.mark.parametrize("kind", [np.int64, np.uint32])
def test_a_bitmap_of_numbers(numbers, kind):
    assert bitmap(np.array(numbers, kind)) == BitMap(numbers)


def test_nothing_outside_the_range(reader):
    for start, end in ((NOW + 1, EVER[1]), (EVER[0], NOW - 1), (NOW + 1, NOW - 1)):
        assert reader.series([[MATCHERS[1]]], start, end) == []
        assert reader.label_names([], start, end) == []
        assert reader.label_values("job", [], start, end) == []


def test_a_pattern_that_is_not_re2():
    with pytest.raises(BadInput):
        Matcher(MatchOp.REGEX, "a", "(?=x)")
