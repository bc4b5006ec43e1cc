"""The fixed reader: equal clocks share a group, ranges include both ends."""

import numpy as np

from meterhall.model.labels import make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import STALE
from meterhall.query.fixed import FixedReader


def reader():
    def samples(times, values):
        return np.array(times, np.int64), np.array(values, np.float64)

    return FixedReader(
        {
            make_labels({"__name__": "m", "a": "1"}): samples([0, 10, 20], [1, 2, 3]),
            make_labels({"__name__": "m", "a": "2"}): samples([0, 10, 20], [4, STALE, 6]),
            make_labels({"__name__": "n", "a": "1"}): samples([5, 15], [7, 8]),
        }
    )


def test_series_of_one_clock_share_a_group():
    selection = reader().select([], 0, 100)
    shapes = [
        (group.rows.tolist(), group.times.tolist(), group.full) for group in selection.groups()
    ]
    assert shapes == [([0, 1], [0, 10, 20], False), ([2], [5, 15], True)]
    assert selection.samples_max == 8


def test_ranges_include_both_ends():
    selection = reader().select([Matcher(MatchOp.EQUAL, "a", "1")], 10, 15)
    assert [group.times.tolist() for group in selection.groups()] == [[10], [15]]
    assert len(selection.labels) == 2


def test_metadata():
    one = [[Matcher(MatchOp.EQUAL, "__name__", "n")]]
    assert reader().series(one, 0, 100) == [make_labels({"__name__": "n", "a": "1"})]
    assert reader().series(one, 6, 14) == []
    assert len(reader().series([], 0, 100)) == 3
    assert reader().label_names([], 0, 100) == ["__name__", "a"]
    assert reader().label_values("a", [], 0, 100) == ["1", "2"]
    assert reader().label_values("b", [], 0, 100) == []
