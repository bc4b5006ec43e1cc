"""Where numbers and durations end in a text, and what number a text spells.

A port of scanNumber and acceptRemainingDuration of Prometheus' promql/parser/lex.go and of the number rule of
parse.go (Go's strconv.ParseInt with base 0, then ParseFloat).
"""

import math

_DECIMAL = "0123456789"
_HEX = "0123456789abcdefABCDEF"
_AFTER_DOT = "_."
_AFTER_MARK = "._eE"
_INT64_MAX = (1 << 63) - 1
_PLAIN = frozenset("0123456789.e+-_")
_PREFIXES = {"0x": 16, "0b": 2, "0o": 8}


class _Scan:
    """A cursor with Go's accept functions; past the end every character is the empty string."""

    __slots__ = ("at", "text")

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def accept(self, valid: str) -> bool:
        char = self.peek()
        if char and char in valid:
            self.at += 1
            return True
        return False

    def accept_run(self, valid: str) -> None:
        while self.accept(valid):
            pass


def accept_number(text: str, start: int) -> tuple[bool, int]:
    """Whether a number is written at `start`, and how far the scan went."""
    scan = _Scan(text, start)
    digits = _DECIMAL
    if scan.accept("0") and scan.accept("xX"):
        scan.accept("_")
        digits = _HEX
    scan.accept(".")
    scan.accept(digits)
    seen: set[str] = set()
    while (char := scan.peek()) and char in digits + "._eE":
        mark = char.lower() if char in ".eE" else ""
        if mark and mark in seen:
            scan.at += 1
            return False, scan.at
        if char not in "._eE":
            scan.accept_run(digits)
            continue
        seen.add(mark)
        if not _accept_mark(scan, digits is _HEX):
            return False, scan.at
    good = scan.at > start and not _is_alphanumeric(scan.peek())
    return good, scan.at


def _accept_mark(scan: _Scan, is_hex: bool) -> bool:
    """Takes a dot, an exponent or an underscore; False where what follows may not."""
    if scan.accept("."):
        return not scan.accept(_AFTER_DOT) and not is_hex
    if scan.accept("eE"):
        scan.accept("+-")
    else:
        scan.accept("_")
    return not scan.accept(_AFTER_MARK) and bool(scan.peek())


def accept_duration(text: str, at: int) -> tuple[bool, int]:
    """Whether units and digits of a duration go on at `at` (after its first number), and how far."""
    scan = _Scan(text, at)
    units = "smhdwy"
    while True:
        if not scan.accept(units):
            return False, scan.at
        scan.accept("s")
        if not scan.accept(_DECIMAL):
            break
        scan.accept_run(_DECIMAL)
        units = "smhdw"
    if _is_alphanumeric(scan.peek()):
        return False, scan.at + 1
    return True, scan.at


def parse_number(literal: str) -> tuple[float, str]:
    """The value of a number token, and Go's error text where it is no number (else empty)."""
    bare = literal.lower()
    sign = -1.0 if bare.startswith("-") else 1.0
    bare = bare[1:] if bare[:1] in ("+", "-") else bare
    if bare in ("inf", "infinity"):
        return sign * math.inf, ""
    if bare == "nan":
        return math.nan, ""
    whole = _parse_int(bare)
    if whole is not None and whole <= _INT64_MAX:
        return sign * float(whole), ""
    # Python's float takes blanks and digits of all scripts, which Go does not.
    if bare[:1] in ("+", "-") or not set(bare) <= _PLAIN or not _underscores_fit(bare):
        return 0.0, f'strconv.ParseFloat: parsing "{literal}": invalid syntax'
    try:
        value = float(bare.replace("_", ""))
    except ValueError:
        return 0.0, f'strconv.ParseFloat: parsing "{literal}": invalid syntax'
    if math.isinf(value):
        return 0.0, f'strconv.ParseFloat: parsing "{literal}": value out of range'
    return sign * value, ""


def _parse_int(bare: str) -> int | None:
    """Go's ParseInt(text, 0, 64) without sign; None where it is no integer."""
    base, digits = 10, bare
    if bare[:2] in _PREFIXES:
        base, digits = _PREFIXES[bare[:2]], bare[2:].removeprefix("_")
    elif len(bare) > 1 and bare[0] == "0":
        base, digits = 8, bare[1:].removeprefix("_")
    plain = digits.replace("_", "")
    if not plain or not _underscores_fit(digits) or not plain.isascii() or not plain.isalnum():
        return None
    # An int of more digits than this cannot fit, and Python refuses to convert very long ones.
    if len(plain.lstrip("0")) > 64:
        return _INT64_MAX + 1 if set(plain) <= set(_HEX) else None
    try:
        return int(plain, base)
    except ValueError:
        return None


def _underscores_fit(digits: str) -> bool:
    """Whether each underscore stands between two digits."""
    if "_" not in digits:
        return True
    parts = digits.split("_")
    return all(
        parts[i][-1:].isalnum() and parts[i + 1][:1].isalnum() for i in range(len(parts) - 1)
    )


def _is_alphanumeric(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())
