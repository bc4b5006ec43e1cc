"""Label sets as numbers: what Python's own sorting and counting say of the label sets themselves."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model import ordering
from meterhall.model.labels import METRIC_NAME, label_value, make_labels
from meterhall.tsdb import label_numbers
from meterhall.tsdb.label_numbers import LabelNumbers

# Some names stand before that of the metric, and one is nearly it.
NAMES = ["A", "__name__", "__name__x", "__name_", "i", "é"]
LABELS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "a", "b", "ab", "ß"]))
SERIES = st.lists(LABELS.map(make_labels), max_size=12)


@pytest.fixture(autouse=True, scope="module")
def short_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "RUN", 4)
        # Runs of few pairs and of many.
        patch.setattr(label_numbers, "_MANY", 6)
        yield


def told(numbers):
    """The label sets again."""
    flat = iter(numbers.flat.tolist())
    found = [
        tuple(numbers.pairs[number] for number in itertools.islice(flat, width))
        for width in numbers.widths.tolist()
    ]
    assert not [*flat]
    return found


def all_pairs(series):
    return sorted({pair for labels in series for pair in labels})


@given(SERIES)
def test_numbers_tell_the_label_sets(series):
    numbers = LabelNumbers.of([series])
    assert told(numbers) == series
    assert list(numbers.pairs) == all_pairs(series)
    assert numbers.widths.tolist() == [len(labels) for labels in series]


@given(SERIES)
def test_order_is_that_of_the_label_sets(series):
    expected = sorted(range(len(series)), key=series.__getitem__)
    assert LabelNumbers.of([series]).order().tolist() == expected


@given(SERIES)
def test_metrics_are_those_of_the_label_sets(series):
    numbers = LabelNumbers.of([series])
    found = [numbers.pairs[metric] if metric >= 0 else None for metric in numbers.metrics()]
    metrics = [label_value(labels, METRIC_NAME) for labels in series]
    assert found == [(METRIC_NAME, metric) if metric else None for metric in metrics]


@given(SERIES, st.data())
def test_some_know_their_own_pairs_only(series, data):
    places = data.draw(st.permutations(range(len(series))))[data.draw(st.integers(0, 12)) :]
    some = LabelNumbers.of([series]).some(np.array(places, np.int64))
    assert told(some) == [series[place] for place in places]
    assert list(some.pairs) == all_pairs([series[place] for place in places])
