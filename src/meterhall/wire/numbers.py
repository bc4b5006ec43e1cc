"""Numbers as the text formats spell them, to the letter of Go's strconv, and back.

Python's float() alone would not do: it takes `1_000`, surrounding blanks and signed NaNs, and turns
`1e400` into infinity where Prometheus refuses it.
"""

import math
import re
from decimal import Decimal

from meterhall.model.samples import NAN

_PLAIN = rb"(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
# Our own fixed patterns over bytes, possessive, so linear in the input.
_FINITE = re.compile(rb"[+-]?" + _PLAIN)  # noqa: TID251 - our own pattern
_INFINITE = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)  # noqa: TID251 - our own pattern
_DIGITS = r"[0-9](?:_?[0-9])*+"
_DECIMAL = re.compile(  # noqa: TID251 - our own pattern
    rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?"
)
_HEX = r"[0-9a-fA-F](?:_?[0-9a-fA-F])*+"
_HEXADECIMAL = re.compile(  # noqa: TID251 - our own pattern
    rf"[+-]?0[xX]_?(?:{_HEX}(?:\.(?:{_HEX})?)?|\.{_HEX})[pP][+-]?{_DIGITS}"
)
_WORDS = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE)  # noqa: TID251 - our own pattern
# A literal longer than this is no number that anyone means.
_NUMBER_CHARS_MAX = 1000

_INT64_MAX = (1 << 63) - 1
_INT64_MIN = -(1 << 63)
_INT64_DIGITS = 19
_EXPONENT_FROM = 6


def parse_value(token: bytes) -> float | None:
    """A sample's value, or None where the token is none. NaN comes canonical (NAN_BITS)."""
    if _FINITE.fullmatch(token):
        value = float(token)
        return None if math.isinf(value) else value
    if token.lower() == b"nan":
        return NAN
    if _INFINITE.fullmatch(token):
        return float(token)
    return None


def parse_float(text: str) -> float | None:
    """What strconv.ParseFloat(text, 64) gives, or None where it gives an error.

    Underscores and hexadecimal count here, which a sample's value may not have.
    """
    if len(text) > _NUMBER_CHARS_MAX:
        return None
    if _DECIMAL.fullmatch(text):
        value = float(text.replace("_", ""))
        return None if math.isinf(value) else value
    if _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            return None
    return float(text) if _WORDS.fullmatch(text) else None


def parse_milliseconds(digits: bytes) -> int | None:
    """A run of decimal digits as int64, or None where it does not fit."""
    significant = digits.lstrip(b"0")
    if len(significant) > _INT64_DIGITS:
        return None
    time_ms = int(significant or b"0")
    return time_ms if time_ms <= _INT64_MAX else None


def parse_seconds(token: bytes) -> int | None:
    """OpenMetrics' float seconds as int64 milliseconds, cut towards zero; None where it is no time.

    Beyond int64 the result is its least value, as Go's conversion has it on amd64.
    """
    seconds = parse_value(token)
    if seconds is None or not math.isfinite(seconds):
        return None
    milliseconds = seconds * 1000
    if not -(2.0**63) <= milliseconds < 2.0**63:
        return _INT64_MIN
    return int(milliseconds)


def normalize_bound(text: str) -> str:
    """The value of an `le` or `quantile` label in OpenMetrics' spelling; unchanged where not a number."""
    number = parse_float(text)
    if number is None:
        return text
    if number == 0:
        return "0.0"
    spelt = format_float(number)
    return spelt if not math.isfinite(number) or "e" in spelt or "." in spelt else spelt + ".0"


def format_float(number: float) -> str:
    """Go's `%g`: the shortest digits that name the number; exponents below -4 and from 6 on."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int), f"bug: {number} is not finite"
    power = len(digits) + exponent - 1
    if -4 <= power < _EXPONENT_FROM:
        return format(Decimal((sign, digits, exponent)), "f")
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    mantissa = f"{first}.{rest}" if rest else first
    return f"{'-' if sign else ''}{mantissa}e{power:+03d}"
