"""histogram_quantile, histogram_quantiles and histogram_fraction on classic buckets.

Native histograms will join here; until then the functions that take only those find nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.labels import METRIC_NAME, Labels, label_value, quote
from meterhall.model.samples import ValueArray
from meterhall.query.annotations import Repairs, format_openmetrics
from meterhall.query.frame import BoolArray, Frame, IndexArray, Value, compact, empty_frame, merged
from meterhall.query.functions.invocation import Function, Invocation
from meterhall.query.functions.labels import is_label_name, with_label
from meterhall.query.functions.over_time import note_invalid_quantiles
from meterhall.query.kernels import buckets
from meterhall.wire.numbers import parse_float

_LE = "le"


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """The buckets of one classic histogram: `rows` of the frame by ascending, possibly equal, bound."""

    labels: Labels
    metric: str
    rows: IndexArray
    bounds: ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points of several histograms of equal bounds whose buckets are all there, one after the other.

    `counts[B, N]` are at `steps[N]`; histogram h has the columns from `edges[h]` to `edges[h + 1]`.
    """

    histograms: Sequence[Histogram]
    bounds: ValueArray
    counts: ValueArray
    steps: IndexArray
    edges: Sequence[int]


_Measure = Callable[[Points], ValueArray]
# Points that are measured at once: their arrays stay in cache.
_POINTS = 1 << 14


def histogram_quantile(call: Invocation) -> Value:
    """The quantile of each histogram at each step."""
    at = call.scalar(0)
    frame = _quantiles(call, call.vector(1), 1, at)
    note_invalid_quantiles(call, at, 0)
    return merged(frame)


def histogram_quantiles(call: Invocation) -> Value:
    """Several quantiles of each histogram, told apart by a label."""
    vector, name = call.vector(0), call.text(1)
    if not is_label_name(name):
        raise QueryError(f"invalid label name {quote(name)}")
    frames: list[Frame] = []
    for argument in range(2, call.argument_count()):
        at = call.scalar(argument)
        frame = _quantiles(call, vector, 0, at)
        note_invalid_quantiles(call, at, argument)
        for bits in np.unique(at.view(np.int64)).tolist():
            text = format_openmetrics(float(np.int64(bits).view(np.float64)))
            labels = [with_label(one, name, text) for one in frame.labels]
            here = np.broadcast_to(at.view(np.int64) == bits, frame.values.shape)
            frames.append(compact(Frame(labels, frame.values, frame.present).masked(here)))
    return merged(
        Frame(
            [labels for frame in frames for labels in frame.labels],
            np.concatenate([frame.values for frame in frames]),
            np.concatenate([frame.mask() for frame in frames]),
        )
    )


def _quantiles(call: Invocation, vector: Frame, argument: int, at: ValueArray) -> Frame:
    times = call.steps.times()

    def measure(points: Points) -> ValueArray:
        bounds, steps = points.bounds, points.steps
        if bounds[-1] != np.inf:
            return buckets.edge_quantiles(np.full(len(steps), np.nan), at[steps])
        fixed = buckets.monotonic(points.counts, bounds)
        if fixed.forced.any():
            note_repairs(points, fixed)
        return buckets.quantile(fixed.counts, bounds, at[steps])

    def note_repairs(points: Points, fixed: buckets.Monotonic) -> None:
        for histogram, begin, end in zip(
            points.histograms, points.edges[:-1], points.edges[1:], strict=True
        ):
            steps = points.steps[begin:end]
            valid = (at[steps] >= 0) & (at[steps] <= 1)
            repairs = _repairs(fixed.some(slice(begin, end)), valid, times[steps])
            if repairs is not None:
                span = call.argument_span(argument)
                call.annotations.repaired_buckets(histogram.metric, span, repairs)

    return _measured(call, vector, argument, measure)


def histogram_fraction(call: Invocation) -> Value:
    """The share of observations between two scalars."""
    lower, upper = call.scalar(0), call.scalar(1)

    def measure(points: Points) -> ValueArray:
        if points.bounds[-1] != np.inf:
            return np.full(len(points.steps), np.nan)
        some = points.steps
        return buckets.fraction(points.counts, points.bounds, lower[some], upper[some])

    return merged(_measured(call, call.vector(2), 2, measure))


