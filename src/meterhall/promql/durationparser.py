"""Durations inside `[…]` and after `offset`: numbers, durations and arithmetic on them.

The rules duration_expr, positive_duration_expr and offset_duration_expr of generated_parser.y. After `offset`
an operator behind a plain duration, `step()` or `-(…)` belongs to the outer expression
(`x offset 5m * 2` is `(x offset 5m) * 2`); behind a bare parenthesis it belongs to the duration.
"""

from dataclasses import replace

from meterhall.model.errors import BadInput
from meterhall.promql.durations import parse_duration
from meterhall.promql.nodes import DurationExpr, DurationNode, NumberLiteral, Span
from meterhall.promql.numbers import parse_number
from meterhall.promql.stream import TokenStream
from meterhall.promql.tokens import DURATION, NUMBER, STRING, Token

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_UNARY_OPERAND = 3
_SECONDS_MAX = (1 << 63) / 1e9
_EXTREMES = {"min": "min", "min_of": "min", "max": "max", "max_of": "max"}
# A tree of durations is walked by recursion, and nobody needs more than this.
OPERATORS_MAX = 100
OPERAND_NAMES = "number, duration, step(), or range()"


def number_literal(stream: TokenStream) -> NumberLiteral:
    """Takes a number or duration token, which must be next."""
    token = stream.next()
    span = Span(token.start, token.end)
    if token.kind == NUMBER:
        value, fault = parse_number(token.text)
        if fault:
            raise stream.error(token.start, f"error parsing number: {fault}")
        return NumberLiteral(span, value)
    try:
        duration_ms = parse_duration(token.text)
    except BadInput as error:
        raise stream.error(token.start, str(error)) from None
    return NumberLiteral(span, duration_ms / 1000, duration=True)


def fold_signs(signs: list[Token], operand: object) -> list[Token]:
    """The signs before an operand; before a literal, one or two that mean and span the same."""
    if len(signs) <= 2 or not isinstance(operand, NumberLiteral):
        return signs
    negative = sum(sign.kind == "-" for sign in signs) % 2 == 1
    return [replace(signs[0], kind="-" if negative else "+", text="")]


class DurationParser:
    """Reads durations from a stream. `context` and `expected` word its syntax errors."""

    def __init__(self, stream: TokenStream, context: str, expected: str) -> None:
        self._stream = stream
        self._context = context
        self._expected = expected
        self._operators = 0

    def positive(self) -> DurationNode:
        """A duration between brackets: a literal must be above zero."""
        node = self._expr(1)
        if isinstance(node, NumberLiteral) and not node.value > 0:
            raise self._stream.error(node.span.start, "duration must be greater than 0")
        return node

    def offset(self) -> DurationNode:
        """A duration after `offset`."""
        stream = self._stream
        sign = stream.next() if stream.peek().kind in ("+", "-") else None
        token = stream.peek()
        if sign is not None and token.kind in ("+", "-"):
            stream.put_back(sign)
            return self._expr(1)
        node = self._expr(1) if sign is None and token.kind == "(" else self._primary(sign)
        return node if sign is None else self._signed(sign, node)

    def _expr(self, lowest: int) -> DurationNode:
        stream = self._stream
        stream.enter()
        left = self._unary()
        while (rank := _PRECEDENCE.get(stream.peek().kind, 0)) >= lowest:
            operator = stream.next()
            # Power binds to the right, all others to the left.
            right = self._expr(rank if operator.kind == "^" else rank + 1)
            left = self._binary(operator, left, right)
        stream.leave()
        return left

    def _binary(self, operator: Token, left: DurationNode, right: DurationNode) -> DurationExpr:
        self._operators += 1
        if self._operators > OPERATORS_MAX:
            reason = f"duration has more than {OPERATORS_MAX} operators"
            raise self._stream.error(operator.start, reason)
        if isinstance(right, NumberLiteral) and right.value == 0 and operator.kind in "/%":
            fault = "division by zero" if operator.kind == "/" else "modulo by zero"
            raise self._stream.error(operator.start, fault)
        return DurationExpr(Span(left.span.start, right.span.end), operator.kind, left, right)

    def _unary(self) -> DurationNode:
        stream = self._stream
        signs = []
        while stream.peek().kind in ("+", "-"):
            signs.append(stream.next())
        node = self._expr(_UNARY_OPERAND) if signs else self._primary()
        for sign in reversed(fold_signs(signs, node)):
            node = self._signed(sign, node)
        return node

    def _signed(self, sign: Token, node: DurationNode) -> DurationNode:
        span = Span(sign.start, node.span.end)
        if isinstance(node, NumberLiteral):
            return replace(node, span=span, value=-node.value if sign.kind == "-" else node.value)
        return DurationExpr(span, "-", None, node) if sign.kind == "-" else node

    def _primary(self, sign: Token | None = None) -> DurationNode:
        stream = self._stream
        token = stream.peek()
        if token.kind in (NUMBER, DURATION):
            literal = number_literal(stream)
            if abs(literal.value) > _SECONDS_MAX:
                raise stream.error((sign or token).start, "duration out of range")
            return literal
        if token.kind == "(":
            stream.next()
            inner = self._expr(1)
            self._expect(")")
            # As in Go, the parentheses are no part of the span.
            return replace(inner, wrapped=True) if isinstance(inner, DurationExpr) else inner
        if token.kind in ("step", "range"):
            stream.next()
            self._expect("(")
            return DurationExpr(Span(token.start, self._expect(")").end), token.kind, None, None)
        extreme = _EXTREMES.get(token.text.lower()) if token.kind != STRING else None
        if extreme is None:
            raise stream.unexpected(self._context, self._expected)
        return self._extreme(extreme)

    def _extreme(self, op: str) -> DurationExpr:
        start = self._stream.next().start
        self._expect("(")
        left = self._expr(1)
        self._expect(",")
        right = self._expr(1)
        return DurationExpr(Span(start, self._expect(")").end), op, left, right)

    def _expect(self, kind: str) -> Token:
        if self._stream.peek().kind != kind:
            raise self._stream.unexpected(self._context, self._expected)
        return self._stream.next()
