"""A float64 in decimal, as Go spells samples: shortest digits, an exponent only below 1e-6 and from 1e21 on.

Three ways, the cheapest that holds: whole numbers below 2^53 are exact as integers. A number of at most 15 digits is
what rint(v · 10^k) finds, if it divided by 10^k gives v again: both are exact up to 2^53 and 10^22, so the quotient is
the nearest float64, and of the decimals of 15 digits no two have the same. All others go through Schubfach (Raffaello
Giulietti, "The Schubfach way to render doubles", 2020): the bounds of what rounds to v, times a power of ten of 128
bits, rounded to odd, decide between at most three candidates.

Functions write from `text[at]` on and return where they ended. They may write up to VALUE_ROOM bytes, of which those
beyond the end are of no meaning. Text is written eight digits at a time.
"""

import numpy as np

from meterhall.compiled.jit import inlined, routine
from meterhall.compiled.words import (
    Text,
    Word,
    high_product,
    signed,
    store,
    zeros_first,
    zeros_last,
)

VALUE_ROOM = 40

# `-0.0000012345678901234567` or so: the longest spelling.
VALUE_CHARS_MAX = 25

_DIGITS = Word(0x3030303030303030)  # ASCII of eight zeros.
_E4, _E8, _E16 = Word(10**4), Word(10**8), Word(10**16)
_0, _1, _2, _4, _8, _10, _16, _20, _32, _52 = (Word(n) for n in (0, 1, 2, 4, 8, 10, 16, 20, 32, 52))
_40, _100 = Word(40), Word(100)
_TEN_THOUSAND_103RDS, _PAIRS_MASK = Word(10_486), Word(0x0000_007F_0000_007F)
_TEN_103RDS, _SINGLES_MASK = Word(103), Word(0x000F_000F_000F_000F)

_FRACTION, _HIDDEN, _EXPONENT, _ABSOLUTE = (
    Word(n) for n in ((1 << 52) - 1, 1 << 52, 0x7FF, (1 << 63) - 1)
)
_WHOLE_MAX = float(1 << 53)
# Between these a number may have 15 digits that a power of ten up to 10^22 makes whole.
_SHORT_MIN, _SHORT_MAX = 1e-6, 1e15

_POWERS = np.array([float(10**n) for n in range(23)])
_TENS_MIN = -6
_TENS = np.array([float(f"1e{n}") for n in range(_TENS_MIN, 17)])


