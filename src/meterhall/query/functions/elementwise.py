"""Functions that map each value of an instant vector by itself."""

from collections.abc import Callable

import numpy as np

from meterhall.model.samples import ValueArray
from meterhall.query.frame import Frame, Value, empty_frame
from meterhall.query.functions.invocation import Function, Invocation, renamed


def mapped(operation: Callable[[ValueArray], ValueArray]) -> Function:
    """A function of one vector."""

    def evaluate(call: Invocation) -> Value:
        frame = call.vector(0)
        return renamed(frame, operation(frame.values))

    return evaluate


def go_max(left: ValueArray, right: ValueArray) -> ValueArray:
    """math.Max: NaN wins over everything but +Inf, and 0 over -0."""
    infinite = (left == np.inf) | (right == np.inf)
    zeros = (left == 0) & (right == 0)
    return np.where(infinite, np.inf, np.where(zeros, left + right, np.maximum(left, right)))


def go_min(left: ValueArray, right: ValueArray) -> ValueArray:
    """math.Min: NaN wins over everything but -Inf, and -0 over 0."""
    infinite = (left == -np.inf) | (right == -np.inf)
    zeros = (left == 0) & (right == 0)
    return np.where(infinite, -np.inf, np.where(zeros, -(-left - right), np.minimum(left, right)))


def clamp(call: Invocation) -> Value:
    """Values held between two scalars; nothing at steps where the lower is above the upper."""
    frame = call.vector(0)
    lower, upper = call.scalar(1), call.scalar(2)
    crossed = upper < lower
    if crossed.all():
        return empty_frame(call.steps.count)
    result = renamed(frame, go_max(lower, go_min(upper, frame.values)))
    if crossed.any():
        return result.masked(np.broadcast_to(~crossed, result.values.shape))
    return result


def clamp_min(call: Invocation) -> Value:
    """Values not below a scalar."""
    frame = call.vector(0)
    return renamed(frame, go_max(call.scalar(1), frame.values))


def clamp_max(call: Invocation) -> Value:
    """Values not above a scalar."""
    frame = call.vector(0)
    return renamed(frame, go_min(call.scalar(1), frame.values))


def round_to(call: Invocation) -> Value:
    """Values rounded half up to a multiple of the second argument (default 1)."""
    frame = call.vector(0)
    nearest = call.scalar(1) if call.argument_count() > 1 else np.ones(call.steps.count)
    # Multiplying with the inverse is what Prometheus does: 0.1 has a better inverse than itself.
    inverse = 1.0 / nearest
    return renamed(frame, np.floor(frame.values * inverse + 0.5) / inverse)


def _sign(values: ValueArray) -> ValueArray:
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


def _degrees(values: ValueArray) -> ValueArray:
    return values * 180.0 / np.pi


def _radians(values: ValueArray) -> ValueArray:
    return values * np.pi / 180.0


def _to_frame(call: Invocation) -> Value:
    return Frame([()], call.scalar(0)[None, :], None)


ELEMENTWISE: dict[str, Function] = {
    "abs": mapped(np.abs),
    "ceil": mapped(np.ceil),
    "floor": mapped(np.floor),
    "exp": mapped(np.exp),
    "sqrt": mapped(np.sqrt),
    "ln": mapped(np.log),
    "log2": mapped(np.log2),
    "log10": mapped(np.log10),
    "sin": mapped(np.sin),
    "cos": mapped(np.cos),
    "tan": mapped(np.tan),
    "asin": mapped(np.arcsin),
    "acos": mapped(np.arccos),
    "atan": mapped(np.arctan),
    "sinh": mapped(np.sinh),
    "cosh": mapped(np.cosh),
    "tanh": mapped(np.tanh),
    "asinh": mapped(np.arcsinh),
    "acosh": mapped(np.arccosh),
    "atanh": mapped(np.arctanh),
    "deg": mapped(_degrees),
    "rad": mapped(_radians),
    "sgn": mapped(_sign),
    "clamp": clamp,
    "clamp_min": clamp_min,
    "clamp_max": clamp_max,
    "round": round_to,
    "vector": _to_frame,
}
