"""Operators between two vectors: one-to-one, many-to-one, and the set operators.

Series pair up by signature. Where a signature has several series on the "one" side, or several pairs in
a one-to-one match, it depends on the step whether they collide; every pair is then a row of its own, and
rows of one result series are merged after the collisions were ruled out, step by step.
"""

from dataclasses import dataclass

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.labels import Labels, format_labels, make_labels
from meterhall.model.samples import ValueArray
from meterhall.promql.nodes import Cardinality, VectorMatching
from meterhall.query.binary import ARITHMETIC, COMPARISON
from meterhall.query.budget import Budget
from meterhall.query.frame import (
    BoolArray,
    Frame,
    IndexArray,
    compact,
    drop_metric,
    empty_frame,
    merged,
)
from meterhall.query.grouping import Grouping, numbered

_MANY_TO_ONE = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
)
_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


# Pairs whose labels are made between two looks at the clock: group_left may add a thousand to each.
_CHECKED_PAIRS = 256


@dataclass(frozen=True, slots=True)
class Operation:
    """A binary operator with its matching."""

    op: str
    matching: VectorMatching
    return_bool: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Both vectors and the signature number of each of their series."""

    many: Frame
    one: Frame
    many_ids: IndexArray
    one_ids: IndexArray
    signatures: int


def _sides(many: Frame, one: Frame, matching: VectorMatching) -> _Sides:
    grouping = _grouping(matching)
    keys = [*grouping.keys(many.labels), *grouping.keys(one.labels)]
    ids, distinct = numbered(keys)
    split = len(many.labels)
    return _Sides(many, one, ids[:split], ids[split:], len(distinct))


def match_sets(op: str, lhs: Frame, rhs: Frame, matching: VectorMatching) -> Frame:
    """`and`, `or` and `unless`, step by step."""
    sides = _sides(lhs, rhs, matching)
    if op == "or":
        extra = _by_signature(lhs, sides.many_ids, sides.signatures)[sides.one_ids]
        return _union(lhs, compact(rhs.masked(~extra)))
    other = _by_signature(rhs, sides.one_ids, sides.signatures)[sides.many_ids]
    return compact(lhs.masked(other if op == "and" else ~other))


def _by_signature(frame: Frame, ids: IndexArray, signatures: int) -> BoolArray:
    """At which steps a signature has a point, [signatures, T]."""
    found = np.zeros((signatures, frame.values.shape[1]), np.bool_)
    if frame.present is None:
        found[ids] = True
    else:
        np.logical_or.at(found, ids, frame.present)
    return found


def _union(lhs: Frame, rhs: Frame) -> Frame:
    if not rhs.labels or not lhs.labels:
        return lhs if lhs.labels else rhs
    present = (
        None
        if lhs.present is None and rhs.present is None
        else np.concatenate([lhs.mask(), rhs.mask()])
    )
    return merged(
        Frame([*lhs.labels, *rhs.labels], np.concatenate([lhs.values, rhs.values]), present)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Operands that pair up, a row for each pair: values of the many and of the one side, and where."""

    labels: list[Labels]
    signatures: IndexArray
    many: ValueArray
    one: ValueArray
    here: BoolArray | None


def match_vectors(operation: Operation, lhs: Frame, rhs: Frame, budget: Budget) -> Frame:
    """Arithmetic or comparison between the series that pair up."""
    matching = operation.matching
    swapped = matching.card is Cardinality.ONE_TO_MANY
    many, one = (rhs, lhs) if swapped else (lhs, rhs)
    # Prometheus swaps the sides of group_right first, so that "left" is the many side here.
    fill_many, fill_one = matching.fill_lhs, matching.fill_rhs
    fillable = (fill_many is not None and one.labels) or (fill_one is not None and many.labels)
    if not fillable and (not many.labels or not one.labels):
        return empty_frame(lhs.values.shape[1])
    sides = _sides(many, one, matching)
    duplicates = _duplicates(sides, filled=bool(fillable))
    if duplicates is not None and duplicates.step == 0:
        # Nothing can be wrong earlier, and the pairs of a many-to-many match may be a million.
        raise _duplicate_error(operation, sides, duplicates)
    rows = _paired(operation, sides, budget)
    if fill_one is not None:
        rows = _joined(rows, _filled_one(operation, sides, fill_one))
    if fill_many is not None:
        rows = _joined(rows, _filled_many(operation, sides, fill_many))
    left, right = (rows.one, rows.many) if swapped else (rows.many, rows.one)
    result = _computed(operation, rows, left, right)
    _refuse(sides, operation, duplicates, _collision(operation, rows, result))
    if not result.labels:
        return empty_frame(lhs.values.shape[1])
    return compact(merged(result))


