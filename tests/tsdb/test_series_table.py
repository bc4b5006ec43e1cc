"""The union of tables has each series once, where each table has it; whether tables share label sets or not."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterhall.model import ordering
from meterhall.tsdb.series_table import table_of, united

SERIES = [(("i", str(number)),) for number in range(9)]
# The clock of each series, or none.
CLOCKS = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=9, max_size=9)


@pytest.fixture(autouse=True, scope="module")
def short_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "RUN", 4)
        yield


def table(clocks, copied):
    groups = [
        [SERIES[at] for at, found in enumerate(clocks) if found == clock] for clock in range(3)
    ]
    if copied:
        groups = [[(*labels,) for labels in group] for group in groups]
    return table_of([group for group in groups if group])


def where(tables, union):
    """Of each series of the union its clock there, and of each table its clock and label set."""
    clock_of = union.table.clock_of()
    return {
        labels: (
            int(clock_of[at]),
            [
                (int(clocks[clock_of[at]]), table.labels[places[at]])
                if clocks[clock_of[at]] >= 0
                else None
                for table, clocks, places in zip(tables, union.clocks, union.places, strict=True)
            ],
        )
        for at, labels in enumerate(union.table.labels)
    }


@example([[0] * 9, [0] * 4 + [None] * 5], 1)
@example([[0] * 4 + [None] * 5, [0] * 9], 1)
@given(st.lists(CLOCKS, min_size=2, max_size=4), st.integers(1, 3))
def test_a_union_has_each_series_where_each_table_has_it(clocks, repeated):
    # Blocks of the same series follow each other.
    clocks = [each for each in clocks for _ in range(repeated)]
    tables = [table(each, copied=False) for each in clocks]
    union = united(tables)
    found = where(tables, union)
    assert len(found) == len(union.table.labels)
    assert set(found) == {labels for each in tables for labels in each.labels}
    alike = {}
    for labels, (clock, here) in found.items():
        ours = [each[SERIES.index(labels)] for each in clocks]
        assert [place is not None for place in here] == [each is not None for each in ours]
        assert all(place is None or place[1] == labels for place in here)
        alike.setdefault(clock, set()).add(tuple(ours))
    assert all(len(each) == 1 for each in alike.values())
    assert len({next(iter(each)) for each in alike.values()}) == len(alike)
    apart = united([table(each, copied=True) for each in clocks])
    assert list(apart.table.labels) == list(union.table.labels)
    for ours, theirs in itertools.chain(
        zip(union.clocks, apart.clocks, strict=True), zip(union.places, apart.places, strict=True)
    ):
        assert np.array_equal(ours, theirs)
