"""The parser of PromQL: a Pratt parser over `lexer`, giving `nodes`.

It follows the grammar of Prometheus 3.14 (promql/parser/generated_parser.y) and raises at the first fault with
Prometheus' text and position. The yacc grammar words a fault after the innermost rule that has an `error`
alternative; the stream's context is that rule while an aggregation is open. Tokens are pulled lazily, as yacc
does: what is wrong with a finished phrase is told before what is wrong with the token behind it.

Nesting and height of the tree are bounded, so that everybody may walk it by recursion.
"""

from dataclasses import dataclass

from meterhall.model.errors import PromQLError
from meterhall.model.matcher import Matcher
from meterhall.promql import typecheck
from meterhall.promql.braces import parse_selector_body
from meterhall.promql.durationparser import fold_signs, number_literal
from meterhall.promql.grouping import parse_labels, parse_matching
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    NumberLiteral,
    ParenExpr,
    Span,
    StringLiteral,
    UnaryExpr,
    VectorSelector,
)
from meterhall.promql.position import parse_error, utf8
from meterhall.promql.postfix import POSTFIXES, parse_postfix
from meterhall.promql.signatures import EXPERIMENTAL_FUNCTIONS, FUNCTIONS
from meterhall.promql.stream import TokenStream
from meterhall.promql.strings import quote_text
from meterhall.promql.tokens import (
    AGGREGATORS,
    AGGREGATORS_WITH_PARAM,
    DURATION,
    EOF,
    EXPERIMENTAL_AGGREGATORS,
    EXPR_STARTS,
    IDENTIFIER,
    METRIC_NAMES,
    NUMBER,
    PREPROCESSORS,
    STRING,
    TRIM_OPERATORS,
    Token,
)

# Evaluation, printing and checking use up to three Python frames for each level of the tree, and CPython stops
# at a thousand. A chain `a or b or c` leans to the left and is walked in loops (`walk.left_spine`): only its
# highest operand counts here.
HEIGHT_MAX = 200
# How many binary operators one expression may have.
CHAIN_MAX = 10_000

_PRECEDENCE = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(("==", "!=", "<=", "<", ">=", ">", "</", ">/"), 3),
    "+": 4,
    "-": 4,
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:")
_POWER = _PRECEDENCE["^"]


