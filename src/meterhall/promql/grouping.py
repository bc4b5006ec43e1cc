"""Lists of labels, and the modifiers of a binary operator: bool, on/ignoring, group_*, fill*.

The rules grouping_labels and bin_modifier of generated_parser.y.
"""

from meterhall.promql.durationparser import number_literal
from meterhall.promql.nodes import Cardinality, VectorMatching
from meterhall.promql.signatures import FILL_MODIFIERS
from meterhall.promql.stream import TokenStream
from meterhall.promql.tokens import DURATION, EXPR_STARTS, LABEL_NAMES, NUMBER, STRING

_FILLS = {"fill": (True, True), "fill_left": (True, False), "fill_right": (False, True)}


def parse_labels(stream: TokenStream) -> tuple[tuple[str, ...], int]:
    """Labels between parentheses, a comma at the end allowed; and where they end."""
    if not stream.accept("("):
        raise stream.unexpected("grouping opts", '"("')
    labels: list[str] = []
    if closing := stream.accept(")"):
        return (), closing.end
    while True:
        labels.append(_label(stream))
        if closing := stream.accept(")"):
            return tuple(labels), closing.end
        if not stream.accept(","):
            raise stream.unexpected("grouping opts", '"," or ")"')
        if closing := stream.accept(")"):
            return tuple(labels), closing.end


def _label(stream: TokenStream) -> str:
    token = stream.peek()
    if token.kind == STRING:
        stream.next()
        name = stream.unquoted(token)
        if not name:
            raise stream.error(token.start, 'invalid label name for grouping: ""')
        return name
    if token.kind not in LABEL_NAMES:
        raise stream.unexpected("grouping opts", "label")
    return stream.next().text


def parse_matching(stream: TokenStream, features: frozenset[str]) -> tuple[bool, VectorMatching]:
    """What stands between an operator and its right side: `bool`, and the matching."""
    return_bool = stream.accept("bool") is not None
    on = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    card = Cardinality.ONE_TO_ONE
    if stream.peek().kind in ("on", "ignoring"):
        on = stream.next().kind == "on"
        labels, _ = parse_labels(stream)
        if stream.peek().kind in ("group_left", "group_right"):
            left = stream.next().kind == "group_left"
            card = Cardinality.MANY_TO_ONE if left else Cardinality.ONE_TO_MANY
            # Without parentheses an operand must follow, or yacc takes it for a bad list.
            if stream.peek().kind == "(" or stream.peek().kind not in EXPR_STARTS:
                include, _ = parse_labels(stream)
    lhs, rhs = _fills(stream, features)
    return return_bool, VectorMatching(card, on, labels, include, lhs, rhs)


def _fills(stream: TokenStream, features: frozenset[str]) -> tuple[float | None, float | None]:
    """The fill values of the left and the right side. The words are names unless `(` follows."""
    sides: list[float | None] = [None, None]
    while (token := stream.peek()).kind in _FILLS:
        stream.next()
        if stream.peek().kind != "(":
            stream.put_back(token)
            break
        if FILL_MODIFIERS not in features:
            reason = "binop fill modifiers are experimental and not enabled"
            raise stream.error(token.start, reason)
        value = _fill_value(stream)
        for side, filled in enumerate(_FILLS[token.kind]):
            if filled:
                sides[side] = value
    return sides[0], sides[1]


def _fill_value(stream: TokenStream) -> float:
    stream.expect("(")
    sign = stream.next().kind if stream.peek().kind in ("+", "-") else "+"
    if stream.peek().kind not in (NUMBER, DURATION):
        raise stream.unexpected()
    value = number_literal(stream).value
    stream.expect(")")
    return -value if sign == "-" else value
