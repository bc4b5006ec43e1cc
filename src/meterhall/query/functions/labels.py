"""label_replace, label_join, absent, and conversions between vectors and scalars."""

from collections.abc import Callable

import numpy as np

from meterhall.model.errors import BadInput, QueryError
from meterhall.model.labels import METRIC_NAME, Labels, label_value, make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.regex import Regex
from meterhall.promql.nodes import MatrixSelector, VectorSelector
from meterhall.query.frame import BoolArray, Frame, Value, merged
from meterhall.query.functions.invocation import Function, Invocation, over_windows


def is_label_name(name: str) -> bool:
    """Whether a label may have this name: any text that is valid UTF-8, but not the empty one."""
    if not name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def label_replace(call: Invocation) -> Value:
    """A label set from a template where a pattern matches another label's whole value."""
    target, template, source = call.text(1), call.text(2), call.text(3)
    try:
        pattern = Regex(call.text(4))
    except BadInput:
        raise QueryError(f"invalid regular expression in label_replace(): {call.text(4)}") from None
    if not is_label_name(target):
        raise QueryError(f"invalid destination label name in label_replace(): {target}")
    seen: dict[str, str | None] = {}

    def replaced(labels: Labels) -> Labels:
        value = label_value(labels, source)
        if value not in seen:
            seen[value] = pattern.expand(value, template)
        new = seen[value]
        return labels if new is None else with_label(labels, target, new)

    return _relabeled(call.vector(0), replaced)


def label_join(call: Invocation) -> Value:
    """A label set to the joined values of others."""
    target, separator = call.text(1), call.text(2)
    sources = [call.text(index) for index in range(3, call.argument_count())]
    for source in sources:
        if not is_label_name(source):
            raise QueryError(f"invalid source label name in label_join(): {source}")
    if not is_label_name(target):
        raise QueryError(f"invalid destination label name in label_join(): {target}")

    def joined(labels: Labels) -> Labels:
        known = dict(labels)
        return with_label(
            labels, target, separator.join([known.get(source, "") for source in sources])
        )

    return _relabeled(call.vector(0), joined)


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """`labels` with one label set; an empty value removes it."""
    return make_labels([*(pair for pair in labels if pair[0] != name), (name, value)])


def _relabeled(frame: Frame, rule: Callable[[Labels], Labels]) -> Frame:
    return merged(Frame([rule(labels) for labels in frame.labels], frame.values, frame.present))


def absent(call: Invocation) -> Value:
    """1 at steps where the vector is empty."""
    frame = call.vector(0)
    node = call.bare(0)
    matchers = node.matchers if isinstance(node, VectorSelector) else ()
    return _where_missing(_any_at(frame), absent_labels(matchers))


def absent_over_time(call: Invocation) -> Value:
    """1 at steps where every window is empty."""
    vector = call.range_vector(0)
    frame = over_windows(vector, lambda windows: (np.ones(windows.lo.shape), windows.count > 0))
    node = call.bare(0)
    matchers = node.vector.matchers if isinstance(node, MatrixSelector) else ()
    return _where_missing(_any_at(frame), absent_labels(matchers))


def _any_at(frame: Frame) -> BoolArray:
    """At which steps the frame has a point."""
    return np.asarray(frame.mask().any(axis=0))


def absent_labels(matchers: tuple[Matcher, ...]) -> Labels:
    """The labels that a selector's equality matchers promise; a name matched twice promises nothing."""
    promised: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in seen:
            promised[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            promised.pop(matcher.name, None)
    return make_labels(promised)


def _where_missing(found: BoolArray, labels: Labels) -> Frame:
    ones = np.ones((1, len(found)))
    if found.all():
        return Frame([], ones[:0], None)
    return Frame([labels], ones, None if not found.any() else ~found[None, :])


def scalar(call: Invocation) -> Value:
    """The value of a vector of one element, NaN of any other."""
    frame = call.vector(0)
    if not frame.labels:
        return np.full(call.steps.count, np.nan)
    mask = frame.mask()
    only = frame.values[mask.argmax(axis=0), np.arange(call.steps.count)]
    return np.where(np.count_nonzero(mask, axis=0) == 1, only, np.nan)


LABELS: dict[str, Function] = {
    "label_replace": label_replace,
    "label_join": label_join,
    "absent": absent,
    "absent_over_time": absent_over_time,
    "scalar": scalar,
}
