"""Aggregations: rows of a frame made few, or picked, group by group and step by step."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.labels import Labels, format_labels
from meterhall.model.samples import ValueArray
from meterhall.promql.nodes import AggregateExpr
from meterhall.query.annotations import Annotations, format_decimal, format_float
from meterhall.query.budget import Budget
from meterhall.query.frame import Frame, IndexArray, compact, empty_frame
from meterhall.query.functions.invocation import unwrapped
from meterhall.query.functions.labels import is_label_name, with_label
from meterhall.query.grouping import Grouping, numbered
from meterhall.query.kernels import groupwise, ties
from meterhall.query.kernels.clocked import machine
from meterhall.query.kernels.groupwise import Grouped, Members, Part

_INT64_MIN, _INT64_MAX = -(2.0**63), 2.0**63 - 1024

# Ranking takes some five arrays of what is ranked; so few cells at a time that they are a matter of megabytes.
_PICKED_CELLS = 1 << 18
PICKING = frozenset(("topk", "bottomk", "limitk", "limit_ratio"))


def _ones(rows: Members) -> ValueArray:
    return np.ones((rows.groups, rows.values.shape[1]))


_REDUCTIONS: dict[str, Callable[[Members], ValueArray | IndexArray]] = {
    "sum": groupwise.sums,
    "avg": groupwise.means,
    "min": lambda rows: groupwise.extremes(rows, greatest=False),
    "max": lambda rows: groupwise.extremes(rows, greatest=True),
    "count": groupwise.counts,
    "group": _ones,
    "stdvar": groupwise.variances,
    "stddev": lambda rows: np.sqrt(groupwise.variances(rows)),
}


def reduce(node: AggregateExpr, frame: Frame, budget: Budget) -> Frame:
    """Aggregations without parameter."""
    kernel = _REDUCTIONS[node.op]
    kernels = machine(frame.values.size) if node.op in ("sum", "avg") else None
    if kernels is not None:
        totals = _totals_by_machine(kernels, node, frame)
        if totals is not None:
            return totals
    return _reduced(node, frame, lambda part: kernel(part.members), budget)


def quantile(
    node: AggregateExpr, frame: Frame, at: ValueArray, annotations: Annotations, budget: Budget
) -> Frame:
    """quantile(at[T], …); quantiles outside [0, 1] give ∓Inf and a warning."""
    assert node.param is not None, "bug: quantile without parameter"
    for wrong in _outside(at, 0.0, 1.0):
        annotations.invalid_quantile(wrong, unwrapped(node.param).span)

    def kernel(part: Part) -> ValueArray:
        return groupwise.quantiles(part.members, at[part.steps])

    return _reduced(node, frame, kernel, budget)


def _reduced(
    node: AggregateExpr,
    frame: Frame,
    kernel: Callable[[Part], ValueArray | IndexArray],
    budget: Budget,
) -> Frame:
    rows, labels = _grouped(node, frame)
    if not labels:
        return empty_frame(frame.values.shape[1])
    shape = (len(labels), frame.values.shape[1])
    values = np.empty(shape)
    present = None if frame.present is None else np.empty(shape, np.bool_)
    for part in rows.parts():
        budget.check()
        values[part.groups, part.steps] = kernel(part)
        if present is not None:
            present[part.groups, part.steps] = part.members.counts > 0
    return compact(Frame(labels, values, present))


def _totals_by_machine(kernels: Any, node: AggregateExpr, frame: Frame) -> Frame | None:
    """Sums or means; None where a mean is not finite, which may be because its sum overflows."""
    rows, labels = _grouped(node, frame)
    if not labels:
        return empty_frame(frame.values.shape[1])
    values, count = groupwise.totals_by_machine(kernels, rows, mean=node.op == "avg")
    if node.op == "avg" and not np.isfinite(values[count > 0]).all():
        return None
    return compact(Frame(labels, values, None if frame.present is None else count > 0))


def _grouped(node: AggregateExpr, frame: Frame) -> tuple[Grouped, list[Labels]]:
    if frame.labels and not node.grouping and not node.without:
        together = np.zeros(len(frame.labels), np.int64)
        return groupwise.grouped(frame.values, frame.present, together, 1), [()]
    grouping = Grouping(frozenset(node.grouping), node.without)
    numbers, labels = numbered(grouping.keys(frame.labels))
    return groupwise.grouped(frame.values, frame.present, numbers, len(labels)), labels


def _outside(values: ValueArray, low: float, high: float) -> list[float]:
    """The parameter values worth a warning: a NaN, or the greatest above and the least below."""
    if np.isnan(values).any():
        return [float("nan")]
    greatest, least = float(values.max()), float(values.min())
    return [greatest] * (greatest > high) + [least] * (least < low)


def pick(node: AggregateExpr, frame: Frame, size: ValueArray, budget: Budget) -> Frame:
    """topk, bottomk and limitk: up to size[T] series of each group at each step, labels kept."""
    steps = frame.values.shape[1]
    if size.max() < 1:
        return empty_frame(steps)
    _check_size(size)
    if not frame.labels:
        return empty_frame(steps)
    rows, _ = _grouped(node, frame)
    kept = np.empty(frame.values.shape, np.bool_)
    # Of the first step, for the order of an instant's answer.
    place = np.empty(len(kept), np.int64)
    for part in rows.parts(_PICKED_CELLS):
        budget.check()
        wanted = size[part.steps]
        if node.op == "limitk":
            ranks = groupwise.places(part.members)
        else:
            greatest = node.op == "topk"
            ranks = groupwise.ranks(part.members, greatest=greatest)
            ties.settle(part.members, ranks, wanted, greatest=greatest, ordered=steps == 1)
        kept[part.rows, part.steps] = ranks < np.trunc(wanted)
        if steps == 1:
            place[part.rows] = ranks[:, 0]
    if steps == 1:
        return _in_order(frame.masked(kept), rows, place)
    return compact(frame.masked(kept))


def _in_order(frame: Frame, rows: Grouped, place: IndexArray) -> Frame:
    """An instant's picks: groups as they appeared, within each by rank."""
    group = np.empty(len(place), np.int64)
    group[rows.order] = np.repeat(np.arange(rows.groups), np.diff(rows.bounds))
    order = np.lexsort((place, group))
    return compact(frame.rows(order[frame.mask()[order, 0]]))


