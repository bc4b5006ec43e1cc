"""Columns of samples → rows of one instant each."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import REFUSED, RefArray, Row, TimestampArray, ValueArray


def merge_rows(times_ms: TimestampArray, refs: RefArray, values: ValueArray) -> list[Row]:
    """One row for each distinct time, ascending. Of samples with equal time and ref the first wins."""
    cuts = np.flatnonzero(times_ms[1:] != times_ms[:-1])
    rising = refs[1:] > refs[:-1]
    rising[cuts] = times_ms[cuts + 1] > times_ms[cuts]
    if rising.all():
        # As nearly all senders send it.
        return _cut(cuts, times_ms, refs, values)
    order = np.lexsort((refs, times_ms))
    sorted_times, sorted_refs = times_ms[order], refs[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (sorted_times[1:] != sorted_times[:-1]) | (sorted_refs[1:] != sorted_refs[:-1])
    order = order[first]
    times_ms = times_ms[order]
    cuts = np.flatnonzero(times_ms[1:] != times_ms[:-1])
    return _cut(cuts, times_ms, refs[order], values[order])


def _cut(
    cuts: NDArray[np.intp], times_ms: TimestampArray, refs: RefArray, values: ValueArray
) -> list[Row]:
    """A row for each run of equal times; `cuts` are the last places of all but the last run."""
    return [
        Row(int(times_ms[first]), refs[first:last], values[first:last])
        for first, last in pairwise([0, *(cuts + 1).tolist(), len(times_ms)])
        if first < last
    ]


def only_taken(row: Row) -> Row:
    """The row without what the project has no room for."""
    taken = row.refs != REFUSED
    return row if taken.all() else Row(row.time_ms, row.refs[taken], row.values[taken])


def renamed(refs: RefArray, names: Mapping[int, int]) -> RefArray:
    """The refs with those that have a new name replaced."""
    return np.array([names.get(ref, ref) for ref in refs.tolist()], np.int64)


def only_renamed(row: Row, names: Mapping[int, int]) -> Row:
    """What of a row has to be written again under new names; possibly nothing."""
    again = np.isin(row.refs, np.fromiter(names, np.int64, len(names)))
    return Row(row.time_ms, renamed(row.refs[again], names), row.values[again])
