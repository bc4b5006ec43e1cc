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
from meterhall.query.operators import ARITHMETIC, COMPARISON

_MANY_TO_ONE = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
)
_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


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
    grouping = Grouping(frozenset(matching.labels), without=not matching.on)
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


def match_vectors(operation: Operation, lhs: Frame, rhs: Frame, budget: Budget) -> Frame:
    """Arithmetic or comparison between the series that pair up."""
    swapped = operation.matching.card is Cardinality.ONE_TO_MANY
    many, one = (rhs, lhs) if swapped else (lhs, rhs)
    if not many.labels or not one.labels:
        return empty_frame(lhs.values.shape[1])
    sides = _sides(many, one, operation.matching)
    _refuse_duplicates(sides, operation.matching)
    many_rows, one_rows = _pairs(sides, budget)
    if not len(many_rows):
        return empty_frame(lhs.values.shape[1])
    labels = _result_labels(operation, sides, many_rows, one_rows)
    here = _both_present(many, many_rows, one, one_rows)
    _refuse_collisions(operation, sides.many_ids[many_rows], labels, here)
    left, right = many.values[many_rows], one.values[one_rows]
    if swapped:
        left, right = right, left
    return compact(merged(_computed(operation, labels, (left, right), here)))


def _computed(
    operation: Operation,
    labels: list[Labels],
    sides: tuple[ValueArray, ValueArray],
    here: BoolArray | None,
) -> Frame:
    left, right = sides
    if operation.op in ARITHMETIC:
        return Frame(labels, ARITHMETIC[operation.op](left, right), here)
    keep = COMPARISON[operation.op](left, right)
    if operation.return_bool:
        return Frame(labels, keep.astype(np.float64), here)
    return Frame(labels, left, here).masked(keep)


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


def _refuse_duplicates(sides: _Sides, matching: VectorMatching) -> None:
    """Two series of the one side with the same signature at the same step cannot be told apart."""
    counts = np.bincount(sides.one_ids, minlength=sides.signatures)
    if counts.max() < 2:
        return
    active = sides.many.mask().any(axis=0)
    for signature in np.flatnonzero(counts > 1).tolist():
        rows = np.flatnonzero(sides.one_ids == signature)
        crowded = (np.count_nonzero(sides.one.mask()[rows], axis=0) > 1) & active
        if crowded.any():
            step = int(crowded.argmax())
            first, second = rows[sides.one.mask()[rows, step]][:2].tolist()
            raise QueryError(
                _duplicate_text(matching, sides.one.labels[first], sides.one.labels[second])
            )


def _duplicate_text(matching: VectorMatching, first: Labels, second: Labels) -> str:
    side = "left" if matching.card is Cardinality.ONE_TO_MANY else "right"
    group = Grouping(frozenset(matching.labels), without=not matching.on).key(second)
    return (
        f"found duplicate series for the match group {format_labels(group)} on the {side} "
        f"hand-side of the operation: [{format_labels(second)}, {format_labels(first)}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _result_labels(
    operation: Operation, sides: _Sides, many_rows: IndexArray, one_rows: IndexArray
) -> list[Labels]:
    matching = operation.matching
    drops_name = operation.op in ARITHMETIC or operation.return_bool
    grouping = Grouping(frozenset(matching.labels), without=not matching.on)
    labels: list[Labels] = []
    for many_row, one_row in zip(many_rows.tolist(), one_rows.tolist(), strict=True):
        result = sides.many.labels[many_row]
        if drops_name:
            result = drop_metric(result)
        if matching.card is Cardinality.ONE_TO_ONE:
            result = _kept(result, grouping)
        if matching.include:
            result = _included(result, sides.one.labels[one_row], matching.include)
        labels.append(result)
    return labels


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


def _refuse_collisions(
    operation: Operation, signatures: IndexArray, labels: list[Labels], here: BoolArray | None
) -> None:
    """Several results of one signature at one step: never one-to-one, else only with other labels."""
    if operation.matching.card is Cardinality.ONE_TO_ONE:
        groups, text = signatures, _MANY_TO_ONE
    else:
        numbers, _ = numbered(labels)
        groups, text = signatures * (int(numbers.max()) + 1) + numbers, _NOT_UNIQUE
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if sizes.max() < 2:
        return
    if here is None:
        raise QueryError(text)
    for group in np.flatnonzero(sizes > 1).tolist():
        if (np.count_nonzero(here[groups == group], axis=0) > 1).any():
            raise QueryError(text)
