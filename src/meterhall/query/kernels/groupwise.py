"""Aggregation of rows into groups, step by step: values[S, T] and a group number for each row.

Rows are first put in group order (stable, so that members keep their order), which makes every group a
slice. `present[S, T]` None says that no cell is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from meterhall.model.samples import ValueArray
from meterhall.query.kernels.over_time import sorted_quantile
from meterhall.query.kernels.summation import Terms, doubtful, kahan_mean, kahan_sum
from meterhall.query.kernels.windows import BoolArray, IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Rows in group order: group g is `values[bounds[g] : bounds[g + 1]]`; `order` names the old rows."""

    values: ValueArray
    present: BoolArray | None
    bounds: IndexArray
    order: IndexArray

    @property
    def groups(self) -> int:
        """Number of groups; each has at least one row."""
        return len(self.bounds) - 1

    def slices(self) -> Iterator[tuple[int, slice]]:
        """Group number and its rows."""
        edges = self.bounds.tolist()
        for group in range(self.groups):
            yield group, slice(edges[group], edges[group + 1])


def members(
    values: ValueArray, present: BoolArray | None, group_of: IndexArray, groups: int
) -> Members:
    """Rows sorted by group."""
    order = np.argsort(group_of, kind="stable")
    bounds = np.searchsorted(group_of[order], np.arange(groups + 1))
    if (np.diff(order) == 1).all():
        return Members(values, present, bounds, order)
    return Members(values[order], None if present is None else present[order], bounds, order)


def counts(rows: Members) -> IndexArray:
    """Points of each group at each step, [G, T]."""
    if rows.present is None:
        return np.broadcast_to(np.diff(rows.bounds)[:, None], (rows.groups, rows.values.shape[1]))
    return np.add.reduceat(rows.present, rows.bounds[:-1], axis=0, dtype=np.int64)


def sums(rows: Members) -> ValueArray:
    """Kahan-Neumaier sums, [G, T]."""
    return _totals(rows, mean=False)


def means(rows: Members) -> ValueArray:
    """Means that do not overflow, [G, T]."""
    return _totals(rows, mean=True)


def _totals(rows: Members, *, mean: bool) -> ValueArray:
    values = rows.values if rows.present is None else np.where(rows.present, rows.values, 0.0)
    result = np.empty((rows.groups, values.shape[1]))
    number = counts(rows)
    for group, part in rows.slices():
        extended = values[part].astype(np.longdouble)
        total = extended.sum(axis=0)
        unsure = doubtful(total, np.abs(extended).sum(axis=0)) & (number[group] > 0)
        if mean:
            total = total / number[group]
        result[group] = total.astype(np.float64)
        if unsure.any():
            steps = np.flatnonzero(unsure)
            exact = kahan_mean if mean else kahan_sum
            result[group, steps] = exact(_terms(rows, part, steps), steps.shape)
    return result


def _terms(rows: Members, part: slice, steps: IndexArray) -> Terms:
    values = rows.values[part][:, steps]
    if rows.present is None:
        for row in values:
            yield row, None
        return
    yield from zip(values, rows.present[part][:, steps], strict=True)


def extremes(rows: Members, *, greatest: bool) -> ValueArray:
    """Minima or maxima, [G, T]; NaN only where there is nothing else."""
    values = rows.values if rows.present is None else np.where(rows.present, rows.values, np.nan)
    ufunc = np.fmax if greatest else np.fmin
    return np.asarray(ufunc.reduceat(values, rows.bounds[:-1], axis=0))


def variances(rows: Members) -> ValueArray:
    """Population variance by Welford's recurrence, [G, T]; NaN where any point is not finite."""
    result = np.empty((rows.groups, rows.values.shape[1]))
    mask = rows.present
    for group, part in rows.slices():
        mean = np.zeros(rows.values.shape[1])
        square = np.zeros(rows.values.shape[1])
        number = np.zeros(rows.values.shape[1])
        poison = np.zeros(rows.values.shape[1], np.bool_)
        for row in range(part.start, part.stop):
            value = rows.values[row]
            live = np.True_ if mask is None else mask[row]
            number = number + live
            poison |= live & ~np.isfinite(value)
            delta = value - mean
            mean = np.where(live, mean + delta / number, mean)
            square = np.where(live, square + delta * (value - mean), square)
        result[group] = np.where(poison, np.nan, square / number)
    return result


def quantiles(rows: Members, at: ValueArray) -> ValueArray:
    """Quantiles of each group, `at[T]` per step, [G, T]."""
    result = np.empty((rows.groups, rows.values.shape[1]))
    number = counts(rows)
    for group, part in rows.slices():
        block = rows.values[part]
        if rows.present is not None:
            block = np.where(rows.present[part], block, np.nan)
        result[group] = sorted_quantile(block.T[None], number[group][None], at)[0]
    return result


def ranks(rows: Members, *, greatest: bool) -> IndexArray:
    """The place of each cell within its group and step, from 0; NaN last, missing cells after it."""
    result = np.empty(rows.values.shape, np.int64)
    for _, part in rows.slices():
        block = rows.values[part]
        here = np.ones(block.shape, np.bool_) if rows.present is None else rows.present[part]
        key = -block if greatest else block
        kind = np.where(here, np.isnan(block), 2)
        order = np.lexsort((key, kind), axis=0)
        place = np.broadcast_to(np.arange(len(block))[:, None], block.shape)
        np.put_along_axis(result[part], order, place, axis=0)
    return result


def places(rows: Members) -> IndexArray:
    """How many points of its group stand before each cell at its step."""
    result = np.empty(rows.values.shape, np.int64)
    for _, part in rows.slices():
        if rows.present is None:
            result[part] = np.arange(part.stop - part.start)[:, None]
        else:
            result[part] = np.cumsum(rows.present[part], axis=0) - 1
    return result
