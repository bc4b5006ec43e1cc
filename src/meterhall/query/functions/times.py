"""time(), timestamp(), dates, and the experimental start(), end(), range() and step()."""

from collections.abc import Callable

import numpy as np

from meterhall.promql.nodes import VectorSelector
from meterhall.query.frame import Frame, Value
from meterhall.query.functions.invocation import Function, Invocation, renamed
from meterhall.query.kernels import calendar


def dated(part: Callable[[calendar.Seconds], calendar.Seconds]) -> Function:
    """A part of the date, of the argument's values or else of the evaluation time."""

    def evaluate(call: Invocation) -> Value:
        if not call.argument_count():
            values = calendar.of_values(part, call.steps.seconds())
            return Frame([()], values[None, :], None)
        frame = call.vector(0)
        return renamed(frame, calendar.of_values(part, frame.values))

    return evaluate


def timestamp(call: Invocation) -> Value:
    """The time of each point: of the sample itself for a selector, else the evaluation time."""
    node = call.bare(0)
    if isinstance(node, VectorSelector):
        frame = call.operands.sample_times(node, call.steps)
        return renamed(frame, frame.values)
    frame = call.vector(0)
    return renamed(frame, np.broadcast_to(call.steps.seconds(), frame.values.shape))


def _constant(value: Callable[[Invocation], float]) -> Function:
    def evaluate(call: Invocation) -> Value:
        return np.full(call.steps.count, value(call))

    return evaluate


TIMES: dict[str, Function] = {
    "time": lambda call: call.steps.seconds(),
    "timestamp": timestamp,
    "year": dated(calendar.year),
    "month": dated(calendar.month),
    "day_of_month": dated(calendar.day_of_month),
    "day_of_week": dated(calendar.day_of_week),
    "day_of_year": dated(calendar.day_of_year),
    "days_in_month": dated(calendar.days_in_month),
    "hour": dated(calendar.hour),
    "minute": dated(calendar.minute),
    "pi": _constant(lambda _: np.pi),
    "start": _constant(lambda call: call.operands.edges.start_ms / 1000.0),
    "end": _constant(lambda call: call.operands.edges.end_ms / 1000.0),
    "range": _constant(
        lambda call: (call.operands.edges.end_ms - call.operands.edges.start_ms) / 1000.0
    ),
    "step": _constant(lambda call: call.operands.query_step_ms / 1000.0),
}
