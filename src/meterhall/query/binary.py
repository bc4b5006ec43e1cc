"""Operators: arithmetic and comparison as Go's float64 and math package do it, with a scalar on a side.

Two vectors meet in `matching`, which uses the same tables.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ValueArray
from meterhall.query.frame import Frame, compact, merged, unnamed

Arithmetic = Callable[[ValueArray, ValueArray], NDArray[Any]]


def _power(base: ValueArray, exponent: ValueArray) -> NDArray[Any]:
    """As Go's math.Pow. NumPy takes the square root for an exponent of 0.5, which -Inf has none of."""
    result = np.asarray(np.power(base, exponent))
    if np.any(exponent == 0.5):
        return np.where((base == -np.inf) & (exponent == 0.5), np.inf, result)
    return result


def _angle(y: ValueArray, x: ValueArray) -> NDArray[Any]:
    """As Go's math.Atan2, which loses the sign of a quotient that underflows."""
    result = np.asarray(np.arctan2(y, x))
    lost = (y < 0) & (x < 0) & np.isfinite(x)
    return np.where(lost & (y / x == 0), np.pi, result) if np.any(lost) else result


ARITHMETIC: dict[str, Arithmetic] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": _power,
    "atan2": _angle,
}

COMPARISON: dict[str, Arithmetic] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}

SET_OPERATORS = frozenset(("and", "or", "unless"))


def scalar_operation(op: str, lhs: ValueArray, rhs: ValueArray) -> ValueArray:
    """An operator between scalars; comparisons give 1 or 0."""
    return np.asarray((ARITHMETIC.get(op) or COMPARISON[op])(lhs, rhs), np.float64)


def scalar_with_vector(
    op: str, frame: Frame, scalar: ValueArray, *, swapped: bool, return_bool: bool
) -> Frame:
    """`frame op scalar[T]`, or `scalar op frame` where `swapped`. Filters keep the vector's values."""
    left, right = (scalar, frame.values) if swapped else (frame.values, scalar)
    if op in ARITHMETIC:
        return merged(unnamed(Frame(frame.labels, ARITHMETIC[op](left, right), frame.present)))
    keep = COMPARISON[op](left, right)
    if return_bool:
        return merged(unnamed(Frame(frame.labels, keep.astype(np.float64), frame.present)))
    return compact(frame.masked(keep))