def _measured(call: Invocation, frame: Frame, argument: int, measure: _Measure) -> Frame:
    """`measure` of every histogram in `frame`, the call's argument of that number."""
    found = list(_histograms(call, frame, argument))
    values = np.empty((len(found), call.steps.count))
    present = np.zeros(values.shape, np.bool_)
    for alike in _alike(found, call.steps.count):
        call.operands.budget.check()
        histograms = [found[index] for index in alike]
        rows = np.stack([histogram.rows for histogram in histograms], axis=1)
        here = frame.mask()[rows]
        some, every = np.asarray(here.any(axis=0)), here.all(axis=0)
        regular = np.asarray((some == every).all(axis=1))
        numbers = np.array(alike)
        present[numbers] = some
        if regular.any():
            counts = frame.values[rows[:, regular]]
            row, step = np.nonzero(some[regular])
            bounds, counts = _coalesced(histograms[0].bounds, counts[:, row, step])
            edges = np.searchsorted(row, np.arange(int(regular.sum()) + 1)).tolist()
            chosen = [histograms[index] for index in np.flatnonzero(regular).tolist()]
            if len(step):
                points = Points(chosen, bounds, counts, step, edges)
                values[numbers[regular][row], step] = measure(points)
        for index in np.flatnonzero(~regular).tolist():
            _measure_gappy(frame, histograms[index], here[:, index], values[alike[index]], measure)
    return compact(Frame([histogram.labels for histogram in found], values, present))


def _alike(found: Sequence[Histogram], steps: int) -> Iterator[list[int]]:
    """Numbers of histograms that have the same bounds, so many at a time as are measured at once."""
    span = max(1, _POINTS // max(steps, 1))
    by_bounds: dict[bytes, list[int]] = {}
    for index, histogram in enumerate(found):
        by_bounds.setdefault(histogram.bounds.tobytes(), []).append(index)
    for numbers in by_bounds.values():
        for begin in range(0, len(numbers), span):
            yield numbers[begin : begin + span]


def _measure_gappy(
    frame: Frame, histogram: Histogram, here: BoolArray, out: ValueArray, measure: _Measure
) -> None:
    """One histogram that has other buckets at some steps than at others."""
    for steps, rows in _by_presence(here):
        if not rows.any() or not len(steps):
            continue
        counts = frame.values[histogram.rows[rows]][:, steps]
        bounds, counts = _coalesced(histogram.bounds[rows], counts)
        out[steps] = measure(Points([histogram], bounds, counts, steps, [0, len(steps)]))


def _by_presence(here: BoolArray) -> Iterator[tuple[IndexArray, BoolArray]]:
    """Steps that have the same buckets, and which those are. Usually all steps have all."""
    whole = here.all(axis=0)
    if not (here.any(axis=0) & ~whole).any():
        yield np.flatnonzero(whole), np.ones(len(here), np.bool_)
        return
    patterns, which = np.unique(here, axis=1, return_inverse=True)
    for index in range(patterns.shape[1]):
        yield np.flatnonzero(which == index), patterns[:, index]


def _coalesced(bounds: ValueArray, counts: ValueArray) -> tuple[ValueArray, ValueArray]:
    """Buckets of equal bounds made one, their counts added."""
    starts = np.flatnonzero(np.concatenate([[True], bounds[1:] != bounds[:-1]]))
    if len(starts) == len(bounds):
        return bounds, counts
    return bounds[starts], np.add.reduceat(counts, starts, axis=0)


def _histograms(call: Invocation, frame: Frame, argument: int) -> Iterator[Histogram]:
    """The frame's series by all labels but name and `le`; those without a numeric `le` are noted."""
    found: dict[Labels, list[tuple[float, int]]] = {}
    metrics: dict[Labels, str] = {}
    bounds: dict[str, float | None] = {}
    for row, labels in enumerate(frame.labels):
        le = label_value(labels, _LE)
        if le not in bounds:
            bounds[le] = parse_float(le)
        bound = bounds[le]
        metric = label_value(labels, METRIC_NAME)
        if bound is None:
            call.annotations.bad_bucket(metric, le, call.argument_span(argument))
            continue
        rest = tuple([pair for pair in labels if pair[0] not in (METRIC_NAME, _LE)])
        found.setdefault(rest, []).append((bound, row))
        metrics.setdefault(rest, metric)
    for rest, entries in found.items():
        entries.sort(key=lambda entry: entry[0])
        yield Histogram(
            rest,
            metrics[rest],
            np.array([row for _, row in entries], np.int64),
            np.array([bound for bound, _ in entries]),
        )


def _repairs(fixed: buckets.Monotonic, valid: BoolArray, times: IndexArray) -> Repairs | None:
    """What was forced at the steps where the quantile is a valid one."""
    forced = fixed.forced & valid
    if not forced.any():
        return None
    return Repairs(
        float(fixed.bound_min[forced].min()),
        float(fixed.bound_max[forced].max()),
        float(fixed.drop_max[forced].max()),
        int(forced.sum()),
        int(times[forced].min()),
        int(times[forced].max()),
    )


def _nothing(call: Invocation) -> Value:
    call.vector(0)
    return empty_frame(call.steps.count)


HISTOGRAMS: dict[str, Function] = {
    "histogram_quantile": histogram_quantile,
    "histogram_quantiles": histogram_quantiles,
    "histogram_fraction": histogram_fraction,
    "histogram_avg": _nothing,
    "histogram_count": _nothing,
    "histogram_sum": _nothing,
    "histogram_stddev": _nothing,
    "histogram_stdvar": _nothing,
}
