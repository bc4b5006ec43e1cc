"""Whether an answer is what a promqltest script expects: values, order, annotations.

Follows compareResult, checkAnnotations and almost.Equal of Prometheus. Every check gives None, or a
text `got … want …`.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.regex import compile_pattern
from meterhall.model.samples import STALE_BITS
from meterhall.query.promqltest_script import Eval, Expectations, TextExpectation
from meterhall.query.promqltest_values import Histogram, SeriesLine, metric_of
from meterhall.query.result import (
    GridResult,
    QueryResult,
    QueryValue,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)

NO_HISTOGRAMS = "native histograms are not supported yet"
_EPSILON = 1e-6
_TINY = sys.float_info.min

Points = dict[int, float]


def almost_equal(left: float, right: float) -> bool:
    """Equal to about six digits; NaN equals NaN, a staleness marker only itself."""
    stale = (_is_stale(left), _is_stale(right))
    if any(stale):
        return all(stale)
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if left == right:
        return True
    apart = abs(left - right)
    total = abs(left) + abs(right)
    if left == 0 or right == 0 or total < _TINY:
        return apart < _EPSILON * _TINY
    return apart / min(total, sys.float_info.max) < _EPSILON


def check_value(value: QueryValue, command: Eval) -> str | None:
    """Compares the answer of the command's own query."""
    expect = command.expect
    if isinstance(value, StringResult):
        return _differs(value.value, expect.string)
    if isinstance(value, ScalarResult):
        return check_scalar(value.value, expect)
    if expect.scalar is not None or expect.string is not None:
        want = expect.scalar if expect.string is None else expect.string
        return f"got {_kind(value)} want {want!r}"
    if isinstance(value, VectorResult):
        return check_vector(list(zip(value.labels, value.values.tolist(), strict=True)), expect)
    times = _expected_times(command)
    if times is None:
        return f"got {_kind(value)} want an instant vector"
    got = list(_series_of(value))
    return _check_order([labels for labels, _ in got]) or _check_matrix(dict(got), expect, times)


def check_scalar(value: float, expect: Expectations) -> str | None:
    """Compares a scalar with a bare number."""
    if expect.scalar is None:
        return f"got scalar {value!r} want {len(expect.series)} series"
    return None if almost_equal(value, expect.scalar) else _got_want(value, expect.scalar)


def check_vector(got: Sequence[tuple[Labels, float]], expect: Expectations) -> str | None:
    """Compares an instant vector with the series lines, in order where that is expected."""
    wanted = {line.labels: line for line in expect.series}
    seen: dict[Labels, float] = {}
    for position, (labels, value) in enumerate(got):
        line = wanted.get(labels)
        if line is None:
            return f"got unexpected {metric_of(labels)} {value!r} want {_listed(wanted)}"
        if labels in seen:
            return f"got {metric_of(labels)} twice want it once"
        if expect.ordered and expect.series[position].labels != labels:
            want = metric_of(expect.series[position].labels)
            return f"got {metric_of(labels)} at position {position + 1} want {want}"
        want_value = line.values[0] if line.values else None
        if isinstance(want_value, Histogram):
            return f"got {metric_of(labels)} {value!r} want a histogram: {NO_HISTOGRAMS}"
        if want_value is None or not almost_equal(value, want_value):
            return f"got {metric_of(labels)} {value!r} want {want_value!r}"
        seen[labels] = value
    return _missing(wanted, seen)


def check_annotations(result: QueryResult, expect: Expectations) -> str | None:
    """Compares warnings and infos where the script speaks of them."""
    return _check_texts("warning", result.warnings, expect.warns, excluded=expect.no_warn) or (
        _check_texts("info", result.infos, expect.infos, excluded=expect.no_info)
    )


def text_matches(text: str, want: TextExpectation) -> bool:
    """Whether a text is the one that is expected. Raises BadInput on a bad pattern."""
    if want.msg is not None:
        return text == want.msg
    return want.regex is None or compile_pattern(want.regex).search(text) is not None


