"""The walk over the tree: each node becomes a vector, a scalar or a string over a grid of steps.

Whole ranges at once: a node is evaluated one time for all steps. Parts that do not depend on the step
(everything inside is pinned by `@`) are evaluated at one step and repeated without copying.
"""

from dataclasses import dataclass

import numpy as np

from meterhall.model.errors import QueryError
from meterhall.model.samples import ValueArray
from meterhall.ports.series import SeriesReader
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
from meterhall.query import aggregate
from meterhall.query.annotations import Annotations
from meterhall.query.binary import SET_OPERATORS, scalar_operation, scalar_with_vector
from meterhall.query.budget import Budget
from meterhall.query.frame import Frame, Steps, Value, compact, empty_frame
from meterhall.query.functions.invocation import Invocation, nameless, unwrapped
from meterhall.query.functions.table import FUNCTIONS
from meterhall.query.invariance import Invariance
from meterhall.query.matching import Operation, match_sets, match_vectors
from meterhall.query.selectors import (
    QueryRange,
    RangeVector,
    reference_times,
    select_instant,
    select_range,
    select_smoothed,
)
from meterhall.query.subquery import as_range, inner_steps


@dataclass(frozen=True, slots=True)
class Horizon:
    """What holds for a query as a whole: its edges, its step, and how far a selector looks back."""

    edges: QueryRange
    query_step_ms: int
    lookback_ms: int
    subquery_step_ms: int


