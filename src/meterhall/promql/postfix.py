"""What may follow an expression: `[range]`, `[range:step]`, `offset`, `@`, `anchored`, `smoothed`.

The rules matrix_selector, subquery_expr, offset_expr and step_invariant_expr of generated_parser.y, and
addOffset and setTimestamp of parse.go.
"""

import math
from dataclasses import replace

from meterhall.promql.durationparser import OPERAND_NAMES, DurationParser, number_literal
from meterhall.promql.durations import literal_ms
from meterhall.promql.nodes import (
    AtEdge,
    DurationExpr,
    DurationNode,
    Expr,
    MatrixSelector,
    Span,
    SubqueryExpr,
    VectorSelector,
)
from meterhall.promql.signatures import EXTENDED_RANGES
from meterhall.promql.stream import TokenStream
from meterhall.promql.strings import format_fixed
from meterhall.promql.tokens import DURATION, NUMBER, Token

POSTFIXES = frozenset(("[", "offset", "@", "anchored", "smoothed"))
_AT_LIMIT = float(1 << 63)
_ONLY_VECTORS = "ranges only allowed for vector selectors"
_PRECEDED = "must be preceded by an instant vector selector or range vector selector or a subquery"


def parse_postfix(stream: TokenStream, expr: Expr, features: frozenset[str]) -> Expr:
    """The expression with the one modifier that is next in the stream."""
    token = stream.next()
    match token.kind:
        case "[":
            return _brackets(stream, expr, token)
        case "offset":
            return _offset(stream, expr)
        case "@":
            return _at(stream, expr)
        case _:
            return _extended(stream, expr, token.kind, features)


def _brackets(stream: TokenStream, expr: Expr, opening: Token) -> Expr:
    first = DurationParser(stream, "subquery or range selector", OPERAND_NAMES).positive()
    if closing := stream.accept("]"):
        return _matrix(stream, expr, first, opening, closing)
    if stream.peek().kind != ":":
        raise stream.unexpected("subquery or range", '":" or "]"')
    stream.next()
    if closing := stream.accept("]"):
        return _subquery(expr, first, None, closing)
    expected = f'{OPERAND_NAMES} or "]"'
    step = DurationParser(stream, "subquery selector", expected).positive()
    if not (closing := stream.accept("]")):
        raise stream.unexpected("subquery selector", '"]"')
    return _subquery(expr, first, step, closing)


def _matrix(
    stream: TokenStream, expr: Expr, span_of_time: DurationNode, opening: Token, closing: Token
) -> MatrixSelector:
    if not isinstance(expr, VectorSelector):
        raise stream.error(opening.start, _ONLY_VECTORS)
    if expr.offset_ms:
        raise stream.error(opening.start, "no offset modifiers allowed before range")
    if _is_pinned(expr):
        raise stream.error(opening.start, "no @ modifiers allowed before range")
    range_ms, range_expr = _split(span_of_time)
    span = Span(expr.span.start, closing.end)
    return MatrixSelector(span, expr, range_ms, range_expr)


def _subquery(
    expr: Expr, span_of_time: DurationNode, step: DurationNode | None, closing: Token
) -> SubqueryExpr:
    range_ms, range_expr = _split(span_of_time)
    step_ms, step_expr = (0, None) if step is None else _split(step)
    span = Span(expr.span.start, closing.end)
    return SubqueryExpr(span, expr, range_ms, step_ms, range_expr, step_expr)


def _split(node: DurationNode) -> tuple[int, DurationExpr | None]:
    return (0, node) if isinstance(node, DurationExpr) else (literal_ms(node), None)


def _offset(stream: TokenStream, expr: Expr) -> Expr:
    duration = DurationParser(stream, "offset", OPERAND_NAMES).offset()
    target = _target(stream, expr, f"offset modifier {_PRECEDED}")
    if target.offset_ms or target.offset_expr is not None:
        raise stream.error(expr.span.start, "offset may not be set multiple times")
    offset_ms, offset_expr = _split(duration)
    target = replace(target, offset_ms=offset_ms, offset_expr=offset_expr)
    return _retarget(expr, target, duration.span.end)


def _at(stream: TokenStream, expr: Expr) -> Expr:
    token = stream.peek()
    if token.kind in ("start", "end"):
        stream.next()
        if not stream.accept("("):
            raise stream.unexpected("@", "timestamp")
        closing = stream.accept(")")
        if closing is None:
            raise stream.unexpected("@", "timestamp")
        target = _unpinned(stream, expr)
        return _retarget(expr, replace(target, at_edge=AtEdge(token.kind)), closing.end)
    sign = stream.next() if token.kind in ("+", "-") else None
    if stream.peek().kind not in (NUMBER, DURATION):
        raise stream.unexpected("@", "timestamp")
    literal = number_literal(stream)
    seconds = -literal.value if sign and sign.kind == "-" else literal.value
    if not -_AT_LIMIT < seconds < _AT_LIMIT:
        reason = f"timestamp out of bounds for @ modifier: {format_fixed(seconds)}"
        raise stream.error(expr.span.start, reason)
    target = _unpinned(stream, expr)
    return _retarget(expr, replace(target, at_ms=_round_ms(seconds)), literal.span.end)


def _unpinned(stream: TokenStream, expr: Expr) -> VectorSelector | SubqueryExpr:
    target = _target(stream, expr, f"@ modifier {_PRECEDED}")
    if _is_pinned(target):
        raise stream.error(expr.span.start, "@ <timestamp> may not be set multiple times")
    return target


def _is_pinned(target: VectorSelector | SubqueryExpr) -> bool:
    return target.at_ms is not None or target.at_edge is not None


def _target(stream: TokenStream, expr: Expr, refusal: str) -> VectorSelector | SubqueryExpr:
    """The node that carries the modifiers of an expression."""
    if isinstance(expr, MatrixSelector):
        return expr.vector
    if isinstance(expr, (VectorSelector, SubqueryExpr)):
        return expr
    raise stream.error(expr.span.start, refusal)


def _retarget(expr: Expr, target: VectorSelector | SubqueryExpr, end: int) -> Expr:
    """The expression with its changed target, reaching to `end`.

    Inside a range selector the vector selector keeps its own span.
    """
    span = Span(expr.span.start, end)
    if isinstance(expr, MatrixSelector):
        assert isinstance(target, VectorSelector), "a range selector holds a vector selector"
        return replace(expr, span=span, vector=target)
    return replace(target, span=span)


def _extended(stream: TokenStream, expr: Expr, word: str, features: frozenset[str]) -> Expr:
    start = expr.span.start
    if EXTENDED_RANGES not in features:
        raise stream.error(start, f"{word} modifier is experimental and not enabled")
    if isinstance(expr, SubqueryExpr):
        raise stream.error(start, f"{word} modifier is not supported for subqueries")
    if not isinstance(expr, (VectorSelector, MatrixSelector)):
        raise stream.error(start, f"{word} modifier not implemented")
    target = expr.vector if isinstance(expr, MatrixSelector) else expr
    if target.anchored or target.smoothed:
        raise stream.error(start, "anchored and smoothed modifiers cannot be used together")
    target = replace(target, anchored=word == "anchored", smoothed=word == "smoothed")
    return _retarget(expr, target, expr.span.end)


def _round_ms(seconds: float) -> int:
    """Go's timestamp.FromFloatSeconds: math.Round, halves away from zero, to int64."""
    scaled = seconds * 1000
    whole = math.floor(abs(scaled) + 0.5)
    return max(-(1 << 63), min(whole if scaled >= 0 else -whole, (1 << 63) - 1))
