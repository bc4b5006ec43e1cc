"""Expressions as text: in one line as Go's String() gives them, and over several as Pretty() does.

Follows promql/parser/printer.go and prettier.go. A chain of binary operators is walked along its left
side in a loop, since it may be as long as `parser.CHAIN_MAX`.
"""

import math
from collections.abc import Sequence

from meterhall.model.labels import METRIC_NAME, quote
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.promql.durations import format_duration
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Cardinality,
    DurationExpr,
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
from meterhall.promql.position import utf8
from meterhall.promql.strings import format_float, is_legacy_name
from meterhall.promql.walk import left_spine

LINE_BYTES_MAX = 100
_INDENT = "  "
# Below this level nothing is split any more: the indentation alone would grow with the square of the text.
_LEVEL_MAX = 250
_EXTREMES = {"min": "min_of", "max": "max_of"}


def expr_string(expr: Expr) -> str:
    """The expression in one line, as Go's String() gives it."""
    return _Printer().string(expr)


def format_expr(expr: Expr) -> str:
    """The expression as `format_query` answers it: split where a part is over 100 bytes long."""
    printer = _Printer()
    printer.string(expr)
    return printer.pretty(expr, 0)


def matcher_string(matcher: Matcher) -> str:
    """`name="value"`, the name quoted where it is not a classic one."""
    name = matcher.name if is_legacy_name(matcher.name) else quote(matcher.name)
    return f"{name}{matcher.op}{quote(matcher.value)}"


class _Printer:
    """Remembers how long each node's one-line text is, so that splitting needs one pass."""

    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}

    def string(self, expr: Expr) -> str:
        text = self._string(expr)
        self._bytes[id(expr)] = len(text) if text.isascii() else len(utf8(text))
        return text

    def _string(self, expr: Expr) -> str:
        match expr:
            case NumberLiteral() | StringLiteral() | VectorSelector() | MatrixSelector():
                return _leaf(expr)
            case ParenExpr():
                return f"({self.string(expr.expr)})"
            case UnaryExpr():
                return expr.op + self.string(expr.expr)
            case SubqueryExpr():
                return self.string(expr.expr) + _subquery_range(expr)
            case AggregateExpr():
                param = "" if expr.param is None else self.string(expr.param) + ", "
                return f"{_aggregation(expr)}({param}{self.string(expr.expr)})"
            case Call():
                return f"{expr.func}({', '.join(self.string(arg) for arg in expr.args)})"
            case BinaryExpr():
                return self._binary(expr)

    def _binary(self, expr: BinaryExpr) -> str:
        innermost, links = left_spine(expr)
        parts = [self.string(innermost)]
        length = self._bytes[id(innermost)]
        for link in links:
            parts.append(f" {_operator(link)} {self.string(link.rhs)}")
            length += len(utf8(parts[-1]))
            self._bytes[id(link)] = length
        return "".join(parts)

    def pretty(self, expr: Expr, level: int) -> str:
        if self._fits(expr, level):
            # A subquery that fits is the one node that Go does not indent.
            text = _Printer().string(expr)
            return text if isinstance(expr, SubqueryExpr) else _INDENT * level + text
        return self._split(expr, level)

    def _fits(self, expr: Expr, level: int) -> bool:
        return self._bytes[id(expr)] <= LINE_BYTES_MAX or level > _LEVEL_MAX

    def _split(self, expr: Expr, level: int) -> str:
        margin = _INDENT * level
        match expr:
            case ParenExpr():
                return f"{margin}(\n{self.pretty(expr.expr, level + 1)}\n{margin})"
            case UnaryExpr():
                return margin + expr.op + self.pretty(expr.expr, level).strip()
            case SubqueryExpr():
                return self.pretty(expr.expr, level) + _subquery_range(expr)
            case AggregateExpr():
                args = (expr.expr,) if expr.param is None else (expr.param, expr.expr)
                return self._arguments(_aggregation(expr), args, level)
            case Call() if expr.args:
                return self._arguments(expr.func, expr.args, level)
            case BinaryExpr():
                return self._split_binary(expr, level)
            case _:
                return margin + self.string(expr)

    def _arguments(self, head: str, args: Sequence[Expr], level: int) -> str:
        margin = _INDENT * level
        lines = ",\n".join(self.pretty(arg, level + 1) for arg in args)
        return f"{margin}{head}(\n{lines}\n{margin})"

    def _split_binary(self, expr: BinaryExpr, level: int) -> str:
        behind: list[str] = []
        node: Expr = expr
        while isinstance(node, BinaryExpr) and not self._fits(node, level):
            rhs = self.pretty(node.rhs, level + 1)
            behind.append(f"\n{_INDENT * level}{_operator(node)}\n{rhs}")
            node, level = node.lhs, level + 1
        return self.pretty(node, level) + "".join(reversed(behind))