def _power(exponent: int) -> tuple[int, int]:
    """10^exponent · 2^n, rounded up, as two words of which the first has its highest bit set."""
    wide: int = 10**exponent << 200 if exponent >= 0 else -(-(1 << 1500) // 10**-exponent)
    surplus = wide.bit_length() - 128
    return divmod(-(-wide >> surplus), 1 << 64)


_SHIFTED_MIN, _SHIFTED_MAX = -292, 324
_SHIFTED = np.array([_power(n) for n in range(_SHIFTED_MIN, _SHIFTED_MAX + 1)], Word)

_MINUS, _PLUS, _POINT, _E = (ord(sign) for sign in "-+.e")
_ZERO = ord("0")
_WORD_NAN, _WORD_INF = (Word(int.from_bytes(word, "little")) for word in (b"NaN", b"Inf"))


@inlined
def _eight(number: Word) -> Word:
    """The digits of a number below 10^8, one a byte, the first one first: halves, pairs, digits."""
    half = number // _E4
    halves = half | ((number - half * _E4) << _32)
    pair = ((halves * _TEN_THOUSAND_103RDS) >> _20) & _PAIRS_MASK
    pairs = pair | ((halves - pair * _100) << _16)
    single = ((pairs * _TEN_103RDS) >> _10) & _SINGLES_MASK
    return single | ((pairs - single * _10) << _8)


@inlined
def write_whole(text: Text, at: int, number: Word) -> int:
    """A whole number below 10^16."""
    tail = number
    if number >= _E8:
        tail = number // _E8
    digits = _eight(tail)
    zeros = zeros_first(digits) if digits else 7
    store(text, at, (digits | _DIGITS) >> Word(8 * zeros))
    at += 8 - zeros
    if number >= _E8:
        store(text, at, _eight(number - tail * _E8) | _DIGITS)
        at += 8
    return at


@inlined
def _write_exponent(text: Text, at: int, exponent: int) -> int:
    """`e-07`, `e+308`: two digits at least."""
    text[at] = _E
    text[at + 1] = _MINUS if exponent < 0 else _PLUS
    at += 2
    size = abs(exponent)
    if size >= 100:
        text[at] = _ZERO + size // 100
        at += 1
    text[at] = _ZERO + size // 10 % 10
    text[at + 1] = _ZERO + size % 10
    return at + 2


@inlined
def _write_digits(text: Text, at: int, first: Word, middle: Word, last: Word) -> None:
    text[at] = _ZERO + first
    store(text, at + 1, middle | _DIGITS)
    store(text, at + 9, last | _DIGITS)


@inlined
def _write_decimal(text: Text, at: int, digits: Word, exponent: int) -> int:
    """A number of 17 digits, zeros at its end among them, of which the first counts 10^exponent."""
    first = digits // _E16
    rest = digits - first * _E16
    upper = rest // _E8
    middle, last = _eight(upper), _eight(rest - upper * _E8)
    count = 17 - zeros_last(last) if last else 9 - zeros_last(middle)
    if exponent < -6 or exponent > 20:
        _write_digits(text, at + 1, first, middle, last)
        text[at] = text[at + 1]
        text[at + 1] = _POINT
        return _write_exponent(text, at + (count + 1 if count > 1 else 1), exponent)
    if exponent < 0:
        store(text, at, _DIGITS)
        text[at + 1] = _POINT
        _write_digits(text, at + 1 - exponent, first, middle, last)
        return at + 1 - exponent + count
    if count <= exponent + 1:
        _write_digits(text, at, first, middle, last)
        store(text, at + 17, _DIGITS)
        return at + exponent + 1
    _write_digits(text, at + 1, first, middle, last)
    for place in range(at, at + exponent + 1):
        text[place] = text[place + 1]
    text[at + exponent + 1] = _POINT
    return at + count + 1


@inlined
def _odd_product(upper: Word, lower: Word, factor: Word) -> Word:
    """upper:lower · factor / 2^128, rounded to odd."""
    carried = high_product(lower, factor)
    low = upper * factor + carried
    high = high_product(upper, factor) + (_1 if low < carried else _0)
    odd: Word = high | (_1 if low > _1 else _0)
    return odd


@routine
def _shortest(bits: Word) -> tuple[Word, int]:
    """Digits and exponent of a finite number above zero: digits · 10^exponent."""
    fraction, biased = bits & _FRACTION, signed((bits >> _52) & _EXPONENT)
    significand = fraction | _HIDDEN if biased else fraction
    binary = (biased or 1) - 1075
    # The neighbour below a power of two is nearer than the one above.
    closer = fraction == _0 and biased > 1
    # floor(log10(2^binary)), or of three quarters of it; floor(log2(10^-exponent)).
    exponent = (binary * 1_262_611 - (524_031 if closer else 0)) >> 22
    shift = Word(binary + ((-exponent * 1_741_647) >> 19) + 1)
    upper, lower = _SHIFTED[-exponent - _SHIFTED_MIN, 0], _SHIFTED[-exponent - _SHIFTED_MIN, 1]
    quadruple = significand << _2
    value = _odd_product(upper, lower, quadruple << shift)
    # Of an even number the bounds themselves round to it.
    outside = significand & _1
    below = quadruple - (_1 if closer else _2)
    least = _odd_product(upper, lower, below << shift) + outside
    most = _odd_product(upper, lower, (quadruple + _2) << shift) - outside
    whole = value >> _2
    if whole >= _10:
        tens = whole // _10
        down_fits, up_fits = least <= _40 * tens, _40 * tens + _40 <= most
        if down_fits != up_fits:
            return tens + (_1 if up_fits else _0), exponent + 1
    down_fits, up_fits = least <= whole << _2, (whole << _2) + _4 <= most
    if down_fits != up_fits:
        return whole + (_1 if up_fits else _0), exponent
    middle = (whole << _2) + _2
    up = value > middle or (value == middle and (whole & _1) == _1)
    return whole + (_1 if up else _0), exponent


@inlined
def write_value(text: Text, at: int, value: float, bits: Word) -> int:
    """A number, given as itself and as its bits."""
    if not abs(value) < np.inf:
        if np.isnan(value):
            store(text, at, _WORD_NAN)
            return at + 3
        text[at] = _MINUS if value < 0 else _PLUS
        store(text, at + 1, _WORD_INF)
        return at + 4
    if bits > _ABSOLUTE:
        text[at] = _MINUS
        at += 1
        value, bits = -value, bits & _ABSOLUTE
    if value < _WHOLE_MAX:
        whole = np.int64(value)
        if float(whole) == value:
            return write_whole(text, at, Word(whole))
        if _SHORT_MIN <= value < _SHORT_MAX:
            # floor(log10(value)), or one less.
            exponent = ((signed(bits >> _52) - 1023) * 1233) >> 12
            if value >= _TENS[exponent + 1 - _TENS_MIN]:
                exponent += 1
            power = _POWERS[14 - exponent]
            scaled = np.rint(value * power)
            if scaled / power == value:
                return _write_decimal(text, at, Word(np.int64(scaled)) * _100, exponent)
    digits, exponent = _shortest(bits)
    exponent += 16
    while digits < _E16:
        digits *= _10
        exponent -= 1
    return _write_decimal(text, at, digits, exponent)
