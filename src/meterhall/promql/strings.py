"""Strings and numbers as Go spells them: unquoting, quoting, number texts.

Follows prometheus/util/strutil/quote.go and Go's strconv. A byte that `\\xff` or `\\377` put in and that is no
UTF-8 becomes U+FFFD, since no stored label can hold it.
"""

import math
from decimal import Decimal

from meterhall.model.labels import quote

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_NUMERIC = {"x": 2, "u": 4, "U": 8}
_CODE_POINT_MAX = 0x10FFFF


def quote_text(text: str) -> str:
    """`%q` of Go on a string."""
    return quote(text)


def quote_char(char: str) -> str:
    """`%q` of Go on a rune; the empty string stands for the end of input."""
    if not char:
        return "'\N{REPLACEMENT CHARACTER}'"
    if char == "'":
        return "'\\''"
    return "'" + ('"' if char == '"' else quote(char)[1:-1]) + "'"


def unquote(literal: str) -> str | None:
    """The value of a quoted literal, or None where it is not well formed."""
    if len(literal) < 2 or literal[0] != literal[-1] or literal[0] not in "\"'`":
        return None
    mark, body = literal[0], literal[1:-1]
    if mark == "`":
        return None if "`" in body else body
    if "\n" in body:
        return None
    if "\\" not in body:
        return None if mark in body else body
    return _unescape(body, mark)


def _unescape(body: str, mark: str) -> str | None:
    out = bytearray()
    position = 0
    while (slash := body.find("\\", position)) >= 0:
        plain = body[position:slash]
        if mark in plain:
            return None
        out += plain.encode("utf-8", "surrogatepass")
        taken = _escape(body, slash + 1, mark)
        if taken is None:
            return None
        encoded, position = taken
        out += encoded
    if mark in body[position:]:
        return None
    out += body[position:].encode("utf-8", "surrogatepass")
    return out.decode("utf-8", "replace")


def _escape(body: str, at: int, mark: str) -> tuple[bytes, int] | None:
    """The bytes of the escape whose letter is at `at`, and where it ends."""
    letter = body[at : at + 1]
    if letter in ("'", '"') and letter != mark:
        return None
    if letter in _SIMPLE:
        return bytes((_SIMPLE[letter],)), at + 1
    if letter in _NUMERIC:
        begin, length, base = at + 1, _NUMERIC[letter], 16
    else:
        begin, length, base = at, 3, 8
    digits = body[begin : begin + length]
    if len(digits) != length or not all(_digit(char) < base for char in digits):
        return None
    encoded = _encode(int(digits, base), letter)
    return None if encoded is None else (encoded, begin + length)


def _encode(code: int, letter: str) -> bytes | None:
    if letter in ("u", "U"):
        if code > _CODE_POINT_MAX or 0xD800 <= code < 0xE000:
            return None
        return chr(code).encode()
    return bytes((code,)) if code < 256 else None


def _digit(char: str) -> int:
    """The value of a digit in base 16, or 16 where it is none. ASCII only."""
    found = "0123456789abcdef".find(char.lower()) if char.isascii() else -1
    return found if found >= 0 else 16


def format_fixed(value: float) -> str:
    """`%f` of Go."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:f}"


def format_float(value: float) -> str:
    """Go's strconv.FormatFloat(value, 'f', -1, 64): shortest digits, never an exponent."""
    if not math.isfinite(value):
        return format_fixed(value)
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def is_legacy_name(name: str) -> bool:
    """Whether a label name needs no quotes."""
    return name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
