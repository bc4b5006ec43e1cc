"""Numbers and times in Prometheus' JSON: values as strings in Go's shortest spelling, times in seconds.

Values have an exponent only below 1e-6 and from 1e21 on (util/jsonutil/marshal.go). Where orjson's spelling is not Go's,
the few values concerned are spelled again by `spell_value`.
"""

import math

import numpy as np
import orjson

from meterhall.model.samples import ValueArray

# Below and from here on orjson writes an exponent, or writes it another way than Go.
_PLAIN_MIN, _PLAIN_MAX = 1e-5, 1e16
# From here up to _PLAIN_MAX, repr() too is Go's spelling.
_REPR_MIN = 1e-4
# So few values are spelled sooner one by one.
_FEW = 4
# Integers below this are exact as int64 and as float64.
_EXACT_MAX = float(1 << 53)


def spell_value(value: float) -> str:
    """One sample's value as Prometheus spells it in vectors and matrices."""
    size = abs(value)
    if _REPR_MIN <= size < _PLAIN_MAX:
        return repr(value).removesuffix(".0")
    if value != 0 and not 1e-6 <= size < 1e21 and math.isfinite(value):
        digits, exponent = _decimal(value)
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{'-' * (value < 0)}{digits[0]}{fraction}e{exponent:+03d}"
    return spell_scalar(value)


def spell_scalar(value: float) -> str:
    """A scalar's value, which never has an exponent (strconv.FormatFloat with 'f', -1)."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    digits, exponent = _decimal(value)
    point = exponent + 1
    if point <= 0:
        text = "0." + "0" * -point + digits if value else "0"
    elif point >= len(digits):
        text = digits + "0" * (point - len(digits))
    else:
        text = f"{digits[:point]}.{digits[point:]}"
    return sign + text


def _decimal(value: float) -> tuple[str, int]:
    """Shortest digits of |value| without zeros at their ends, and the exponent of the first digit."""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    return digits.rstrip("0") or "0", int(exponent or 0) + len(whole) - 1 - leading


def spell_seconds(time_ms: int) -> bytes:
    """A sample's time: whole seconds, or exactly three decimals (`-0.500` too)."""
    seconds, rest = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return (f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}").encode()


def spell_loose_seconds(time_ms: int) -> bytes:
    """The time of a scalar or string: an ordinary float, without zeros at its end."""
    text = spell_seconds(time_ms)
    return text.rstrip(b"0") if b"." in text else text


def spell_values(values: ValueArray) -> list[bytes]:
    """Each value of a flat array as `spell_value` has it, without quotes."""
    if values.size <= _FEW:
        return [spell_value(value).encode() for value in values.tolist()]
    size = np.abs(values)
    integral = (size < _EXACT_MAX).all() and (values == np.rint(values)).all()
    # int64 would lose the sign of -0.
    if integral and not (np.signbit(values) & (values == 0)).any():
        return _cut(orjson.dumps(values.astype(np.int64), option=orjson.OPT_SERIALIZE_NUMPY))
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    spelled = _cut(text.replace(b".0,", b",").replace(b".0]", b"]"))
    odd = ~((size >= _PLAIN_MIN) & (size < _PLAIN_MAX)) & (values != 0)
    if odd.any():
        for index in np.flatnonzero(odd).tolist():
            spelled[index] = spell_value(float(values[index])).encode()
    return spelled


def _cut(array_text: bytes) -> list[bytes]:
    return array_text[1:-1].split(b",")
