"""rate, increase, delta, irate, idelta, deriv, predict_linear and Holt's smoothing."""

from collections.abc import Callable

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.labels import METRIC_NAME, label_value
from meterhall.model.samples import ValueArray
from meterhall.query.frame import Frame, Value
from meterhall.query.functions.invocation import Function, Invocation, nameless, over_windows
from meterhall.query.kernels import clocked, over_time, rates
from meterhall.query.kernels.boundaries import bounded, gain
from meterhall.query.kernels.windows import BoolArray, Windows

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


def extrapolating(*, counter: bool, per_second: bool) -> Function:
    """rate, increase or delta."""

    def evaluate(call: Invocation) -> Value:
        vector = call.range_vector(0)

        def between_edges(windows: Windows) -> tuple[ValueArray, BoolArray]:
            found = bounded(windows, vector.ends, vector.range_ms, smoothed=vector.smoothed)
            gained = gain(found, counter=counter)
            return gained / (vector.range_ms / 1000.0 if per_second else 1.0), found.present

        def extrapolated(windows: Windows) -> tuple[ValueArray, BoolArray]:
            return rates.extrapolated(
                windows, vector.ends, vector.range_ms, counter=counter, per_second=per_second
            )

        if vector.anchored or vector.smoothed:
            frame = over_windows(vector, between_edges)
        else:
            fused = clocked.extrapolated(
                vector.ends, vector.range_ms, counter=counter, per_second=per_second
            )
            frame = over_windows(vector, extrapolated, fused)
        if counter:
            _note_non_counters(call, frame)
        return nameless(frame)

    return evaluate


def instantaneous(*, counter: bool, per_second: bool) -> Function:
    """irate or idelta."""

    def evaluate(call: Invocation) -> Value:
        return nameless(
            over_windows(
                call.range_vector(0),
                lambda windows: rates.instant(windows, counter=counter, per_second=per_second),
            )
        )

    return evaluate


def deriv(call: Invocation) -> Value:
    """The slope of a least-squares line, per second."""

    def slope(windows: Windows) -> tuple[ValueArray, BoolArray]:
        found, _, here = over_time.regression(windows, None)
        return found, here

    return nameless(over_windows(call.range_vector(0), slope))


def predict_linear(call: Invocation) -> Value:
    """The least-squares line's value so many seconds after each evaluation time."""
    ahead_s = call.scalar(1)
    now_ms = call.steps.times()

    def value(windows: Windows) -> tuple[ValueArray, BoolArray]:
        slope, intercept, here = over_time.regression(windows, now_ms)
        return slope * ahead_s + intercept, here

    return nameless(over_windows(call.range_vector(0), value))


def double_exponential_smoothing(call: Invocation) -> Value:
    """Holt-Winters without seasons; both factors lie strictly between 0 and 1."""
    smoothing, trend = call.scalar(1), call.scalar(2)

    def value(windows: Windows) -> tuple[ValueArray, BoolArray]:
        seen = np.broadcast_to(windows.count > 0, windows.shape).any(axis=0)
        _check_factors("smoothing", "sf", smoothing[seen])
        _check_factors("trend", "tf", trend[seen])
        return over_time.smoothed(windows, smoothing, trend)

    return nameless(over_windows(call.range_vector(0), value))


def _check_factors(kind: str, symbol: str, factors: ValueArray) -> None:
    """Refuses what Prometheus refuses, which looks at factors only where there is something to smooth."""
    wrong = (factors <= 0) | (factors >= 1)
    if wrong.any():
        raise QueryError(
            f"invalid {kind} factor. Expected: 0 < {symbol} < 1, got: {factors[np.argmax(wrong)]:f}"
        )


def _note_non_counters(call: Invocation, frame: Frame) -> None:
    names = {label_value(labels, METRIC_NAME): None for labels in frame.labels}
    for name in names:
        if name and not name.endswith(_COUNTER_SUFFIXES):
            call.annotations.possible_non_counter(name, call.argument_span(0))


RATES: dict[str, Callable[[Invocation], Value]] = {
    "rate": extrapolating(counter=True, per_second=True),
    "increase": extrapolating(counter=True, per_second=False),
    "delta": extrapolating(counter=False, per_second=False),
    "irate": instantaneous(counter=True, per_second=True),
    "idelta": instantaneous(counter=False, per_second=False),
    "deriv": deriv,
    "predict_linear": predict_linear,
    "double_exponential_smoothing": double_exponential_smoothing,
}
