"""The way in: a checked tree, a reader and a budget give a QueryResult.

`instant` and `range` run wholly in the caller's thread and touch no clock but the budget's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.labels import METRIC_NAME, Labels
from meterhall.model.matcher import MatchOp
from meterhall.model.ordering import in_order
from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.ports.series import SeriesReader
from meterhall.promql.durations import resolve
from meterhall.promql.nodes import Expr, MatrixSelector, SubqueryExpr, VectorSelector
from meterhall.query.annotations import Annotations
from meterhall.query.budget import TOO_MANY_SAMPLES, Budget
from meterhall.query.evaluator import Evaluator, Horizon
from meterhall.query.frame import SAME_LABELSET, Frame, Steps, Value, compact, has_duplicates
from meterhall.query.functions.invocation import unwrapped
from meterhall.query.kernels.windows import Windows
from meterhall.query.result import (
    GridResult,
    HeldRange,
    QueryResult,
    QueryValue,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)
from meterhall.query.selectors import (
    FEW_SERIES,
    QueryRange,
    RangeVector,
    few_at_hand,
    last_of_few,
    newest_of_few,
)

# `at_once` answers with no more series than this, `range_at_once` with no more points either.
AT_ONCE_SERIES_MAX = FEW_SERIES
AT_ONCE_POINTS_MAX = 2048


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What holds for all queries. Prometheus' defaults: --query.lookback-delta, and 1m subqueries."""

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000


