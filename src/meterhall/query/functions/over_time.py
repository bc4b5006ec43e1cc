"""The *_over_time family, changes and resets."""

from collections.abc import Callable

import numpy as np

from meterhall.model.samples import ValueArray
from meterhall.query.frame import IndexArray, Value
from meterhall.query.functions.invocation import Function, Invocation, nameless, over_windows
from meterhall.query.kernels import clocked, over_time, summation
from meterhall.query.kernels.boundaries import anchored_values, bounded
from meterhall.query.kernels.clocked import Fused
from meterhall.query.kernels.windows import BoolArray, Windows

# A sample of a window that is sorted anew takes so many times what one takes that is only looked at.
_SORTING = 16

# What one window is worth, where it holds a sample.
_Measure = Callable[[Windows], ValueArray | IndexArray]


def measured(
    measure: _Measure, fused: Fused | None = None, *, keeps_name: bool = False
) -> Function:
    """A function whose result is there wherever the window holds a sample."""

    def kernel(windows: Windows) -> tuple[ValueArray | IndexArray, BoolArray]:
        return measure(windows), windows.count > 0

    def evaluate(call: Invocation) -> Value:
        frame = over_windows(call.range_vector(0), kernel, fused)
        return frame if keeps_name else nameless(frame)

    return evaluate


def counted(measure: _Measure) -> Function:
    """A function of what happens between samples, which may begin at an anchor."""
    plain = measured(measure)

    def evaluate(call: Invocation) -> Value:
        vector = call.range_vector(0)
        if not vector.anchored:
            return plain(call)

        def kernel(windows: Windows) -> tuple[ValueArray | IndexArray, BoolArray]:
            found = bounded(windows, vector.ends, vector.range_ms, smoothed=False)
            return measure(anchored_values(found)), found.present

        return nameless(over_windows(vector, kernel))

    return evaluate


def quantile_over_time(call: Invocation) -> Value:
    """A quantile of each window's values."""
    at = call.scalar(0)
    frame = over_windows(
        call.range_vector(1),
        lambda windows: (over_time.quantile(windows, at), windows.count > 0),
        clocked.quantiles(at),
        visit_cost=_SORTING,
    )
    # Prometheus looks at the quantile only where there is something to take it of.
    note_invalid_quantiles(call, at[frame.mask().any(axis=0)], 0)
    return nameless(frame)


def note_invalid_quantiles(call: Invocation, at: ValueArray, argument: int) -> None:
    """Warn of each distinct quantile outside [0, 1] of an argument."""
    for value in np.unique(at[~((at >= 0) & (at <= 1))]).tolist():
        call.annotations.invalid_quantile(value, call.argument_span(argument))


def _one(windows: Windows) -> ValueArray:
    return np.ones(windows.lo.shape)


def _count(windows: Windows) -> IndexArray:
    return windows.count


def _first_time(windows: Windows) -> ValueArray:
    return np.asarray(windows.pick(windows.times, windows.lo) / 1000.0)


def _last_time(windows: Windows) -> ValueArray:
    return np.asarray(windows.pick(windows.times, windows.hi - 1) / 1000.0)


OVER_TIME: dict[str, Function] = {
    "sum_over_time": measured(summation.window_sums, clocked.totals(mean=False)),
    "avg_over_time": measured(summation.window_means, clocked.totals(mean=True)),
    "min_over_time": measured(over_time.minimum, clocked.extremes(greatest=False)),
    "max_over_time": measured(over_time.maximum, clocked.extremes(greatest=True)),
    "count_over_time": measured(_count),
    "present_over_time": measured(_one),
    "last_over_time": measured(Windows.last, keeps_name=True),
    "first_over_time": measured(Windows.first, keeps_name=True),
    "stdvar_over_time": measured(over_time.variance),
    "stddev_over_time": measured(lambda windows: np.sqrt(over_time.variance(windows))),
    "mad_over_time": measured(over_time.deviation),
    "quantile_over_time": quantile_over_time,
    "changes": counted(over_time.changes),
    "resets": counted(over_time.resets),
    "ts_of_first_over_time": measured(_first_time),
    "ts_of_last_over_time": measured(_last_time),
    "ts_of_min_over_time": measured(
        lambda windows: over_time.extreme_times(windows, greatest=False) / 1000.0
    ),
    "ts_of_max_over_time": measured(
        lambda windows: over_time.extreme_times(windows, greatest=True) / 1000.0
    ),
}
