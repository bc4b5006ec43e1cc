"""Answers of range queries cut and joined along their steps."""

from collections.abc import Sequence

import numpy as np

from meterhall.model.labels import Labels
from meterhall.query.result import GridResult


def between(grid: GridResult, start_ms: int, end_ms: int) -> GridResult | None:
    """The steps from start to end, both included; None where there are none."""
    first, last = np.searchsorted(grid.times, [start_ms, end_ms + 1]).tolist()
    if first == 0 and last == len(grid.times):
        return grid
    if first >= last:
        return None
    times, values = grid.times[first:last], grid.values[:, first:last]
    if grid.present is None:
        return GridResult(grid.labels, times, values, None)
    present = grid.present[:, first:last]
    rows = np.flatnonzero(present.any(axis=1))
    labels = [grid.labels[row] for row in rows.tolist()]
    return GridResult(labels, times, values[rows], present[rows])


def joined(before: GridResult, after: GridResult) -> GridResult:
    """The steps of both, those of `after` being the later ones; sorted by labels as both are."""
    labels = before.labels
    if labels != after.labels:
        labels = sorted({*before.labels, *after.labels})
    steps = len(before.times)
    times = np.concatenate([before.times, after.times])
    values = np.empty((len(labels), len(times)))
    present = np.zeros(values.shape, np.bool_)
    row_of = {each: row for row, each in enumerate(labels)}
    for part, columns in ((before, slice(None, steps)), (after, slice(steps, None))):
        rows = _rows(part.labels, row_of)
        values[rows, columns] = part.values
        present[rows, columns] = True if part.present is None else part.present
    return GridResult(labels, times, values, None if present.all() else present)


def _rows(labels: Sequence[Labels], row_of: dict[Labels, int]) -> slice | list[int]:
    """Where these labels stand; a slice where that is everywhere."""
    if len(labels) == len(row_of):
        return slice(None)
    return [row_of[each] for each in labels]


def memory_bytes(grid: GridResult) -> int:
    """What the answer takes in memory, roughly: labels may be shared with others."""
    present = 0 if grid.present is None else grid.present.nbytes
    return grid.values.nbytes + present + grid.times.nbytes + _SERIES_BYTES * len(grid.labels)


# A tuple of five pairs of text.
_SERIES_BYTES = 700


def owned(grid: GridResult) -> GridResult:
    """The same without views, which would keep larger arrays alive."""
    values = grid.values if grid.values.base is None else grid.values.copy()
    present = grid.present
    if present is not None and present.base is not None:
        present = present.copy()
    return GridResult(grid.labels, grid.times.copy(), values, present)
