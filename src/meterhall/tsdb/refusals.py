"""Prometheus' words for a sample that is refused because its timestamp is taken."""

import math


def duplicate(time_ms: int, existing: float, value: float) -> str:
    """The text of errDuplicateSampleForTimestamp (prometheus/storage/interface.go)."""
    return (
        f"duplicate sample for timestamp {time_ms}; overrides not allowed: "
        f"existing {go_number(existing)}, new value {go_number(value)}"
    )


def go_number(value: float) -> str:
    """A float as Go's %g spells it: shortest digits, exponent form below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return sign + "0"
    digits, exponent = _shortest(abs(value))
    if exponent < -4 or exponent >= 6:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _shortest(value: float) -> tuple[str, int]:
    """Shortest decimal digits that read back as `value` > 0, and the exponent of the first."""
    mantissa, _, power = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = len(whole) - 1 + int(power or 0)
    if whole == "0":
        exponent -= len(whole + fraction) - len(digits)
    return digits.rstrip("0"), exponent
