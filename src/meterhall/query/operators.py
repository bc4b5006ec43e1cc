"""Arithmetic and comparison of float64 arrays, as Go's float64 and math package do it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ValueArray

Arithmetic = Callable[[ValueArray, ValueArray], NDArray[Any]]

ARITHMETIC: dict[str, Arithmetic] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
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