def _leaf(expr: NumberLiteral | StringLiteral | VectorSelector | MatrixSelector) -> str:
    match expr:
        case NumberLiteral():
            return _number(expr)
        case StringLiteral():
            return quote(expr.value)
        case VectorSelector():
            return _selector(expr) + _modifiers(expr)
        case MatrixSelector():
            return _selector(expr.vector) + _range(expr) + _modifiers(expr.vector)


def _number(literal: NumberLiteral) -> str:
    if not literal.duration:
        return format_float(literal.value)
    sign = "-" if literal.value < 0 else ""
    return sign + format_duration(int(abs(literal.value) * 1e9) // 1_000_000)


def _selector(selector: VectorSelector) -> str:
    shown = sorted(
        matcher_string(matcher)
        for matcher in selector.matchers
        if not _is_name(matcher, selector.name)
    )
    # Go prints nothing for `{}`, which only `info` takes, and so a text that does not parse.
    bare = selector.name and not shown
    return selector.name if bare else f"{selector.name}{{{','.join(shown)}}}"


def _is_name(matcher: Matcher, name: str) -> bool:
    return (
        bool(name)
        and matcher.name == METRIC_NAME
        and matcher.op is MatchOp.EQUAL
        and matcher.value == name
    )


def _modifiers(target: VectorSelector | SubqueryExpr) -> str:
    at = ""
    if target.at_ms is not None:
        sign, ms = ("-", -target.at_ms) if target.at_ms < 0 else ("", target.at_ms)
        at = f" @ {sign}{ms // 1000}.{ms % 1000:03d}"
    elif target.at_edge is not None:
        at = f" @ {target.at_edge}()"
    offset = ""
    if target.offset_expr is not None:
        offset = f" offset {_duration(target.offset_expr)}"
    elif target.offset_ms:
        sign = "-" if target.offset_ms < 0 else ""
        offset = f" offset {sign}{format_duration(abs(target.offset_ms))}"
    extended = ""
    if isinstance(target, VectorSelector):
        extended = " anchored" * target.anchored + " smoothed" * target.smoothed
    return at + offset + extended


def _range(expr: MatrixSelector) -> str:
    return f"[{_plain_or(expr.range_expr, expr.range_ms)}]"


def _subquery_range(expr: SubqueryExpr) -> str:
    has_step = expr.step_expr is not None or expr.step_ms
    step = _plain_or(expr.step_expr, expr.step_ms) if has_step else ""
    return f"[{_plain_or(expr.range_expr, expr.range_ms)}:{step}]" + _modifiers(expr)


def _plain_or(node: DurationNode | None, plain_ms: int) -> str:
    return format_duration(plain_ms) if node is None else _duration(node)


def _duration(node: DurationNode) -> str:
    if isinstance(node, NumberLiteral):
        return _number(node)
    text = _duration_expr(node)
    return f"({text})" if node.wrapped else text


def _duration_expr(node: DurationExpr) -> str:
    if node.op in ("step", "range"):
        return f"{node.op}()"
    assert node.rhs is not None, "only step and range have no operand"
    if node.op in _EXTREMES:
        assert node.lhs is not None, "min_of and max_of have two operands"
        return f"{_EXTREMES[node.op]}({_duration(node.lhs)}, {_duration(node.rhs)})"
    if node.lhs is None:
        return f"{node.op}{_duration(node.rhs)}"
    return f"{_duration(node.lhs)} {node.op} {_duration(node.rhs)}"


def _aggregation(expr: AggregateExpr) -> str:
    if expr.without:
        return f"{expr.op} without ({_names(expr.grouping)}) "
    return f"{expr.op} by ({_names(expr.grouping)}) " if expr.grouping else expr.op


def _names(names: Sequence[str]) -> str:
    # Unlike a matcher's, a name in a list may hold colons without quotes.
    return ", ".join(
        name if is_legacy_name(name.replace(":", "_")) else quote(name) for name in names
    )


def _operator(expr: BinaryExpr) -> str:
    text = expr.op + " bool" * expr.return_bool
    matching = expr.matching
    if matching is None:
        return text
    if matching.labels or matching.on:
        text += f" {'on' if matching.on else 'ignoring'} ({_names(matching.labels)})"
        if matching.card in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY):
            side = "left" if matching.card is Cardinality.MANY_TO_ONE else "right"
            text += f" group_{side} ({_names(matching.include)})"
    return text + _fills(matching.fill_lhs, matching.fill_rhs)


def _fills(lhs: float | None, rhs: float | None) -> str:
    if lhs is not None and rhs is not None and (lhs == rhs or math.isnan(lhs + rhs)):
        return f" fill ({format_float(lhs)})"
    left = "" if lhs is None else f" fill_left ({format_float(lhs)})"
    right = "" if rhs is None else f" fill_right ({format_float(rhs)})"
    return left + right