def _check_size(size: ValueArray) -> None:
    if np.isnan(size).any():
        raise QueryError("Parameter value is NaN")
    greatest, least = float(size.max()), float(size.min())
    if least < _INT64_MIN:
        raise QueryError(f"Scalar value {format_float(least)} underflows int64")
    if greatest > _INT64_MAX:
        raise QueryError(f"Scalar value {format_float(greatest)} overflows int64")


def count_values(node: AggregateExpr, frame: Frame, name: str, budget: Budget) -> Frame:
    """A series for each distinct value, labelled with it, counting its points in the group."""
    if not is_label_name(name):
        raise QueryError(f'invalid label name "{name}"')
    names = node.grouping if node.without else (*node.grouping, name)
    grouping = Grouping(frozenset(names), node.without)
    ids: dict[Labels, int] = {}
    parts: list[tuple[int, np.ndarray]] = []
    texts: dict[int, str] = {}
    steps = frame.values.shape[1]
    for row, labels in enumerate(frame.labels):
        here = frame.mask()[row]
        # Compared by bits, because -0 and 0 are different texts; all NaN are one.
        row_bits = np.where(np.isnan(frame.values[row]), np.nan, frame.values[row]).view(np.int64)
        for bits in np.unique(row_bits[here]).tolist():
            if bits not in texts:
                texts[bits] = _value_text(float(np.int64(bits).view(np.float64)))
            key = grouping.key(with_label(labels, name, texts[bits]))
            parts.append((ids.setdefault(key, len(ids)), (row_bits == bits) & here))
        budget.reserve(len(parts), steps)
    counted = np.zeros((len(ids), steps))
    for number, where in parts:
        counted[number] += where
    return compact(Frame(list(ids), counted, counted > 0))


def _value_text(value: float) -> str:
    if not np.isfinite(value):
        return format_float(value)
    return format_decimal(value)


def limit_ratio(
    node: AggregateExpr, frame: Frame, ratio: ValueArray, annotations: Annotations
) -> Frame:
    """A deterministic share of the series, by a hash of their labels; -r takes what 1 - r leaves."""
    assert node.param is not None, "bug: limit_ratio without parameter"
    if np.isnan(ratio).any():
        raise QueryError("Ratio value is NaN")
    for wrong in _outside(ratio, -1.0, 1.0):
        annotations.invalid_ratio(wrong, float(np.clip(wrong, -1, 1)), unwrapped(node.param).span)
    limit = np.clip(ratio, -1.0, 1.0)
    if not frame.labels:
        return frame
    share = np.array([_share(labels) for labels in frame.labels])[:, None]
    return compact(frame.masked(np.where(limit >= 0, share < limit, share >= 1.0 + limit)))


def _share(labels: Labels) -> float:
    """Where in [0, 1) a series stands; Prometheus takes its own hash, so the choice differs."""
    digest = hashlib.blake2b(
        format_labels(labels).encode("utf-8", "surrogateescape"), digest_size=8
    )
    return int.from_bytes(digest.digest(), "big") / 2.0**64
