"""The lexer of PromQL: query text to tokens, on demand.

A port of the state machine of Prometheus' promql/parser/lex.go, with its error texts. The parser pulls one token
at a time, so that of two faults the one that comes first in the text is told, as Prometheus does. Positions
are byte offsets; inside, the lexer walks characters.
"""

import re

from meterhall.model.errors import PromQLError
from meterhall.promql.numbers import accept_duration, accept_number
from meterhall.promql.position import byte_offsets, parse_error
from meterhall.promql.strings import quote_char, quote_text
from meterhall.promql.tokens import (
    DURATION,
    EOF,
    IDENTIFIER,
    METRIC_IDENTIFIER,
    NUMBER,
    SPECIAL_NUMBERS,
    STRING,
    WORDS,
    Token,
)

# Fixed patterns of our own, each a single character class: they cannot backtrack.
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")  # noqa: TID251 - not a user's pattern
_SPACES = re.compile(r"[ \t\r\n]*")  # noqa: TID251 - not a user's pattern
_NAME = re.compile(r"[A-Za-z0-9_]*")  # noqa: TID251 - not a user's pattern
_WORD = re.compile(r"[A-Za-z0-9_:]*")  # noqa: TID251 - not a user's pattern
_PLAIN = re.compile("[^\\\\\n\"'\N{REPLACEMENT CHARACTER}]*")  # noqa: TID251 - not a user's pattern

# Go decodes broken UTF-8 to this character, and so cannot tell it from the character itself.
_BROKEN = "\N{REPLACEMENT CHARACTER}"
_BROKEN_REASON = "invalid UTF-8 rune"

_NAME_START = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_DIGITS = frozenset("0123456789")
_SINGLE = frozenset(",*/%+-^@")
# Words of duration expressions start with these letters.
_DURATION_WORDS = frozenset(("step", "range", "min", "max", "min_of", "max_of"))