def _check_texts(
    kind: str, texts: Sequence[str], wants: Sequence[TextExpectation], *, excluded: bool
) -> str | None:
    if excluded and texts:
        return f"got {kind} {texts[0]!r} want none"
    if not wants:
        return None
    for want in wants:
        if not any(text_matches(text, want) for text in texts):
            return f"got {kind}s {list(texts)!r} want {want.msg or want.regex or 'one'!r}"
    for text in texts:
        if not any(text_matches(text, want) for want in wants):
            return f"got unexpected {kind} {text!r} want {[w.msg or w.regex for w in wants]!r}"
    return None


def _expected_times(command: Eval) -> tuple[int, int] | None:
    """Start and step of the expected points."""
    if command.step_ms is not None:
        return command.start_ms, command.step_ms
    if command.expect.range_vector is not None:
        start_ms, _, step_ms = command.expect.range_vector
        return start_ms, step_ms
    return None


def _series_of(value: GridResult | RaggedResult) -> Iterator[tuple[Labels, Points]]:
    if isinstance(value, RaggedResult):
        for labels, times, values in zip(value.labels, value.times, value.values, strict=True):
            yield labels, dict(zip(times.tolist(), values.tolist(), strict=True))
        return
    times = value.times.tolist()
    for row, labels in enumerate(value.labels):
        cells = value.values[row].tolist()
        there = [True] * len(times) if value.present is None else value.present[row].tolist()
        yield labels, {t: v for t, v, is_there in zip(times, cells, there, strict=True) if is_there}


def _check_order(labels: Sequence[Labels]) -> str | None:
    for first, second in pairwise(labels):
        if not first < second:
            return f"got {metric_of(first)} before {metric_of(second)} want series sorted by labels"
    return None


def _check_matrix(
    got: Mapping[Labels, Points], expect: Expectations, times: tuple[int, int]
) -> str | None:
    wanted = {line.labels: line for line in expect.series}
    for labels, points in got.items():
        line = wanted.get(labels)
        if line is None:
            return f"got unexpected {metric_of(labels)} want {_listed(wanted)}"
        fault = _check_points(points, line, times)
        if fault is not None:
            return f"{metric_of(labels)}: {fault}"
    return _missing(wanted, got)


def _check_points(points: Points, line: SeriesLine, times: tuple[int, int]) -> str | None:
    start_ms, step_ms = times
    wanted = {
        start_ms + index * step_ms: value
        for index, value in enumerate(line.values)
        if value is not None
    }
    for time_ms in sorted(points.keys() | wanted.keys()):
        got, want = points.get(time_ms), wanted.get(time_ms)
        if isinstance(want, Histogram):
            return f"got {got!r} want a histogram at {time_ms} ms: {NO_HISTOGRAMS}"
        if got is None or want is None or not almost_equal(got, want):
            return f"got {got!r} want {want!r} at {time_ms} ms"
    return None


def _missing(wanted: Mapping[Labels, SeriesLine], got: Mapping[Labels, object]) -> str | None:
    for labels, line in wanted.items():
        if labels not in got and any(value is not None for value in line.values):
            hint = f": {NO_HISTOGRAMS}" if _has_histogram(line) else ""
            return f"got nothing want {metric_of(labels)} {_first(line)}{hint}"
    return None


def _has_histogram(line: SeriesLine) -> bool:
    return any(isinstance(value, Histogram) for value in line.values)


def _first(line: SeriesLine) -> str:
    shown = [value for value in line.values if value is not None][:3]
    return " ".join("a histogram" if isinstance(v, Histogram) else repr(v) for v in shown)


def _listed(wanted: Mapping[Labels, SeriesLine]) -> str:
    if not wanted:
        return "nothing"
    shown = ", ".join(metric_of(labels) for labels in list(wanted)[:3])
    return f"one of {len(wanted)} series: {shown}"


def _kind(value: QueryValue) -> str:
    if isinstance(value, VectorResult):
        return f"an instant vector of {len(value.labels)} series"
    if isinstance(value, GridResult | RaggedResult):
        return f"a matrix of {len(value.labels)} series"
    return repr(value.value)


def _differs(got: object, want: object) -> str | None:
    return None if got == want else _got_want(got, want)


def _got_want(got: object, want: object) -> str:
    return f"got {got!r} want {want!r}"


def _is_stale(value: float) -> bool:
    return int(np.float64(value).view(np.uint64)) == STALE_BITS
