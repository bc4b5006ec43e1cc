"""Kinds of token and the words that make them, from Prometheus' promql/parser/lex.go.

A token's kind is the text of its operator or keyword where it has one (`+`, `sum`, `by`), else one of the
names below. `describe` words a token as Prometheus' errors do.
"""

from dataclasses import dataclass

from meterhall.promql.strings import quote_text

EOF = "EOF"
IDENTIFIER = "IDENTIFIER"
METRIC_IDENTIFIER = "METRIC_IDENTIFIER"
STRING = "STRING"
NUMBER = "NUMBER"
DURATION = "DURATION"

AGGREGATORS = frozenset(
    [
        "avg",
        "bottomk",
        "count",
        "count_values",
        "group",
        "max",
        "min",
        "quantile",
        "stddev",
        "stdvar",
        "sum",
        "topk",
        "limitk",
        "limit_ratio",
    ]
)
AGGREGATORS_WITH_PARAM = frozenset(
    ("topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio")
)
EXPERIMENTAL_AGGREGATORS = frozenset(("limitk", "limit_ratio"))
SET_OPERATORS = frozenset(("and", "or", "unless"))
COMPARISONS = frozenset(("==", "!=", "<=", "<", ">=", ">"))
TRIM_OPERATORS = frozenset(("</", ">/"))
MATCH_OPERATORS = frozenset(("=", "!=", "=~", "!~"))
WORD_OPERATORS = SET_OPERATORS | {"atan2"}
OPERATORS = (
    frozenset(("+", "-", "*", "/", "%", "^", "=~", "!~", "@"))
    | COMPARISONS
    | TRIM_OPERATORS
    | WORD_OPERATORS
)
KEYWORDS = frozenset(
    (
        "offset",
        "smoothed",
        "anchored",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "fill",
        "fill_left",
        "fill_right",
    )
)
# Words of the `@` modifier and of duration expressions; elsewhere they are names.
PREPROCESSORS = frozenset(("start", "end", "step", "range"))
SPECIAL_NUMBERS = frozenset(("inf", "nan"))

WORDS = AGGREGATORS | WORD_OPERATORS | KEYWORDS | PREPROCESSORS

# Which words may stand as a metric name and which in a list of labels (metric_identifier and
# maybe_label of generated_parser.y).
METRIC_NAMES = (
    AGGREGATORS
    | SET_OPERATORS
    | PREPROCESSORS
    | {"by", "offset", "without", "anchored", "smoothed", "fill", "fill_left", "fill_right"}
    | {IDENTIFIER, METRIC_IDENTIFIER}
)
LABEL_NAMES = (WORDS | {IDENTIFIER, METRIC_IDENTIFIER}) - {"without"}

# What an expression can begin with.
EXPR_STARTS = METRIC_NAMES | {"(", "{", "+", "-", NUMBER, DURATION, STRING}

_DESCRIBED_KINDS = {
    IDENTIFIER: "identifier",
    METRIC_IDENTIFIER: "metric identifier",
    STRING: "string",
    NUMBER: "number",
    DURATION: "duration",
}
_SHOWN_CHARS = 10


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the query: its kind, its text as written, and the byte offsets it spans."""

    kind: str
    text: str
    start: int
    end: int


def describe(token: Token) -> str:
    """The token as an error names it: `identifier "x"`, `<op:+>`, `<by>`, `end of input`."""
    if token.kind == EOF:
        return "end of input"
    kind = _DESCRIBED_KINDS.get(token.kind)
    return _shown(token) if kind is None else f"{kind} {_shown(token)}"


def _shown(token: Token) -> str:
    if token.kind in (IDENTIFIER, METRIC_IDENTIFIER):
        return quote_text(token.text)
    if token.kind in KEYWORDS:
        return f"<{token.text}>"
    if token.kind in OPERATORS:
        return f"<op:{token.text}>"
    if token.kind in AGGREGATORS:
        return f"<aggr:{token.text}>"
    if token.end - token.start > _SHOWN_CHARS:
        return quote_text(token.text[:_SHOWN_CHARS]) + "..."
    return quote_text(token.text)
