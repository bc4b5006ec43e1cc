"""A matcher: one condition on one label, as a PromQL selector states it."""

from enum import StrEnum

from meterhall.model.labels import quote
from meterhall.model.regex import Regex


class MatchOp(StrEnum):
    """The four comparisons of a selector."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


class Matcher:
    """`name op "value"`. An absent label has the empty value.

    Raises BadInput where the value is not a RE2 pattern.
    """

    __slots__ = ("_hash", "name", "op", "regex", "value")

    def __init__(self, op: MatchOp, name: str, value: str) -> None:
        self.op = op
        self.name = name
        self.value = value
        # Whole selectors are keys of caches.
        self._hash = hash(self._key())
        self.regex = Regex(value) if op in (MatchOp.REGEX, MatchOp.NOT_REGEX) else None

    def matches(self, text: str) -> bool:
        """Whether a label with this value passes."""
        if self.regex is None:
            return (text == self.value) == (self.op is MatchOp.EQUAL)
        return self.regex.matches(text) == (self.op is MatchOp.REGEX)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and self._key() == other._key()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"{self.name}{self.op}{quote(self.value)}"

    def _key(self) -> tuple[str, str, str]:
        return (self.name, self.op, self.value)
