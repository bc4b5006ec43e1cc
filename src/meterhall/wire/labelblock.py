"""What stands between the braces of a sample, for both text formats, which differ in blanks and commas.

The patterns follow the rules of Prometheus' lexers (promlex.l, openmetricslex.l). They are our own,
over bytes, and possessive, so that reading is linear in the page.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

LABEL_NAME = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
METRIC_NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*+"

_ESCAPE = re.compile(r'\\([\\"n])')  # noqa: TID251 - our own pattern

Matcher = Callable[[bytes, int], "re.Match[bytes] | None"]
Pairs = list[tuple[str, str]]


class Fault(Exception):
    """A fault at a byte of the page; the parsers turn it into an ExpositionError with its line."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LabelGrammar:
    """How one format spells a label block. Each matcher skips the blanks that its format allows.

    `pair` has the groups bare name, quoted name, value and comma; `quoted_name` is a metric name
    within the braces, which ends before `}` or after a comma.
    """

    pair: Matcher
    quoted_name: Matcher
    close: Matcher
    comma_needed: bool


def label_grammar(
    blank: bytes, string: bytes, name_string: bytes, comma_needed: bool
) -> LabelGrammar:
    """`string` and `name_string` match a double-quoted text with its content as the only group."""
    pair = (
        blank
        + rb"(?:("
        + LABEL_NAME
        + rb")|"
        + name_string
        + rb")"
        + blank
        + rb"="
        + blank
        + string
        + blank
        + rb"(,)?"
    )
    quoted_name = blank + name_string + blank + rb"(?:,|(?=\}))"
    return LabelGrammar(
        re.compile(pair).match,  # noqa: TID251 - our own pattern
        re.compile(quoted_name).match,  # noqa: TID251 - our own pattern
        re.compile(blank + rb"\}").match,  # noqa: TID251 - our own pattern
        comma_needed,
    )


def read_labels(
    page: bytes, at: int, grammar: LabelGrammar, name: str | None
) -> tuple[str | None, Pairs, int]:
    """The labels from `at`, behind the opening brace: metric name, pairs, and where the block ends.

    `name` is the metric name before the brace, if there is one. Raises Fault.
    """
    pairs: Pairs = []
    close, read_pair = grammar.close, grammar.pair
    while True:
        if end := close(page, at):
            return name, pairs, end.end()
        match = read_pair(page, at)
        if match is None:
            name, at = _name_within(page, at, grammar, name)
            continue
        bare, quoted, value, comma = match.groups()
        label = sys.intern(bare.decode()) if bare is not None else unescape(quoted, at)
        pairs.append((label, unescape(value, at)))
        at = match.end()
        if grammar.comma_needed and comma is None and not close(page, at):
            raise Fault(at, "comma or closing brace expected after a label")


def unescape(raw: bytes, at: int, what: str = "label name or value") -> str:
    """A quoted text's content as a str: only `\\\\`, `\\"` and `\\n` are escapes. Raises Fault.

    Interned, because the exporters of one kind repeat the same values on every host.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Fault(at, f"{what} is not UTF-8") from None
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    return sys.intern(text)


def _unescaped(match: "re.Match[str]") -> str:
    return "\n" if match[1] == "n" else match[1]


def _name_within(page: bytes, at: int, grammar: LabelGrammar, name: str | None) -> tuple[str, int]:
    match = grammar.quoted_name(page, at)
    if match is None:
        raise Fault(at, 'label expected: name="value"')
    if name is not None:
        raise Fault(at, "metric name given twice")
    return unescape(match[1], at), match.end()
