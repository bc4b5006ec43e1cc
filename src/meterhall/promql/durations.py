"""Durations: Prometheus' duration texts, and arithmetic on them (`[5m + step()]`).

`parse_duration` follows model.ParseDuration of prometheus/common; `resolve` follows
promql/durations.go, which replaces duration expressions by plain durations before evaluation.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from meterhall.model.errors import BadInput, PromQLError
from meterhall.model.labels import quote
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    DurationNode,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)
from meterhall.promql.walk import descend, left_spine

_UNITS = (
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
)
_UNIT_RANK = {unit: rank for rank, (unit, _) in enumerate(_UNITS)}
_DIGITS = frozenset("0123456789")
# Go's ParseUint refuses numbers with more digits than this after leading zeros.
_COUNT_DIGITS_MAX = 19
_NANOSECONDS_MAX = (1 << 63) - 1
_SECONDS_MAX = _NANOSECONDS_MAX / 1e9


def parse_duration(text: str) -> int:
    """Milliseconds of `1h30m`; `0` needs no unit. Raises BadInput in Prometheus' words."""
    if text == "0":
        return 0
    if not text:
        raise BadInput("empty duration string")
    total, rank, at = 0, -1, 0
    while at < len(text):
        number_end = _run_end(text, at, digits=True)
        unit_end = _run_end(text, number_end, digits=False)
        unit = text[number_end:unit_end]
        count = text[at:number_end].lstrip("0")
        if number_end == at or not unit or len(count) > _COUNT_DIGITS_MAX:
            raise BadInput(f"not a valid duration string: {quote(text)}")
        if unit not in _UNIT_RANK:
            raise BadInput(f"unknown unit {quote(unit)} in duration {quote(text)}")
        if _UNIT_RANK[unit] <= rank:
            raise BadInput(f"not a valid duration string: {quote(text)}")
        rank = _UNIT_RANK[unit]
        total += int(count or "0") * _UNITS[rank][1]
        if total * 1_000_000 > _NANOSECONDS_MAX:
            raise BadInput("duration out of range")
        at = unit_end
    return total


def _run_end(text: str, at: int, *, digits: bool) -> int:
    while at < len(text) and (text[at] in _DIGITS) is digits:
        at += 1
    return at


def format_duration(duration_ms: int) -> str:
    """The shortest exact text, as model.Duration.String() gives it: years and weeks only if nothing is left."""
    if duration_ms == 0:
        return "0s"
    out, left = "", duration_ms
    for unit, size in _UNITS:
        if unit in ("y", "w") and left % size:
            continue
        if left >= size:
            out += f"{left // size}{unit}"
            left %= size
    return out


def literal_ms(literal: NumberLiteral) -> int:
    """A number of seconds as whole milliseconds: Go rounds to nanoseconds, the engine cuts."""
    return _seconds_to_ms(literal.value)


def _seconds_to_ms(seconds: float) -> int:
    nanoseconds = round(abs(seconds) * 1e9)
    ms = nanoseconds // 1_000_000
    return ms if seconds >= 0 else -ms


@dataclass(frozen=True, slots=True)
class _Window:
    """What `step()` and `range()` stand for, in seconds."""

    step_s: float
    range_s: float


def resolve(expr: Expr, start_ms: int, end_ms: int, step_ms: int) -> Expr:
    """The tree with every duration expression replaced by its milliseconds.

    An instant query has a step of 0. Raises PromQLError without position where a range or a step is not
    positive, or a duration does not fit.
    """
    if not _has_duration_expr(expr):
        return expr
    return _resolved(expr, _Window(step_ms / 1000, (end_ms - start_ms) / 1000))


def _has_duration_expr(expr: Expr) -> bool:
    for node in descend(expr):
        match node:
            case VectorSelector():
                found = node.offset_expr is not None
            case MatrixSelector():
                found = node.range_expr is not None
            case SubqueryExpr():
                exprs = (node.range_expr, node.step_expr, node.offset_expr)
                found = any(duration is not None for duration in exprs)
            case _:
                found = False
        if found:
            return True
    return False