class Lexer:
    """Tokens of one text. `next_token` gives EOF for ever once the text is used up."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0
        self._offsets = byte_offsets(text)
        self._brace_open = False
        self._bracket_open = False
        self._got_colon = False
        # From `[` to the first number or word Go's lexDurationExpr is at work, with texts of its own.
        self._duration_start = False
        self._paren_depth = 0

    def next_token(self) -> Token:
        """The next token, blanks and comments skipped. Raises PromQLError where there is none."""
        start = _end_of(_SPACES if self._duration_start else _BLANK, self.text, self._at)
        char = self.text[start : start + 1]
        if self._duration_start:
            self._check_duration(char, start)
        if self._brace_open:
            return self._inside_braces(char, start)
        if not char:
            return self._end_of_input(start)
        if char in _SINGLE:
            return self._emit(char, start, start + 1)
        if char in _NAME_START or char == ":":
            return self._in_brackets(start) if self._bracket_open else self._word(start)
        if char in _DIGITS or (char == "." and self._char(start + 1) in _DIGITS):
            return self._number(start)
        if char in "\"'`":
            return self._string(char, start)
        if char in "([{)]}":
            return self._bracket(char, start)
        return self._operator(char, start)

    def _char(self, at: int) -> str:
        return self.text[at : at + 1] or " "

    def _emit(self, kind: str, start: int, end: int) -> Token:
        self._at = end
        text = self.text[start:end]
        if self._offsets is None:
            return Token(kind, text, start, end)
        return Token(kind, text, self._offsets[start], self._offsets[end])

    def _error(self, start: int, reason: str) -> PromQLError:
        offset = start if self._offsets is None else self._offsets[start]
        return parse_error(self.text, offset, reason)

    def _check_duration(self, char: str, start: int) -> None:
        """Refuses what lexDurationExpr of Go does not know."""
        if not char:
            raise self._error(start, "unexpected end of input in duration expression")
        if char == ":":
            reason = "unexpected colon before duration in duration expression"
            raise self._error(start + 1, reason)
        if char in "+-*/%^,()]" or char in _DIGITS:
            return
        if char == "." and self._char(start + 1) in _DIGITS:
            return
        word = self.text[start : _end_of(_NAME, self.text, start)].lower()
        if word not in _DURATION_WORDS:
            reason = f"unexpected character in duration expression: {quote_char(char)}"
            raise self._error(start, reason)

    def _end_of_input(self, start: int) -> Token:
        if self._paren_depth:
            raise self._error(start, "unclosed left parenthesis")
        if self._bracket_open:
            raise self._error(start, "unclosed left bracket")
        return self._emit(EOF, start, start)

    def _operator(self, char: str, start: int) -> Token:
        after = self.text[start + 1 : start + 2]
        if (char in "=<>!" and after == "=") or (char in "<>" and after == "/"):
            return self._emit(char + after, start, start + 2)
        if char == "=" and after == "~":
            raise self._error(start, f"unexpected character after '=': {quote_char(after)}")
        if char == "!":
            raise self._error(start, f"unexpected character after '!': {quote_char(after)}")
        if char in "=<>":
            return self._emit(char, start, start + 1)
        raise self._error(start, f"unexpected character: {quote_char(char)}")

    def _bracket(self, char: str, start: int) -> Token:
        if char == "(":
            self._paren_depth += 1
        elif char == ")":
            self._paren_depth -= 1
            if self._paren_depth < 0:
                # Go has emitted the token by then: its position is behind the parenthesis.
                raise self._error(start + 1, "unexpected right parenthesis ')'")
        elif char == "{":
            self._brace_open = True
        elif char == "[":
            if self._bracket_open:
                raise self._error(start, "unexpected left bracket '['")
            self._bracket_open, self._got_colon = True, False
            self._duration_start = True
        elif char == "]":
            if not self._bracket_open:
                raise self._error(start, "unexpected right bracket ']'")
            self._bracket_open = self._duration_start = False
        else:
            raise self._error(start, "unexpected character: '}'")
        return self._emit(char, start, start + 1)

    def _inside_braces(self, char: str, start: int) -> Token:
        if not char:
            raise self._error(start, "unexpected end of input inside braces")
        if char in _NAME_START:
            return self._emit(IDENTIFIER, start, _end_of(_NAME, self.text, start))
        if char in "\"'`":
            return self._string(char, start)
        after = self.text[start + 1 : start + 2]
        if char == "=":
            return self._emit("=~" if after == "~" else "=", start, start + 1 + (after == "~"))
        if char == "!":
            if after not in ("~", "="):
                reason = f"unexpected character after '!' inside braces: {quote_char(after)}"
                raise self._error(start, reason)
            return self._emit(char + after, start, start + 2)
        if char == "{":
            raise self._error(start, "unexpected left brace '{'")
        if char == "}":
            self._brace_open = False
        elif char != ",":
            raise self._error(start, f"unexpected character inside braces: {quote_char(char)}")
        return self._emit(char, start, start + 1)

    def _word(self, start: int) -> Token:
        end = _end_of(_WORD, self.text, start)
        word = self.text[start:end]
        lower = word.lower()
        if lower in SPECIAL_NUMBERS:
            return self._emit(NUMBER, start, end)
        if lower in WORDS:
            return self._emit(lower, start, end)
        return self._emit(METRIC_IDENTIFIER if ":" in word else IDENTIFIER, start, end)

    def _in_brackets(self, start: int) -> Token:
        char = self.text[start]
        if char == ":":
            if self._got_colon:
                raise self._error(start, "unexpected colon ':'")
            self._got_colon = True
            return self._emit(":", start, start + 1)
        end = _end_of(_NAME, self.text, start)
        word = self.text[start:end].lower()
        if word in _DURATION_WORDS:
            self._duration_start = False
            return self._emit(word, start, end)
        raise self._error(start, f"unexpected character: {quote_char(char)}, expected ':'")

    def _number(self, start: int) -> Token:
        self._duration_start = False
        good, end = accept_number(self.text, start)
        if good:
            return self._emit(NUMBER, start, end)
        good, end = accept_duration(self.text, end)
        if good:
            return self._emit(DURATION, start, end)
        reason = f"bad number or duration syntax: {quote_text(self.text[start:end])}"
        raise self._error(start, reason)

    def _string(self, mark: str, start: int) -> Token:
        if mark == "`":
            end = self.text.find("`", start + 1)
            if end < 0:
                raise self._error(start, "unterminated raw string")
            if _BROKEN in self.text[start:end]:
                raise self._error(start, _BROKEN_REASON)
            return self._emit(STRING, start, end + 1)
        at = start + 1
        while True:
            at = _end_of(_PLAIN, self.text, at)
            char = self.text[at : at + 1]
            if char == mark:
                return self._emit(STRING, start, at + 1)
            if char in ("", "\n"):
                raise self._error(start, "unterminated quoted string")
            if char == _BROKEN:
                raise self._error(start, _BROKEN_REASON)
            at = self._escape(start, at + 1, mark) if char == "\\" else at + 1

    def _escape(self, start: int, at: int, mark: str) -> int:
        """Checks the escape whose letter is at `at`; where it ends."""
        letter = self.text[at : at + 1]
        if letter and (letter in "abfnrtv\\" or letter == mark):
            return at + 1
        if not letter:
            raise self._error(start, "escape sequence not terminated")
        kinds = {"x": (2, 16, 0xFF), "u": (4, 16, 0x10FFFF), "U": (8, 16, 0x10FFFF)}
        octal = letter in "01234567"
        if letter not in kinds and not octal:
            raise self._error(start, f"unknown escape sequence {_rune_name(letter)}")
        length, base, largest = (3, 8, 0xFF) if octal else kinds[letter]
        begin = at if octal else at + 1
        code = 0
        for index in range(begin, begin + length):
            code = code * base + self._escape_digit(start, self.text[index : index + 1], base)
        if code > largest or 0xD800 <= code < 0xE000:
            raise self._error(start, "escape sequence is an invalid Unicode code point")
        return begin + length

    def _escape_digit(self, start: int, char: str, base: int) -> int:
        if not char:
            raise self._error(start, "escape sequence not terminated")
        value = "0123456789abcdef".find(char.lower()) if char.isascii() else -1
        if not 0 <= value < base:
            reason = f"illegal character {_rune_name(char)} in escape sequence"
            raise self._error(start, reason)
        return value


def _rune_name(char: str) -> str:
    """`%#U` of Go: `U+0041 'A'`."""
    shown = f" '{char}'" if char == " " or char.isprintable() else ""
    return f"U+{ord(char):04X}{shown}"


def _end_of(pattern: "re.Pattern[str]", text: str, at: int) -> int:
    """Where the match at `at` ends; every pattern here matches the empty string too."""
    found = pattern.match(text, at)
    assert found is not None, f"pattern {pattern.pattern} must match anywhere"
    return found.end()