def parse_expr(text: str, features: frozenset[str] = frozenset()) -> Expr:
    """The checked tree of an expression.

    `features` names what is experimental and allowed (`signatures.ALL_FEATURES`). Raises PromQLError
    with Prometheus' text. Takes linear time; limits are NESTING_MAX and HEIGHT_MAX.
    """
    stream = TokenStream(text)
    if stream.peek().kind == EOF:
        raise parse_error(text, 0, "no expression found in input")
    expr = _Parser(stream, features).expr(1).expr
    if stream.peek().kind != EOF:
        raise stream.unexpected()
    return typecheck.check(expr, text)


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a bare vector selector, as `match[]` takes them.

    No check that one of them rejects the empty string: callers word that refusal themselves. Raises PromQLError.
    """
    stream = TokenStream(text)
    token = stream.peek()
    if token.kind not in METRIC_NAMES and token.kind != "{":
        raise stream.unexpected()
    selector = parse_selector_body(stream)
    if stream.peek().kind != EOF:
        raise stream.unexpected()
    return selector.matchers


def leading_selector(text: str) -> tuple[VectorSelector, int]:
    """The selector that a text begins with and the character index where it ends; anything may follow.

    A brace belongs to it only if it follows the name at once. Raises PromQLError.
    """
    name_end = next((at for at, char in enumerate(text) if char not in _NAME_CHARS), len(text))
    end = name_end
    if text.startswith("{", name_end):
        selector = parse_selector_body(TokenStream(text))
        end = len(utf8(text)[: selector.span.end].decode("utf-8", "surrogatepass"))
        return selector, end
    stream = TokenStream(text[:end])
    selector = parse_selector_body(stream)
    if stream.peek().kind != EOF:
        raise stream.unexpected()
    return selector, end


@dataclass(frozen=True, slots=True)
class _Built:
    """A node and the height of the tree under it."""

    expr: Expr
    height: int


class _Parser:
    def __init__(self, stream: TokenStream, features: frozenset[str]) -> None:
        self._stream = stream
        self._features = features
        self._operators = 0

    def expr(self, lowest: int) -> _Built:
        """An expression whose operators bind at least as strongly as `lowest`."""
        stream = self._stream
        stream.enter()
        left = self._unary()
        while (rank := _PRECEDENCE.get(stream.peek().kind, 0)) >= lowest:
            operator = stream.next()
            if operator.kind in TRIM_OPERATORS:
                # They cut native histograms, which no store of ours holds yet.
                reason = (
                    f"operator {operator.kind} needs native histograms, which are not supported"
                )
                raise stream.error(operator.start, reason)
            return_bool, matching = parse_matching(stream, self._features)
            # Power binds to the right, all others to the left.
            right = self.expr(rank if operator.kind == "^" else rank + 1)
            span = Span(left.expr.span.start, right.expr.span.end)
            node = BinaryExpr(span, operator.kind, left.expr, right.expr, matching, return_bool)
            self._count_operator(operator)
            # The left side's height goes up where it is no link of this chain.
            below = left.height - isinstance(left.expr, BinaryExpr)
            left = self._built(node, max(below, right.height))
        stream.leave()
        return left

    def _count_operator(self, operator: Token) -> None:
        self._operators += 1
        if self._operators > CHAIN_MAX:
            reason = f"expression has more than {CHAIN_MAX} binary operators"
            raise self._stream.error(operator.start, reason)

    def _built(self, node: Expr, height: int) -> _Built:
        if height >= HEIGHT_MAX:
            reason = f"expression is nested too deeply, more than {HEIGHT_MAX} levels"
            raise self._stream.error(node.span.start, reason)
        return _Built(node, height + 1)

    def _unary(self) -> _Built:
        stream = self._stream
        signs = []
        while stream.peek().kind in ("+", "-"):
            signs.append(stream.next())
        built = self.expr(_POWER) if signs else self._modified()
        for sign in reversed(fold_signs(signs, built.expr)):
            built = self._signed(sign, built)
        return built

    def _signed(self, sign: Token, built: _Built) -> _Built:
        inner = built.expr
        span = Span(sign.start, inner.span.end)
        if isinstance(inner, NumberLiteral):
            value = -inner.value if sign.kind == "-" else inner.value
            return _Built(NumberLiteral(span, value, inner.duration), 1)
        return self._built(UnaryExpr(span, sign.kind, inner), built.height)

    def _modified(self) -> _Built:
        built = self._primary()
        while self._stream.peek().kind in POSTFIXES:
            node = parse_postfix(self._stream, built.expr, self._features)
            built = self._built(node, built.height)
        return built

    def _primary(self) -> _Built:
        stream = self._stream
        token = stream.peek()
        if token.kind in (NUMBER, DURATION):
            return _Built(number_literal(stream), 1)
        if token.kind == STRING:
            stream.next()
            return _Built(StringLiteral(Span(token.start, token.end), stream.unquoted(token)), 1)
        if token.kind == "(":
            return self._paren()
        if token.kind == "{":
            return _Built(parse_selector_body(stream), 1)
        if token.kind in METRIC_NAMES:
            return self._named()
        raise stream.unexpected()

    def _paren(self) -> _Built:
        opening = self._stream.next()
        inner = self.expr(1)
        closing = self._stream.expect(")")
        span = Span(opening.start, closing.end)
        return self._built(ParenExpr(span, inner.expr), inner.height)

    def _named(self) -> _Built:
        """A function call, an aggregation or a selector: the token behind the word decides."""
        stream = self._stream
        word = stream.next()
        behind = stream.peek().kind
        if word.kind in AGGREGATORS and behind in ("(", "by", "without"):
            return self._aggregate(word)
        if word.kind in (IDENTIFIER, *PREPROCESSORS) and behind == "(":
            return self._call(word)
        return _Built(parse_selector_body(stream, word), 1)

    def _call(self, word: Token) -> _Built:
        stream = self._stream
        args, height, end = self._arguments()
        name = word.text.lower() if word.kind in PREPROCESSORS else word.text
        signature = FUNCTIONS.get(name)
        if signature is None:
            reason = f"unknown function with name {quote_text(word.text)}"
            raise stream.error(word.start, reason)
        if signature.experimental and EXPERIMENTAL_FUNCTIONS not in self._features:
            raise stream.error(word.start, f"function {quote_text(name)} is not enabled")
        return self._built(Call(Span(word.start, end), name, args), height)

    def _arguments(self) -> tuple[tuple[Expr, ...], int, int]:
        """What stands between parentheses: the arguments, the largest height, and the end."""
        stream = self._stream
        stream.expect("(")
        if closing := stream.accept(")"):
            return (), 0, closing.end
        args: list[Expr] = []
        height = 0
        while True:
            built = self.expr(1)
            args.append(built.expr)
            height = max(height, built.height)
            if closing := stream.accept(")"):
                return tuple(args), height, closing.end
            comma = stream.expect(",")
            if stream.peek().kind not in EXPR_STARTS:
                reason = "trailing commas not allowed in function call args"
                raise stream.error(comma.start, reason)

    def _aggregate(self, word: Token) -> _Built:
        stream = self._stream
        outer, stream.context = stream.context, "aggregation"
        modifier = self._aggregate_modifier()
        args, height, end = self._arguments()
        stream.context = outer
        if modifier is None:
            modifier = self._aggregate_modifier()
            end = modifier[2] if modifier else end
        without, grouping, _ = modifier or (False, (), 0)
        span = Span(word.start, end)
        expected = 2 if word.kind in AGGREGATORS_WITH_PARAM else 1
        self._check_aggregate(word, len(args), expected)
        param = args[0] if expected == 2 else None
        node = AggregateExpr(span, word.kind, args[-1], param, grouping, without)
        return self._built(node, height)

    def _aggregate_modifier(self) -> tuple[bool, tuple[str, ...], int] | None:
        kind = self._stream.peek().kind
        if kind not in ("by", "without"):
            return None
        self._stream.next()
        labels, end = parse_labels(self._stream)
        return kind == "without", labels, end

    def _check_aggregate(self, word: Token, got: int, expected: int) -> None:
        if got == 0:
            raise self._refusal(word, "no arguments for aggregate expression provided")
        if word.kind in EXPERIMENTAL_AGGREGATORS and EXPERIMENTAL_FUNCTIONS not in self._features:
            raise self._refusal(
                word,
                f"{word.kind}() is experimental and must be enabled with "
                "--enable-feature=promql-experimental-functions",
            )
        if got != expected:
            raise self._refusal(
                word,
                "wrong number of arguments for aggregate expression provided, "
                f"expected {expected}, got {got}",
            )

    def _refusal(self, word: Token, reason: str) -> PromQLError:
        return self._stream.error(word.start, reason)