def _paired(operation: Operation, sides: _Sides, budget: Budget) -> _Rows:
    """The pairs that are there on both sides."""
    many_rows, one_rows = _pairs(sides, budget)
    labels: list[Labels] = []
    for many_row, one_row in zip(many_rows.tolist(), one_rows.tolist(), strict=True):
        if len(labels) % _CHECKED_PAIRS == 0:
            budget.check()
        many, one = sides.many.labels[many_row], sides.one.labels[one_row]
        labels.append(_result_labels(operation, many, one))
    return _Rows(
        labels,
        sides.many_ids[many_rows],
        sides.many.values[many_rows],
        sides.one.values[one_rows],
        _both_present(sides.many, many_rows, sides.one, one_rows),
    )


def _filled_one(operation: Operation, sides: _Sides, fill: float) -> _Rows:
    """Series of the many side at steps where the one side has no partner."""
    partners = _by_signature(sides.one, sides.one_ids, sides.signatures)[sides.many_ids]
    grouping = _grouping(operation.matching)
    return _Rows(
        [_result_labels(operation, labels, grouping.key(labels)) for labels in sides.many.labels],
        sides.many_ids,
        sides.many.values,
        np.full(sides.many.values.shape, fill),
        sides.many.mask() & ~partners,
    )


def _filled_many(operation: Operation, sides: _Sides, fill: float) -> _Rows:
    """Series of the one side at steps where the many side has no partner."""
    partners = _by_signature(sides.many, sides.many_ids, sides.signatures)[sides.one_ids]
    grouping = _grouping(operation.matching)
    return _Rows(
        [_result_labels(operation, grouping.key(labels), labels) for labels in sides.one.labels],
        sides.one_ids,
        np.full(sides.one.values.shape, fill),
        sides.one.values,
        sides.one.mask() & ~partners,
    )


def _joined(first: _Rows, second: _Rows) -> _Rows:
    present = np.ones(first.many.shape, np.bool_) if first.here is None else first.here
    assert second.here is not None, "bug: filled rows say where they are"
    return _Rows(
        first.labels + second.labels,
        np.concatenate([first.signatures, second.signatures]),
        np.concatenate([first.many, second.many]),
        np.concatenate([first.one, second.one]),
        np.concatenate([present, second.here]),
    )


def _computed(operation: Operation, rows: _Rows, left: ValueArray, right: ValueArray) -> Frame:
    if operation.op in ARITHMETIC:
        return Frame(rows.labels, ARITHMETIC[operation.op](left, right), rows.here)
    keep = COMPARISON[operation.op](left, right)
    if operation.return_bool:
        return Frame(rows.labels, keep.astype(np.float64), rows.here)
    return Frame(rows.labels, left, rows.here).masked(keep)


def _grouping(matching: VectorMatching) -> Grouping:
    return Grouping(frozenset(matching.labels), without=not matching.on)


def _pairs(sides: _Sides, budget: Budget) -> tuple[IndexArray, IndexArray]:
    """Rows of the many and of the one side that share a signature, by row of the many side."""
    order = np.argsort(sides.one_ids, kind="stable")
    ordered = sides.one_ids[order]
    begin = np.searchsorted(ordered, sides.many_ids, side="left")
    size = np.searchsorted(ordered, sides.many_ids, side="right") - begin
    budget.reserve(int(size.sum()), sides.many.values.shape[1])
    many_rows = np.repeat(np.arange(len(size)), size)
    within = np.arange(len(many_rows)) - np.repeat(np.cumsum(size) - size, size)
    return many_rows, order[np.repeat(begin, size) + within]


def _both_present(
    many: Frame, many_rows: IndexArray, one: Frame, one_rows: IndexArray
) -> BoolArray | None:
    if many.present is None and one.present is None:
        return None
    return many.mask()[many_rows] & one.mask()[one_rows]