class Evaluator:
    """Evaluates one tree against one reader. Not thread-safe."""

    def __init__(
        self,
        root: Expr,
        reader: SeriesReader,
        horizon: Horizon,
        text: str,
        budget: Budget,
    ) -> None:
        self.annotations = Annotations(text)
        self.budget = budget
        self.edges = horizon.edges
        self.query_step_ms = horizon.query_step_ms
        self._horizon = horizon
        self._reader = reader
        self._invariance = Invariance(root)

    def value(self, node: Expr, steps: Steps) -> Value:
        """The value of `node` over `steps`: a frame, scalars[T], or a string."""
        self.budget.check()
        held = self.budget.samples_held
        if steps.count > 1 and node in self._invariance:
            result = _repeated(self._evaluate(node, Steps(steps.start_ms, 1, 1)), steps.count)
        else:
            result = self._evaluate(node, steps)
        self.budget.settle(held, result.cells if isinstance(result, Frame) else steps.count)
        return result

    def vector(self, node: Expr, steps: Steps) -> Frame:
        """The value of a node that is an instant vector."""
        result = self.value(node, steps)
        assert isinstance(result, Frame), f"bug: {node!r} is no vector"
        return result

    def scalar(self, node: Expr, steps: Steps) -> ValueArray:
        """The value of a node that is a scalar, [T]."""
        result = self.value(node, steps)
        assert isinstance(result, np.ndarray), f"bug: {node!r} is no scalar"
        return result

    def text(self, node: Expr) -> str:
        """The value of a node that is a string."""
        literal = unwrapped(node)
        assert isinstance(literal, StringLiteral), f"bug: {node!r} is no string"
        return literal.value

    def is_invariant(self, node: Expr) -> bool:
        """Whether a node is the same at every step."""
        return node in self._invariance

    def range_vector(self, node: MatrixSelector | SubqueryExpr, steps: Steps) -> RangeVector:
        """The windows of a range vector."""
        if isinstance(node, MatrixSelector):
            ends = reference_times(node.vector, steps, self.edges)
            lookback_ms = self._horizon.lookback_ms
            return select_range(self._reader, node, ends, lookback_ms, self.budget)
        ends = reference_times(node, steps, self.edges)
        inner = inner_steps(node, ends, steps, self._horizon.subquery_step_ms)
        if not inner.count:
            return as_range(empty_frame(0), inner, ends, node.range_ms, self.budget)
        self.budget.reserve(1, inner.count)
        frame = self._as_vector(node.expr, inner)
        return as_range(frame, inner, ends, node.range_ms, self.budget)

    def _as_vector(self, node: Expr, steps: Steps) -> Frame:
        """A subquery's inner expression; a scalar is there a vector without labels."""
        result = self.value(node, steps)
        assert not isinstance(result, str), "bug: a subquery over a string"
        return result if isinstance(result, Frame) else Frame([()], result[None, :], None)

    def sample_times(self, node: VectorSelector, steps: Steps) -> Frame:
        """The times, in seconds, of the samples that a selector finds."""
        ends = reference_times(node, steps, self.edges)
        return select_instant(
            self._reader, node, ends, self._horizon.lookback_ms, self.budget, stamps=True
        )

    def _evaluate(self, node: Expr, steps: Steps) -> Value:
        match node:
            case NumberLiteral():
                return np.full(steps.count, node.value)
            case StringLiteral():
                return node.value
            case ParenExpr():
                return self._evaluate(unwrapped(node), steps)
            case UnaryExpr():
                return self._unary(node, steps)
            case BinaryExpr():
                return self._chain(node, steps)
            case VectorSelector():
                return self._select(node, steps)
            case AggregateExpr():
                return self._aggregate(node, steps)
            case Call():
                return self._call(node, steps)
            case MatrixSelector() | SubqueryExpr():
                raise AssertionError("bug: a range vector where a vector was expected")

    def _select(self, node: VectorSelector, steps: Steps) -> Frame:
        ends = reference_times(node, steps, self.edges)
        lookback_ms = self._horizon.lookback_ms
        if node.smoothed:
            return select_smoothed(self._reader, node, ends, lookback_ms, self.budget)
        return select_instant(self._reader, node, ends, lookback_ms, self.budget)

    def _unary(self, node: UnaryExpr, steps: Steps) -> Value:
        operand = self.value(node.expr, steps)
        if node.op == "+" or isinstance(operand, str):
            return operand
        if isinstance(operand, Frame):
            return nameless(Frame(operand.labels, -operand.values, operand.present))
        return -operand

    def _chain(self, node: BinaryExpr, steps: Steps) -> Value:
        """A left-leaning chain, such as a thousand terms of `or`, without recursing along it."""
        links = [node]
        while isinstance(links[-1].lhs, BinaryExpr) and not (
            steps.count > 1 and links[-1].lhs in self._invariance
        ):
            links.append(links[-1].lhs)
        result = self.value(links[-1].lhs, steps)
        for link in reversed(links):
            held = self.budget.samples_held
            other = self.value(link.rhs, steps)
            result = self._binary(link, result, other)
            self.budget.samples_held = held
        return result

    def _binary(self, node: BinaryExpr, lhs: Value, rhs: Value) -> Value:
        self.budget.check()
        assert not isinstance(lhs, str), "bug: an operator on strings"
        assert not isinstance(rhs, str), "bug: an operator on strings"
        if isinstance(lhs, Frame) and isinstance(rhs, Frame):
            assert node.matching is not None, "bug: an operator on vectors without matching"
            if node.op in SET_OPERATORS:
                return match_sets(node.op, lhs, rhs, node.matching)
            operation = Operation(node.op, node.matching, node.return_bool)
            return match_vectors(operation, lhs, rhs, self.budget)
        if isinstance(lhs, Frame):
            assert not isinstance(rhs, Frame)
            return scalar_with_vector(
                node.op, lhs, rhs, swapped=False, return_bool=node.return_bool
            )
        if isinstance(rhs, Frame):
            return scalar_with_vector(node.op, rhs, lhs, swapped=True, return_bool=node.return_bool)
        return scalar_operation(node.op, lhs, rhs)

    def _aggregate(self, node: AggregateExpr, steps: Steps) -> Value:
        if node.op == "count_values":
            assert node.param is not None, "bug: count_values without parameter"
            frame = self.vector(node.expr, steps)
            return aggregate.count_values(node, frame, self.text(node.param), self.budget)
        parameter = None if node.param is None else self.scalar(node.param, steps)
        frame = self.vector(node.expr, steps)
        if parameter is None:
            return aggregate.reduce(node, frame, self.budget)
        if node.op == "quantile":
            return aggregate.quantile(node, frame, parameter, self.annotations, self.budget)
        if node.op == "limit_ratio":
            return aggregate.limit_ratio(node, frame, parameter, self.annotations)
        return aggregate.pick(node, frame, parameter, self.budget)

    def _call(self, node: Call, steps: Steps) -> Value:
        function = FUNCTIONS.get(node.func)
        if function is None:
            raise QueryError(f"function {node.func!r} is not supported yet")
        return function(Invocation(node, steps, self))


def _repeated(value: Value, count: int) -> Value:
    """A value of one step, at `count` steps."""
    if isinstance(value, str):
        return value
    if isinstance(value, Frame):
        frame = compact(value)
        shape = (len(frame.labels), count)
        return Frame(frame.labels, np.broadcast_to(frame.values, shape), None)
    return np.broadcast_to(value, (count,))