class Engine:
    """Evaluates queries. Holds options only, so one engine serves all threads."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options

    def instant(
        self,
        reader: SeriesReader,
        expr: Expr,
        text: str,
        time_ms: int,
        budget: Budget,
        lookback_ms: int | None = None,
    ) -> QueryResult:
        """The value of `expr` at one time. Raises QueryError.

        `text` is what `expr` was parsed from, for the positions of annotations.
        """
        steps = Steps(time_ms, 1, 1)
        expr = resolve(expr, time_ms, time_ms, 0)
        evaluator = Evaluator(expr, reader, self._horizon(steps, 0, lookback_ms), text, budget)
        node = unwrapped(expr)
        with _arithmetic():
            if isinstance(node, MatrixSelector | SubqueryExpr):
                value: QueryValue = _ragged(evaluator.range_vector(node, steps), budget)
            else:
                value = _instant(evaluator.value(expr, steps), time_ms)
        return _answer(value, evaluator.annotations, budget)

    def at_once(
        self, reader: SeriesReader, selector: VectorSelector, time_ms: int
    ) -> VectorResult | None:
        """What `instant` answers, where the reader tells it without waiting, reading or searching.

        Takes some microseconds whatever the store holds, so it needs no budget. None where `instant` must find it.
        """
        end_ms = (time_ms if selector.at_ms is None else selector.at_ms) - selector.offset_ms
        newest = newest_of_few(reader, selector, end_ms, self._options.lookback_ms)
        if newest is None:
            return None
        labels, values = [each[0] for each in newest], [each[2] for each in newest]
        return VectorResult(time_ms, labels, np.array(values, np.float64))

    def range_at_once(
        self,
        reader: SeriesReader,
        selector: VectorSelector,
        start_ms: int,
        end_ms: int,
        step_ms: int,
    ) -> HeldRange | None:
        """What `range` answers, likewise, but for looking it up: `looked_up` or `web` does it."""
        count = (end_ms - start_ms) // step_ms + 1
        if count > AT_ONCE_POINTS_MAX:
            return None
        at_ms, stride_ms = selector.at_ms, 0
        if at_ms is None:
            at_ms, stride_ms = start_ms, step_ms
        look_ms, lookback_ms = at_ms - selector.offset_ms, self._options.lookback_ms
        last_ms = look_ms + (count - 1) * stride_ms
        series = few_at_hand(reader, selector, look_ms, last_ms, lookback_ms)
        if series is None or len(series) * count > AT_ONCE_POINTS_MAX:
            return None
        series = sorted(series, key=itemgetter(0))
        return HeldRange(series, start_ms, step_ms, count, look_ms, stride_ms, lookback_ms)

    def looked_up(self, held: HeldRange) -> GridResult:
        """The points of a range; they take a few tens of nanoseconds each."""
        looks = held.look_ms + held.stride_ms * np.arange(held.count)
        grid = Steps(held.start_ms, held.step_ms, held.count)
        return _grid(last_of_few(held.series, looks, held.lookback_ms), grid)

    def range(  # noqa: PLR0913 - the seam that web and the script runner agreed on
        self,
        reader: SeriesReader,
        expr: Expr,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        budget: Budget,
        lookback_ms: int | None = None,
    ) -> QueryResult:
        """The value of `expr` at start, start + step, … not after end. Raises QueryError."""
        assert step_ms > 0, f"bug: step of {step_ms} ms"
        assert start_ms <= end_ms, f"bug: range from {start_ms} to {end_ms}"
        grid = Steps(start_ms, step_ms, (end_ms - start_ms) // step_ms + 1)
        budget.reserve(1, grid.count)
        expr = resolve(expr, start_ms, end_ms, step_ms)
        horizon = self._horizon(grid, step_ms, lookback_ms, end_ms)
        evaluator = Evaluator(expr, reader, horizon, text, budget)
        with _arithmetic():
            value = _grid(evaluator.value(expr, grid), grid)
        return _answer(value, evaluator.annotations, budget)

    def _horizon(
        self, steps: Steps, query_step_ms: int, lookback_ms: int | None, end_ms: int | None = None
    ) -> Horizon:
        return Horizon(
            QueryRange(steps.start_ms, steps.end_ms if end_ms is None else end_ms),
            query_step_ms,
            lookback_ms or self._options.lookback_ms,
            self._options.subquery_step_ms,
        )


def quick_selector(expr: Expr) -> VectorSelector | None:
    """`expr`, where the engine may answer it at once: a name and other equalities, no modifier but offset and `@`."""
    if not isinstance(expr, VectorSelector) or expr.anchored or expr.smoothed:
        return None
    if expr.offset_expr is not None or expr.at_edge is not None:
        return None
    equal = all(matcher.op is MatchOp.EQUAL and matcher.value for matcher in expr.matchers)
    named = any(matcher.name == METRIC_NAME for matcher in expr.matchers)
    return expr if equal and named else None


@contextmanager
def _arithmetic() -> Iterator[None]:
    """Floats as Go's: no warnings. A tree that is too high for Python's stack is refused."""
    try:
        with np.errstate(all="ignore"):
            yield
    except RecursionError:
        raise QueryError("expression is nested too deeply") from None
    except MemoryError:
        raise QueryError(TOO_MANY_SAMPLES) from None


def _answer(value: QueryValue, annotations: Annotations, budget: Budget) -> QueryResult:
    return QueryResult(
        value,
        annotations.warnings,
        annotations.infos,
        budget.samples_read,
        budget.samples_peak,
    )


def _instant(value: Value, time_ms: int) -> QueryValue:
    if isinstance(value, str):
        return StringResult(time_ms, value)
    if not isinstance(value, Frame):
        return ScalarResult(time_ms, float(value[0]))
    frame = compact(value)
    if has_duplicates(frame.labels):
        raise QueryError(SAME_LABELSET)
    return VectorResult(time_ms, frame.labels, np.ascontiguousarray(frame.values[:, 0]))


def _grid(value: Value, grid: Steps) -> GridResult:
    assert not isinstance(value, str), "bug: a range query of a string passed the type check"
    if not isinstance(value, Frame):
        return GridResult([()], grid.times(), value[None, :], None)
    frame = compact(value)
    if len(frame.labels) > 1:
        if has_duplicates(frame.labels):
            raise QueryError(SAME_LABELSET)
        order = _sorted(frame.labels)
        if order != list(range(len(order))):
            frame = frame.rows(np.array(order, np.int64))
    return GridResult(frame.labels, grid.times(), frame.values, frame.present)


def _ragged(vector: RangeVector, budget: Budget) -> RaggedResult:
    """The raw samples of an instant query's windows; there is one step."""
    found: list[tuple[Labels, TimestampArray, ValueArray]] = []
    for tile in vector.tiles():
        for index, row in enumerate(tile.rows.tolist()):
            times, values = _window(tile.windows, index)
            if len(times):
                budget.hold(len(times))
                found.append((vector.labels[row], times, values))
    found.sort(key=lambda entry: entry[0])
    return RaggedResult(
        [labels for labels, _, _ in found],
        [times for _, times, _ in found],
        [values for _, _, values in found],
    )


def _window(windows: Windows, row: int) -> tuple[TimestampArray, ValueArray]:
    if windows.lo.ndim == 1:
        part = slice(int(windows.lo[0]), int(windows.hi[0]))
        return windows.times[part], windows.values[row, part]
    part = slice(int(windows.lo[row, 0]), int(windows.hi[row, 0]))
    return windows.times[part], windows.values[part]


def _sorted(labels: Sequence[Labels]) -> list[int]:
    return in_order(range(len(labels)), key=labels.__getitem__)
