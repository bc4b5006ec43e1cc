"""Sorted in runs is sorted, equals in the order in which they came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.tsdb import ordering
from meterhall.tsdb.ordering import in_order, runs_of


@pytest.fixture(autouse=True, scope="module")
def short_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "RUN", 4)
        yield


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=2))))
def test_in_order(items):
    assert in_order(items) == sorted(items)
    assert in_order(iter(items), key=lambda item: item[0]) == sorted(
        items, key=lambda item: item[0]
    )
    assert in_order(set(items)) == sorted(set(items))


@given(st.lists(st.integers()))
def test_runs_are_all_of_it(items):
    runs = list(runs_of(items))
    assert [item for run in runs for item in run] == items
    assert all(1 <= len(run) <= 4 for run in runs)
