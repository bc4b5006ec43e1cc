"""Binary operators with a scalar on at least one side; vectors on both sides are `matching`'s."""

import numpy as np

from meterhall.model.samples import ValueArray
from meterhall.query.frame import Frame, compact, merged, unnamed
from meterhall.query.operators import ARITHMETIC, COMPARISON, scalar_operation

__all__ = ["scalar_operation", "scalar_with_vector"]


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
