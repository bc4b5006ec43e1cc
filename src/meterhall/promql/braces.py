"""Vector selectors: a metric name, and matchers between braces.

The rules vector_selector, label_matchers and label_matcher of generated_parser.y.
"""

from meterhall.model.errors import BadInput
from meterhall.model.labels import METRIC_NAME
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.promql.nodes import Span, VectorSelector
from meterhall.promql.stream import TokenStream
from meterhall.promql.tokens import IDENTIFIER, MATCH_OPERATORS, METRIC_NAMES, STRING, Token


def parse_selector_body(stream: TokenStream, word: Token | None = None) -> VectorSelector:
    """A vector selector without modifiers. `word` is its name where that is already taken.

    As in Go, the matcher of the name comes last.
    """
    if word is None and stream.peek().kind in METRIC_NAMES:
        word = stream.next()
    matchers: tuple[Matcher, ...] = ()
    start = stream.peek().start if word is None else word.start
    end = 0 if word is None else word.end
    if word is None or stream.peek().kind == "{":
        matchers, end = _braces(stream)
    if word is None:
        return VectorSelector(Span(start, end), "", matchers)
    named = Matcher(MatchOp.EQUAL, METRIC_NAME, word.text)
    return VectorSelector(Span(start, end), word.text, (*matchers, named))


def _braces(stream: TokenStream) -> tuple[tuple[Matcher, ...], int]:
    stream.expect("{")
    matchers: list[Matcher] = []
    if closing := stream.accept("}"):
        return (), closing.end
    while True:
        matchers.append(_matcher(stream))
        if closing := stream.accept("}"):
            return tuple(matchers), closing.end
        if not stream.accept(","):
            raise stream.unexpected("label matching", '"," or "}"')
        if closing := stream.accept("}"):
            return tuple(matchers), closing.end


def _matcher(stream: TokenStream) -> Matcher:
    token = stream.peek()
    if token.kind not in (IDENTIFIER, STRING):
        raise stream.unexpected("label matching", 'identifier or "}"')
    stream.next()
    name = stream.unquoted(token) if token.kind == STRING else token.text
    operator = stream.peek()
    if operator.kind not in MATCH_OPERATORS:
        if token.kind == STRING:
            return Matcher(MatchOp.EQUAL, METRIC_NAME, name)
        raise stream.unexpected("label matching", "label matching operator")
    stream.next()
    if stream.peek().kind != STRING:
        raise stream.unexpected("label matching", "string")
    value = stream.unquoted(stream.next())
    try:
        return Matcher(MatchOp(operator.kind), name, value)
    except BadInput as error:
        raise stream.error(token.start, str(error)) from None
