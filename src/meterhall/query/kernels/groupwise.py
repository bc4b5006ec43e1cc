"""Aggregation of rows into groups, step by step: values[S, T] and a group number for each row.

Rows are first put in group order (stable, so that members keep their order), which makes every group a
slice. `present[S, T]` None says that no cell is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from meterhall.compiled.shapes import Sums
from meterhall.model.samples import ValueArray
from meterhall.query.kernels.over_time import sorted_quantile
from meterhall.query.kernels.summation import Terms, doubtful, kahan_mean, kahan_sum
from meterhall.query.kernels.windows import BoolArray, IndexArray

# A part of an aggregation: so many rows of whole groups, or so many cells of a large group.
_PART_ROWS = 512
_PART_CELLS = 1 << 22
# From so many steps on, a few operations on each row beat one pass in extended precision.
_COMPENSATED_STEPS_MIN = 256


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Rows in group order: group g is `values[bounds[g] : bounds[g + 1]]`.

    `counts[G, T]` are the points of each group at each step.
    """

    values: ValueArray
    present: BoolArray | None
    bounds: IndexArray
    counts: IndexArray

    @property
    def groups(self) -> int:
        """Number of groups; each has at least one row."""
        return len(self.bounds) - 1

    def slices(self) -> Iterator[tuple[int, slice]]:
        """Group number and its rows."""
        edges = self.bounds.tolist()
        for group in range(self.groups):
            yield group, slice(edges[group], edges[group + 1])


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some groups at some steps: `rows` are where the members stand in the ungrouped matrix."""

    groups: slice
    steps: slice
    rows: IndexArray
    members: Members


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """A matrix whose rows belong to groups; `order` lists the rows group by group, `bounds` cuts it."""

    values: ValueArray
    present: BoolArray | None
    order: IndexArray
    bounds: IndexArray

    @property
    def groups(self) -> int:
        """Number of groups; each has at least one row."""
        return len(self.bounds) - 1

    def parts(self, cells_max: int = _PART_CELLS) -> Iterator[Part]:
        """Everything, in parts of a bounded size: whole groups, of large groups some steps at a time."""
        edges = self.bounds.tolist()
        begin = 0
        while begin < self.groups:
            end = begin + 1
            while end < self.groups and edges[end + 1] - edges[begin] <= _PART_ROWS:
                end += 1
            rows = self.order[edges[begin] : edges[end]]
            span = max(1, cells_max // len(rows))
            for first in range(0, self.values.shape[1], span):
                steps = slice(first, first + span)
                yield Part(slice(begin, end), steps, rows, self._members(rows, steps, begin, end))
            begin = end

    def _members(self, rows: IndexArray, steps: slice, begin: int, end: int) -> Members:
        values = self.values[rows, steps]
        present = None if self.present is None else self.present[rows, steps]
        bounds = self.bounds[begin : end + 1] - self.bounds[begin]
        return Members(values, present, bounds, _counts(present, bounds, values.shape[1]))


def grouped(
    values: ValueArray, present: BoolArray | None, group_of: IndexArray, groups: int
) -> Grouped:
    """Rows by group, in their order within each."""
    order = np.argsort(group_of, kind="stable")
    bounds = np.searchsorted(group_of[order], np.arange(groups + 1))
    return Grouped(values, present, order, bounds)


def _counts(present: BoolArray | None, bounds: IndexArray, steps: int) -> IndexArray:
    """Points of each group at each step; counted only at steps where one is missing."""
    sizes = np.broadcast_to(np.diff(bounds)[:, None], (len(bounds) - 1, steps))
    if present is None:
        return sizes
    holes = np.flatnonzero(~present.all(axis=0))
    found = sizes.copy()
    found[:, holes] = np.add.reduceat(present[:, holes], bounds[:-1], axis=0, dtype=np.int64)
    return found


def counts(rows: Members) -> IndexArray:
    """Points of each group at each step, [G, T]."""
    return rows.counts


def sums(rows: Members) -> ValueArray:
    """Kahan-Neumaier sums, [G, T]."""
    return _totals(rows, mean=False)


def means(rows: Members) -> ValueArray:
    """Means that do not overflow, [G, T]."""
    return _totals(rows, mean=True)


def totals_by_machine(kernels: Any, rows: Grouped, *, mean: bool) -> tuple[ValueArray, IndexArray]:
    """Kahan-Neumaier sums, or means by them, and the points of each group at each step, [G, T]."""
    shape = (rows.groups, rows.values.shape[1])
    sums = Sums(np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64))
    present = np.empty((0, shape[1]), np.bool_) if rows.present is None else rows.present
    values, present = np.ascontiguousarray(rows.values), np.ascontiguousarray(present)
    kernels.group_sums(values, present, rows.order, rows.bounds, sums)
    if not mean:
        return sums.total + sums.carry, sums.terms
    return sums.total / sums.terms + sums.carry / sums.terms, sums.terms


def _totals(rows: Members, *, mean: bool) -> ValueArray:
    values = rows.values if rows.present is None else np.where(rows.present, rows.values, 0.0)
    number = rows.counts
    if values.shape[1] >= _COMPENSATED_STEPS_MIN:
        total, carry = _compensated(values, rows)
        result = total / number + carry / number if mean else total + carry
        # Its corrections are Neumaier's bit for bit, unless something is or became infinite.
        unsure = ~np.isfinite(result)
    else:
        extended = values.astype(np.longdouble)
        sums_of = np.add.reduceat(extended, rows.bounds[:-1], axis=0)
        sizes = np.add.reduceat(np.abs(extended), rows.bounds[:-1], axis=0)
        # The carry that Prometheus adds at the end turns a negative zero into a positive one.
        result = (sums_of / number if mean else sums_of).astype(np.float64) + 0.0
        unsure = doubtful(sums_of, sizes)
    unsure &= number > 0
    if unsure.any():
        exact = kahan_mean if mean else kahan_sum
        for group, part in rows.slices():
            steps = np.flatnonzero(unsure[group])
            if len(steps):
                result[group, steps] = exact(_terms(rows, part, steps), steps.shape)
    return result


def _compensated(values: ValueArray, rows: Members) -> tuple[ValueArray, ValueArray]:
    """Sums and their lost low parts, row by row, by Knuth's branch-free two-sum."""
    total = np.empty((rows.groups, values.shape[1]))
    carry = np.zeros(total.shape)
    new, shift, low = np.empty(total.shape[1]), np.empty(total.shape[1]), np.empty(total.shape[1])
    for group, part in rows.slices():
        old, lost = total[group], carry[group]
        old[:] = values[part.start]
        for row in values[part.start + 1 : part.stop]:
            np.add(old, row, out=new)
            np.subtract(new, old, out=shift)
            np.subtract(row, shift, out=low)
            np.subtract(new, shift, out=shift)
            np.subtract(old, shift, out=shift)
            np.add(low, shift, out=low)
            np.add(lost, low, out=lost)
            old[:] = new
    return total, carry


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
    number = rows.counts
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
