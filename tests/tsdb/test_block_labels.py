"""Label sets of a block's series: all are what each is; those of the same series are decoded once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model import ordering
from meterhall.model.labels import make_labels
from meterhall.tsdb.block_format import build_index, decode_index, encode_index
from meterhall.tsdb.block_labels import BlockLabels
from meterhall.tsdb.label_numbers import LabelNumbers

NAMES = st.sampled_from(["__name__", "i", "é"])
LABELS = st.dictionaries(NAMES, st.sampled_from(["a", "b", "ß"]), min_size=1)
SERIES = st.lists(LABELS.map(make_labels), min_size=1, max_size=12, unique=True)


@pytest.fixture(autouse=True, scope="module")
def short_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "RUN", 3)
        yield


def block_labels(series, clock=0):
    index = build_index(LabelNumbers.of([series]), np.full(len(series), clock))
    return BlockLabels(decode_index(encode_index(index)))


@given(SERIES, st.data())
def test_all_are_what_each_is(series, data):
    numbers = data.draw(st.lists(st.integers(0, len(series) - 1)))
    labels = block_labels(series)
    for number in data.draw(st.lists(st.integers(0, len(series) - 1))):
        assert labels.one(number) == series[number]
    assert labels.all(numbers) == [series[number] for number in numbers]
    assert list(map(labels.one, range(len(series)))) == series


def test_the_same_series_are_decoded_once():
    series = [make_labels({"__name__": "m", "i": str(number)}) for number in range(5)]
    one, other = block_labels(series), block_labels(series, clock=3)
    other.share(one)
    assert [*map(id, one.all(range(5)))] == [*map(id, other.all(range(5)))]


@pytest.mark.parametrize(
    "changed",
    [
        [("m", "a"), ("m", "c")],
        [("m", "a"), ("n", "b")],
        [("m", "a"), ("m", "b"), ("m", "c")],
        [("m", "b"), ("m", "a")],
    ],
)
def test_other_series_are_not_shared(changed):
    first, second = (
        [make_labels({"__name__": name, "i": value}) for name, value in names]
        for names in ([("m", "a"), ("m", "b")], changed)
    )
    one, other = block_labels(first), block_labels(second)
    other.share(one)
    one.all(range(len(first)))
    assert other.all(range(len(second))) == second
