"""Arithmetic and comparison of float64 arrays, as Go's float64 and math package do it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ValueArray

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
