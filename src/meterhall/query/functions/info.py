"""info(): labels of info metrics joined to series of the same instance and job (experimental).

After promql/info.go. The info series that count are those of the selector (default `target_info`), looked
at where the first argument's own selector looks. A series' own labels win; of several info series of one
metric the newest counts. Where none is found the series stays, unless the selector demands a label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.labels import METRIC_NAME, Labels, format_labels, label_value, make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.promql.nodes import AtEdge, Call, Expr, SubqueryExpr, VectorSelector
from meterhall.promql.walk import descend
from meterhall.query.frame import BoolArray, Frame, IndexArray, Value, compact, merged
from meterhall.query.functions.invocation import Function, Invocation

_IDENTIFYING = ("instance", "job")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the second argument asks for: which metrics, and conditions on their labels."""

    names: tuple[Matcher, ...]
    labels: tuple[Matcher, ...]

    def is_info(self, labels: Labels) -> bool:
        """Whether a series is itself of an info metric."""
        name = label_value(labels, METRIC_NAME)
        return all(matcher.matches(name) for matcher in self.names)

    def optional(self) -> bool:
        """Whether a series without info series may stay."""
        return all(matcher.matches("") for matcher in self.labels)

    def takes(self, name: str) -> bool:
        """Whether this label of an info series is to be joined."""
        if name == METRIC_NAME or name in _IDENTIFYING:
            return False
        return not self.labels or any(matcher.name == name for matcher in self.labels)


def info(call: Invocation) -> Value:
    """The first argument's series with the labels of their info series."""
    base = call.vector(0)
    wanted = _wanted(call)
    found = call.operands.sample_times(_selector(call, wanted), call.steps)
    by_target: dict[tuple[str, ...], list[int]] = {}
    for row, labels in enumerate(found.labels):
        by_target.setdefault(_target(labels), []).append(row)
    labels_out: list[Labels] = []
    rows: list[int] = []
    masks: list[BoolArray] = []
    for row, labels in enumerate(base.labels):
        candidates = by_target.get(_target(labels), []) if any(_target(labels)) else []
        if wanted.is_info(labels):
            candidates = []
        for enriched, here in _enriched(labels, found, candidates, wanted):
            labels_out.append(enriched)
            rows.append(row)
            masks.append(here)
    if not rows:
        return Frame([], base.values[:0], None)
    chosen = np.array(rows, np.int64)
    present = base.mask()[chosen] & np.array(masks)
    return merged(compact(Frame(labels_out, base.values[chosen], present)))


def _wanted(call: Invocation) -> _Wanted:
    matchers: Sequence[Matcher] = ()
    if call.argument_count() > 1:
        selector = call.bare(1)
        assert isinstance(selector, VectorSelector), f"bug: {selector!r} as labels of info()"
        matchers = selector.matchers
    names = tuple(matcher for matcher in matchers if matcher.name == METRIC_NAME)
    labels = tuple(matcher for matcher in matchers if matcher.name != METRIC_NAME)
    if not names:
        names = (Matcher(MatchOp.EQUAL, METRIC_NAME, "target_info"),)
    elif not any(matcher.op in (MatchOp.EQUAL, MatchOp.REGEX) for matcher in names):
        names = (*names, Matcher(MatchOp.REGEX, METRIC_NAME, ".+_info"))
    return _Wanted(names, labels)


def _selector(call: Invocation, wanted: _Wanted) -> VectorSelector:
    """A selector of the info series that looks where the first argument looks."""
    offset_ms, at_ms, at_edge = _modifiers(call.node.args[0])
    return VectorSelector(
        call.node.span,
        "",
        (*wanted.names, *wanted.labels),
        offset_ms=offset_ms,
        at_ms=at_ms,
        at_edge=at_edge,
    )


def _modifiers(node: Expr) -> tuple[int, int | None, AtEdge | None]:
    """Offset and `@` on the way down to the first selector; the outermost `@` decides."""
    offset_ms = 0
    at_ms: int | None = None
    at_edge: AtEdge | None = None
    for part in descend(node):
        if isinstance(part, SubqueryExpr | VectorSelector):
            if at_ms is None and at_edge is None:
                at_ms, at_edge = part.at_ms, part.at_edge
            offset_ms += part.offset_ms
            if isinstance(part, VectorSelector):
                break
        elif isinstance(part, Call) and part.func == "info":
            break
    return offset_ms, at_ms, at_edge


def _target(labels: Labels) -> tuple[str, ...]:
    return tuple([label_value(labels, name) for name in _IDENTIFYING])


def _enriched(
    labels: Labels, found: Frame, candidates: Sequence[int], wanted: _Wanted
) -> Iterator[tuple[Labels, BoolArray]]:
    """The label sets that a series has over the steps, and at which steps."""
    steps = found.values.shape[1]
    if wanted.is_info(labels):
        yield labels, np.ones(steps, np.bool_)
        return
    winners = _winners(found, candidates)
    patterns, which = np.unique(winners, axis=1, return_inverse=True)
    for index in range(patterns.shape[1]):
        chosen = [found.labels[row] for row in patterns[:, index].tolist() if row >= 0]
        if chosen or wanted.optional():
            yield _joined(labels, chosen, wanted), which.reshape(-1) == index


def _winners(found: Frame, candidates: Sequence[int]) -> IndexArray:
    """For each info metric and step the row of its newest series, or -1; [metrics or 1, T]."""
    by_metric: dict[str, list[int]] = {}
    for row in candidates:
        by_metric.setdefault(label_value(found.labels[row], METRIC_NAME), []).append(row)
    steps = found.values.shape[1]
    winners = np.full((max(1, len(by_metric)), steps), -1, np.int64)
    for index, rows in enumerate(by_metric.values()):
        stamps = np.where(found.mask()[rows], found.values[rows], -np.inf)
        newest = stamps.max(axis=0)
        tied = (np.count_nonzero(stamps == newest, axis=0) > 1) & (newest > -np.inf)
        if tied.any():
            _refuse_tie(found, rows, stamps[:, int(tied.argmax())])
        winners[index] = np.where(newest > -np.inf, np.array(rows)[stamps.argmax(axis=0)], -1)
    return winners


def _refuse_tie(found: Frame, rows: Sequence[int], stamps: np.ndarray) -> None:
    newest = stamps.max()
    first, second = [
        found.labels[row] for row, stamp in zip(rows, stamps, strict=True) if stamp == newest
    ][:2]
    time_ms = round(float(newest) * 1000)
    raise QueryError(
        f"found duplicate series for info metric: existing {format_labels(first)} @ {time_ms}, "
        f"new {format_labels(second)} @ {time_ms}"
    )


def _joined(labels: Labels, chosen: Sequence[Labels], wanted: _Wanted) -> Labels:
    own = dict(labels)
    joined: dict[str, str] = {}
    for name, value in (pair for one in chosen for pair in one):
        if not wanted.takes(name) or own.get(name):
            continue
        if joined.setdefault(name, value) != value:
            raise QueryError(f"conflicting label: {name}")
    return make_labels({**joined, **own})


INFO: dict[str, Function] = {"info": info}