def _resolved(expr: Expr, window: _Window) -> Expr:
    match expr:
        case NumberLiteral() | StringLiteral():
            return expr
        case VectorSelector():
            return _resolved_vector(expr, window)
        case MatrixSelector():
            range_ms = _milliseconds(expr.range_expr, expr.range_ms, window, positive=True)
            vector = _resolved_vector(expr.vector, window)
            return replace(expr, vector=vector, range_ms=range_ms, range_expr=None)
        case SubqueryExpr():
            return replace(
                expr,
                expr=_resolved(expr.expr, window),
                offset_ms=_milliseconds(expr.offset_expr, expr.offset_ms, window, positive=False),
                step_ms=_milliseconds(expr.step_expr, expr.step_ms, window, positive=True),
                range_ms=_milliseconds(expr.range_expr, expr.range_ms, window, positive=True),
                offset_expr=None,
                step_expr=None,
                range_expr=None,
            )
        case ParenExpr() | UnaryExpr():
            return replace(expr, expr=_resolved(expr.expr, window))
        case BinaryExpr():
            innermost, links = left_spine(expr)
            tree = _resolved(innermost, window)
            for link in links:
                tree = replace(link, lhs=tree, rhs=_resolved(link.rhs, window))
            return tree
        case AggregateExpr():
            param = None if expr.param is None else _resolved(expr.param, window)
            return replace(expr, expr=_resolved(expr.expr, window), param=param)
        case Call():
            return replace(expr, args=tuple(_resolved(arg, window) for arg in expr.args))


def _resolved_vector(selector: VectorSelector, window: _Window) -> VectorSelector:
    offset_ms = _milliseconds(selector.offset_expr, selector.offset_ms, window, positive=False)
    return replace(selector, offset_ms=offset_ms, offset_expr=None)


def _milliseconds(
    node: DurationNode | None, plain_ms: int, window: _Window, *, positive: bool
) -> int:
    if node is None:
        return plain_ms
    seconds = _seconds(node, window)
    if positive and not seconds > 0:
        raise _fault(node, "duration must be greater than 0")
    if not abs(seconds) <= _SECONDS_MAX:
        raise _fault(node, "duration is out of range")
    return int(seconds * 1000)


def _seconds(node: DurationNode, window: _Window) -> float:
    if isinstance(node, NumberLiteral):
        return node.value
    if node.op == "step":
        return window.step_s
    if node.op == "range":
        return window.range_s
    left = 0.0 if node.lhs is None else _seconds(node.lhs, window)
    assert node.rhs is not None, "only step and range have no operand"
    right = _seconds(node.rhs, window)
    if right == 0 and node.op in ("/", "%"):
        raise _fault(node, "division by zero" if node.op == "/" else "modulo by zero")
    return _OPERATIONS[node.op](left, right)


def _power(left: float, right: float) -> float:
    """Go's math.Pow: no exceptions, NaN where the result is not real, infinity on overflow."""
    try:
        return math.pow(left, right)
    except ValueError:
        return math.inf if left == 0 else math.nan
    except OverflowError:
        return -math.inf if left < 0 and right % 2 == 1 else math.inf


def _modulo(left: float, right: float) -> float:
    return math.fmod(left, right) if math.isfinite(left) else math.nan


def _smaller(left: float, right: float) -> float:
    return math.nan if math.isnan(left + right) else min(left, right)


def _larger(left: float, right: float) -> float:
    return math.nan if math.isnan(left + right) else max(left, right)


_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": _modulo,
    "^": _power,
    "min": _smaller,
    "max": _larger,
}


def _fault(node: DurationNode, reason: str) -> PromQLError:
    """Prometheus prints byte offsets here, not line and column."""
    return PromQLError(f"{node.span.start}:{node.span.end}: {reason}")
