"""Runs promqltest scripts against the engine: Prometheus' own way to state what PromQL means.

Each `eval` is one case. A case of an instant query is checked again as Prometheus' runner does: with every
selector pinned by `@` and evaluated at other times, and as the middle step of a range query. Native
histograms are read and left out of the store; a case that fails after some were left out says so.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from meterhall.model.errors import BadInput, QueryError
from meterhall.model.labels import Labels
from meterhall.promql.durations import resolve
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)
from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import ALL_FEATURES
from meterhall.promql.walk import descend, left_spine
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.fixed import FixedReader, Samples
from meterhall.query.promqltest_check import (
    NO_HISTOGRAMS,
    check_annotations,
    check_scalar,
    check_value,
    check_vector,
    text_matches,
)
from meterhall.query.promqltest_script import Clear, Eval, Load, ScriptError, read_script
from meterhall.query.promqltest_values import Histogram
from meterhall.query.result import GridResult, QueryResult

# Calls whose value depends on the evaluation time even where all selectors are pinned.
_TIME_DEPENDENT = frozenset(
    [
        "days_in_month",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "end",
        "hour",
        "minute",
        "month",
        "year",
        "predict_linear",
        "range",
        "start",
        "step",
        "time",
        "timestamp",
    ]
)
_EDGE_WORDS = ("start()", "end()", "range()", "step()")
_MINUTE_MS = 60_000
_POSITION = re.compile(r"^\d+:\d+: parse error: ")  # noqa: TID251 - our own text
_SAMPLES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class ScriptReport:
    """What became of one script. A failure is a line number and a text `got … want …`."""

    name: str
    passed: int
    failures: Sequence[tuple[int, str]]


class _NoClock:
    """Scripts take the time they take."""

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0


def run_script(text: str, name: str) -> ScriptReport:
    """Runs every command of a script in order. A script that cannot be read fails at that line."""
    runner = _Runner()
    failures: list[tuple[int, str]] = []
    passed = 0
    try:
        for command in read_script(text):
            if isinstance(command, Clear):
                runner.clear()
            elif isinstance(command, Load):
                runner.load(command)
            else:
                fault = runner.run(command)
                passed += fault is None
                if fault is not None:
                    failures.append((command.line, fault))
    except ScriptError as error:
        failures.append(
            (error.line, f"got a line that cannot be read want a script: {error.reason}")
        )
    return ScriptReport(name, passed, failures)


class _Runner:
    def __init__(self) -> None:
        self._engine = Engine(EngineOptions())
        self.clear()

    def clear(self) -> None:
        self._points: dict[Labels, dict[int, float]] = {}
        self._reader: FixedReader | None = None
        self._left_out = False

    def load(self, command: Load) -> None:
        self._reader = None
        self._left_out |= command.custom_buckets
        for line in {line.labels: line for line in command.series if not line.start_times}.values():
            points = self._points.setdefault(line.labels, {})
            for index, value in enumerate(line.values):
                if isinstance(value, Histogram):
                    self._left_out = True
                elif value is not None:
                    points[index * command.step_ms] = value

    def run(self, command: Eval) -> str | None:
        """None where the case passes, else the difference."""
        try:
            fault = self._case(command)
        except Exception as error:  # noqa: BLE001 - a crash of the engine fails one case, not the run
            fault = f"got crash {error!r} want an answer or an error"
        if fault is not None and self._left_out and NO_HISTOGRAMS not in fault:
            return f"{fault} ({NO_HISTOGRAMS})"
        return fault

    def _case(self, command: Eval) -> str | None:
        expect = command.expect
        try:
            expr = parse_expr(command.query, ALL_FEATURES)
            result = self._evaluate(expr, command)
        except (BadInput, QueryError) as error:
            return _check_failure(str(error), command)
        if expect.fail is not None:
            return (
                f"got an answer want failure {expect.fail.msg or expect.fail.regex or ''}".rstrip()
            )
        fault = check_value(result.value, command) or check_annotations(result, expect)
        if fault is not None or command.step_ms is not None:
            return fault
        return self._again(expr, command)

    def _evaluate(self, expr: Expr, command: Eval) -> QueryResult:
        budget, reader = self._budget(), self._stored()
        start_ms, end_ms, step_ms = command.start_ms, command.end_ms, command.step_ms
        plain = resolve(expr, start_ms, end_ms, step_ms or 0)
        if step_ms is None:
            return self._engine.instant(reader, plain, command.query, start_ms, budget)
        return self._engine.range(reader, plain, command.query, start_ms, end_ms, step_ms, budget)

    def _again(self, expr: Expr, command: Eval) -> str | None:
        """The same query pinned, and in range mode."""
        for how, variant, time_ms in _variants(expr, command.start_ms):
            moved = replace(command, start_ms=time_ms, end_ms=time_ms)
            fault = self._variant(variant, moved, how)
            if fault is not None:
                return f"{fault} ({how})"
        return None

    def _variant(self, expr: Expr, command: Eval, how: str) -> str | None:
        expect = command.expect
        try:
            if how:
                fault = check_value(self._evaluate(expr, command).value, command)
                if fault is not None:
                    return fault
            if _no_range_mode(command):
                return None
            fault = self._middle(expr, command)
        except (BadInput, QueryError) as error:
            return f"got error {error} want an answer"
        assert expect.fail is None, "a case that must fail is not run again"
        return None if fault is None else f"{fault} (as the middle of a range)"

    def _middle(self, expr: Expr, command: Eval) -> str | None:
        start_ms, end_ms = command.start_ms - _MINUTE_MS, command.start_ms + _MINUTE_MS
        around = replace(command, start_ms=start_ms, end_ms=end_ms, step_ms=_MINUTE_MS)
        value = self._evaluate(expr, around).value
        assert isinstance(value, GridResult), "a range query answers a grid"
        column = int(np.searchsorted(value.times, command.start_ms))
        there = range(len(value.labels))
        found = [
            (value.labels[row], float(value.values[row, column]))
            for row in there
            if value.present is None or value.present[row, column]
        ]
        if command.expect.scalar is not None:
            return check_scalar(found[0][1], command.expect)
        return check_vector(found, command.expect)

    def _budget(self) -> Budget:
        return Budget(QueryLimits(samples_max=_SAMPLES_MAX), _NoClock(), timeout_s=1.0)

    def _stored(self) -> FixedReader:
        if self._reader is None:
            self._reader = FixedReader(
                {labels: _samples(points) for labels, points in self._points.items() if points}
            )
        return self._reader


def _samples(points: dict[int, float]) -> Samples:
    times = np.array(sorted(points), np.int64)
    return times, np.array([points[time_ms] for time_ms in times.tolist()], np.float64)


def _check_failure(text: str, command: Eval) -> str | None:
    """Scripts state failures without position."""
    want = command.expect.fail
    if want is None:
        return f"got error {text} want an answer"
    if text_matches(text, want) or text_matches(_POSITION.sub("", text), want):
        return None
    return f"got error {text} want error {want.msg or want.regex}"


def _no_range_mode(command: Eval) -> bool:
    expect = command.expect
    if expect.ordered or expect.range_vector is not None or expect.string is not None:
        return True
    return any(word in command.query.lower() for word in _EDGE_WORDS)


def _variants(expr: Expr, time_ms: int) -> Iterator[tuple[str, Expr, int]]:
    """The query as it is, and pinned to its time but evaluated at others."""
    yield "", expr, time_ms
    for node in descend(expr):
        if isinstance(node, Call) and node.func in _TIME_DEPENDENT:
            return
    pinned = _pinned(expr, time_ms)
    times = (-10 * time_ms, 0, time_ms // 5, time_ms, 10 * time_ms)
    for other_ms in times if time_ms else (-1000, 0, 1000):
        yield f"pinned by @, evaluated at {other_ms} ms", pinned, other_ms


def _pinned(expr: Expr, time_ms: int) -> Expr:
    """Every selector and subquery without `@` gets one; what is inside a pinned subquery stays."""
    match expr:
        case NumberLiteral() | StringLiteral():
            return expr
        case VectorSelector():
            return _pinned_vector(expr, time_ms)
        case SubqueryExpr():
            return expr if expr.at_ms is not None else replace(expr, at_ms=time_ms, at_edge=None)
        case MatrixSelector():
            return replace(expr, vector=_pinned_vector(expr.vector, time_ms))
        case ParenExpr() | UnaryExpr():
            return replace(expr, expr=_pinned(expr.expr, time_ms))
        case BinaryExpr():
            return _pinned_chain(expr, time_ms)
        case AggregateExpr():
            param = None if expr.param is None else _pinned(expr.param, time_ms)
            return replace(expr, expr=_pinned(expr.expr, time_ms), param=param)
        case Call():
            return replace(expr, args=tuple(_pinned(arg, time_ms) for arg in expr.args))


def _pinned_vector(selector: VectorSelector, time_ms: int) -> VectorSelector:
    if selector.at_ms is not None:
        return selector
    return replace(selector, at_ms=time_ms, at_edge=None)


def _pinned_chain(expr: BinaryExpr, time_ms: int) -> Expr:
    innermost, links = left_spine(expr)
    tree = _pinned(innermost, time_ms)
    for link in links:
        tree = replace(link, lhs=tree, rhs=_pinned(link.rhs, time_ms))
    return tree
