"""Columns of samples → rows of one instant each."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from meterhall.model.samples import RefArray, Row, TimestampArray, ValueArray


def merge_rows(times_ms: TimestampArray, refs: RefArray, values: ValueArray) -> list[Row]:
    """One row for each distinct time, ascending. Of samples with equal time and ref the first wins."""
    later = np.diff(times_ms)
    if ((later > 0) | ((later == 0) & (np.diff(refs) > 0))).all():
        # As nearly all senders send it.
        return _cut(times_ms, refs, values)
    order = np.lexsort((refs, times_ms))
    sorted_times, sorted_refs = times_ms[order], refs[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (sorted_times[1:] != sorted_times[:-1]) | (sorted_refs[1:] != sorted_refs[:-1])
    order = order[first]
    return _cut(times_ms[order], refs[order], values[order])


def _cut(times_ms: TimestampArray, refs: RefArray, values: ValueArray) -> list[Row]:
    """A row for each run of equal times."""
    cuts = (np.flatnonzero(np.diff(times_ms)) + 1).tolist()
    return [
        Row(int(times_ms[first]), refs[first:last], values[first:last])
        for first, last in pairwise([0, *cuts, len(times_ms)])
        if first < last
    ]


def renamed(refs: RefArray, names: Mapping[int, int]) -> RefArray:
    """The refs with those that have a new name replaced."""
    return np.array([names.get(ref, ref) for ref in refs.tolist()], np.int64)


def only_renamed(row: Row, names: Mapping[int, int]) -> Row:
    """What of a row has to be written again under new names; possibly nothing."""
    again = np.isin(row.refs, np.fromiter(names, np.int64, len(names)))
    return Row(row.time_ms, renamed(row.refs[again], names), row.values[again])