@dataclass(frozen=True, slots=True)
class _Duplicates:
    """Two series of the one side, by row, that the same step has under the same signature."""

    step: int
    first: int
    second: int


def _duplicates(sides: _Sides, *, filled: bool) -> _Duplicates | None:
    """The duplicates that Prometheus, going step by step and then series by series, meets first."""
    counts = np.bincount(sides.one_ids, minlength=sides.signatures)
    if counts.max(initial=0) < 2:
        return None
    here = sides.one.mask()
    # Prometheus does not look at a step where one side is empty, unless it is to be filled.
    active = np.True_ if filled else sides.many.mask().any(axis=0)
    found: list[_Duplicates] = []
    for signature in np.flatnonzero(counts > 1).tolist():
        rows = np.flatnonzero(sides.one_ids == signature)
        crowded = (np.count_nonzero(here[rows], axis=0) > 1) & active
        if crowded.any():
            step = int(crowded.argmax())
            first, second = rows[here[rows, step]][:2].tolist()
            found.append(_Duplicates(step, first, second))
    return min(found, key=lambda pair: (pair.step, pair.second), default=None)


def _refuse(
    sides: _Sides, operation: Operation, duplicates: _Duplicates | None, collision: int | None
) -> None:
    """Raises for whatever is wrong at the earliest step; at one step duplicates come first."""
    if duplicates is not None and (collision is None or duplicates.step <= collision):
        raise _duplicate_error(operation, sides, duplicates)
    if collision is not None:
        one_to_one = operation.matching.card is Cardinality.ONE_TO_ONE
        raise QueryError(_MANY_TO_ONE if one_to_one else _NOT_UNIQUE)


def _duplicate_error(operation: Operation, sides: _Sides, duplicates: _Duplicates) -> QueryError:
    labels = sides.one.labels
    first, second = labels[duplicates.first], labels[duplicates.second]
    return QueryError(_duplicate_text(operation.matching, first, second))


def _duplicate_text(matching: VectorMatching, first: Labels, second: Labels) -> str:
    side = "left" if matching.card is Cardinality.ONE_TO_MANY else "right"
    group = _grouping(matching).key(second)
    return (
        f"found duplicate series for the match group {format_labels(group)} on the {side} "
        f"hand-side of the operation: [{format_labels(second)}, {format_labels(first)}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _result_labels(operation: Operation, many: Labels, one: Labels) -> Labels:
    matching = operation.matching
    drops_name = operation.op in ARITHMETIC or operation.return_bool
    result = drop_metric(many) if drops_name else many
    if matching.card is Cardinality.ONE_TO_ONE:
        result = _kept(result, _grouping(matching))
    return _included(result, one, matching.include) if matching.include else result


def _kept(labels: Labels, grouping: Grouping) -> Labels:
    """What one-to-one matching leaves: with `ignoring` the name stays, unless an operator drops it."""
    if not grouping.without:
        return grouping.key(labels)
    if not grouping.names:
        return labels
    return tuple([pair for pair in labels if pair[0] not in grouping.names])


def _included(labels: Labels, one: Labels, names: tuple[str, ...]) -> Labels:
    known = dict(one)
    merged_labels = {**dict(labels), **{name: known.get(name, "") for name in names}}
    return make_labels(merged_labels)


def _collision(operation: Operation, rows: _Rows, result: Frame) -> int | None:
    """The first step where rows collide, if there is any.

    One-to-one no signature may have two pairs, whatever a comparison makes of them. Grouped, it may not
    have two results of the same labels, and what a comparison drops is no result.
    """
    if not rows.labels:
        return None
    if operation.matching.card is Cardinality.ONE_TO_ONE:
        groups, here = rows.signatures, rows.here
    else:
        numbers, _ = numbered(result.labels)
        groups, here = rows.signatures * (int(numbers.max()) + 1) + numbers, result.present
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if sizes.max() < 2:
        return None
    if here is None:
        return 0
    steps = np.zeros(here.shape[1], np.bool_)
    for group in np.flatnonzero(sizes > 1).tolist():
        steps |= np.count_nonzero(here[groups == group], axis=0) > 1
    return int(steps.argmax()) if steps.any() else None
