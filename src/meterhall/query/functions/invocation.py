"""What a function sees of its call: its arguments, evaluated on demand, and the grid."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from meterhall.compiled.shapes import Points
from meterhall.model.errors import QueryError
from meterhall.model.samples import ValueArray
from meterhall.model.stack import SeriesStack
from meterhall.promql.nodes import (
    Call,
    Expr,
    MatrixSelector,
    ParenExpr,
    Span,
    SubqueryExpr,
    VectorSelector,
)
from meterhall.query.annotations import Annotations
from meterhall.query.budget import Budget
from meterhall.query.frame import (
    SAME_LABELSET,
    BoolArray,
    Frame,
    IndexArray,
    Steps,
    Value,
    compact,
    has_duplicates,
    merged,
    unnamed,
)
from meterhall.query.gather import clocked, filled
from meterhall.query.kernels.clocked import Fused, machine, widest
from meterhall.query.kernels.windows import Windows
from meterhall.query.selectors import QueryRange, RangeVector
from meterhall.query.sharing import shared

# The functions that know what to do with edges that carry a value.
_ANCHORED = ("changes", "delta", "increase", "rate", "resets")
_SMOOTHED = ("delta", "increase", "rate")


class Operands(Protocol):
    """How a function has its arguments evaluated."""

    annotations: Annotations
    budget: Budget
    edges: QueryRange
    query_step_ms: int

    def vector(self, node: Expr, steps: Steps) -> Frame: ...

    def scalar(self, node: Expr, steps: Steps) -> ValueArray: ...

    def text(self, node: Expr) -> str: ...

    def is_invariant(self, node: Expr) -> bool: ...

    def range_vector(self, node: MatrixSelector | SubqueryExpr, steps: Steps) -> RangeVector: ...

    def sample_times(self, node: VectorSelector, steps: Steps) -> Frame: ...


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call over one grid."""

    node: Call
    steps: Steps
    operands: Operands

    @property
    def annotations(self) -> Annotations:
        """Where warnings and infos go."""
        return self.operands.annotations

    def argument_count(self) -> int:
        """How many arguments the call has."""
        return len(self.node.args)

    def argument_span(self, index: int) -> Span:
        """Where an argument stands in the query, as Prometheus tells it.

        It has taken off an argument's parentheses by then, unless they are where a constant part
        begins. A subquery's samples come without a position, which reads as 1:1.
        """
        node = self.node.args[index]
        inner = unwrapped(node)
        if isinstance(inner, SubqueryExpr):
            return Span(0, 0)
        constant = self.operands.is_invariant(node) and not self.operands.is_invariant(self.node)
        return node.span if constant else inner.span

    def vector(self, index: int) -> Frame:
        """An instant vector argument."""
        return self.operands.vector(self.node.args[index], self.steps)

    def scalar(self, index: int) -> ValueArray:
        """A scalar argument, [T]."""
        return self.operands.scalar(self.node.args[index], self.steps)

    def text(self, index: int) -> str:
        """A string argument."""
        return self.operands.text(self.node.args[index])

    def bare(self, index: int) -> Expr:
        """An argument without its parentheses."""
        return unwrapped(self.node.args[index])

    def range_vector(self, index: int) -> RangeVector:
        """A range vector argument."""
        node = self.bare(index)
        assert isinstance(node, MatrixSelector | SubqueryExpr), f"bug: {node!r} is no range vector"
        if isinstance(node, MatrixSelector):
            self._check_modifier("anchored", node.vector.anchored, _ANCHORED)
            self._check_modifier("smoothed", node.vector.smoothed, _SMOOTHED)
        return self.operands.range_vector(node, self.steps)

    def _check_modifier(self, modifier: str, used: bool, allowed: tuple[str, ...]) -> None:
        if used and self.node.func not in allowed:
            raise QueryError(
                f"{modifier} modifier can only be used with: {', '.join(allowed)} "
                f"- not with {self.node.func}"
            )


def unwrapped(node: Expr) -> Expr:
    """`node` without parentheses around it."""
    while isinstance(node, ParenExpr):
        node = node.expr
    return node


Function = Callable[[Invocation], Value]

# What a kernel makes of windows: values and presence, each broadcastable to [S, T].
Windowed = Callable[[Windows], tuple[ValueArray | IndexArray, BoolArray]]


def over_windows(
    vector: RangeVector, kernel: Windowed, fused: Fused | None = None, *, visit_cost: int = 1
) -> Frame:
    """`kernel` over all windows, under the vector's own labels; `fused` does the same by machine code.

    `visit_cost` is what that takes for each sample of each window, in some nanoseconds.
    """
    shape = (len(vector.labels), len(vector.ends))
    values = np.empty(shape)
    present = np.zeros(shape, np.bool_)
    kernels = None if fused is None else machine(values.size)

    def evaluate(stack: SeriesStack) -> None:
        left: Iterable[SeriesStack] = (stack,)
        if kernels is not None and fused is not None:
            points = Points(values, present)
            left = _by_machine(kernels, fused, vector, stack, points, _VISITS // visit_cost)
        for some in left:
            for tile in vector.tiles_of(some):
                values[tile.rows], present[tile.rows] = kernel(tile.windows)

    shared(vector.read(), evaluate, values.size)
    return compact(Frame(vector.labels, values, present))


# What one call of a kernel may look at: some tens of milliseconds, after which the budget is asked.
_VISITS = 1 << 24


def _by_machine(
    kernels: Any,
    fused: Fused,
    vector: RangeVector,
    stack: SeriesStack,
    points: Points,
    visits_max: int,
) -> Iterator[SeriesStack]:
    """Fills the points of series without holes, some visits at a time; what is left to do otherwise."""
    whole, holed = stack.split()
    if holed is not None:
        yield holed
    if whole is None:
        return
    of = clocked(kernels, whole, vector.reach, vector.span_ms)
    visits = len(vector.ends) * max(1, widest(of))
    span = max(1, visits_max // visits)
    for begin in range(0, len(whole.rows), span):
        vector.budget.check()
        rows = slice(begin, begin + span)
        some = of._replace(clock_of=of.clock_of[rows], values=of.values[rows])
        if not filled(fused, kernels, some, whole.rows[rows], points):
            yield whole.part(begin, min(begin + span, len(whole.rows)))


def nameless(frame: Frame) -> Frame:
    """The result of a range function: without metric names, every label set once."""
    result = unnamed(frame)
    if has_duplicates(result.labels):
        raise QueryError(SAME_LABELSET)
    return result


def renamed(frame: Frame, values: ValueArray) -> Frame:
    """The result of a function on an instant vector: new values, no metric names."""
    return merged(unnamed(Frame(frame.labels, values, frame.present)))
