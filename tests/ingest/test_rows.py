"""Rows out of columns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meterhall.ingest.rows import merge_rows, only_renamed, renamed
from meterhall.model.samples import rows_of

samples = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4), st.floats(allow_nan=False)))


@given(samples)
def test_rows_are_by_time_and_the_first_sample_wins(given_samples):
    times, refs, values = (
        np.array([sample[i] for sample in given_samples], kind)
        for i, kind in enumerate((np.int64, np.int64, np.float64))
    )
    rows = merge_rows(times, refs, values)
    first = {}
    for time, ref, value in given_samples:
        first.setdefault((time, ref), value)
    assert [row.time_ms for row in rows] == sorted({time for time, _ in first})
    got = [
        ((row.time_ms, ref), value)
        for row in rows
        for ref, value in zip(row.refs.tolist(), row.values.tolist(), strict=True)
    ]
    assert len(got) == len(first)
    assert dict(got) == first


def test_new_names():
    names = {2: 20, 9: 90}
    assert renamed(np.array([1, 2, 3], np.int64), names).tolist() == [1, 20, 3]
    again = only_renamed(rows_of(5, [3, 2, 1], [0.3, 0.2, 0.1]), names)
    assert (again.time_ms, again.refs.tolist(), again.values.tolist()) == (5, [20], [0.2])
    assert not len(only_renamed(rows_of(5, [1], [0.1]), {}).refs)
