"""Which nodes give the same at every step, so that one step is enough.

As PreprocessExpr in promql/engine.go: selectors and subqueries pinned by `@`, literals, and whatever is
made of them, except functions that look at the evaluation time.
"""

from collections.abc import Sequence

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

_TIME_BOUND = frozenset(
    (
        "days_in_month",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "hour",
        "minute",
        "month",
        "year",
        "predict_linear",
        "time",
        "timestamp",
    )
)


def _children(node: Expr) -> Sequence[Expr]:
    """The operands that decide; what a subquery or range selector does inside is its own matter."""
    match node:
        case ParenExpr() | UnaryExpr():
            return (node.expr,)
        case BinaryExpr():
            return (node.lhs, node.rhs)
        case AggregateExpr():
            return (node.expr,) if node.param is None else (node.expr, node.param)
        case Call():
            return node.args
        case MatrixSelector():
            return (node.vector,)
        case _:
            return ()


class Invariance:
    """Answers for the nodes of one tree; each is visited once, without recursion."""

    def __init__(self, root: Expr) -> None:
        self._invariant: dict[int, bool] = {}
        self._add(root)

    def __contains__(self, node: Expr) -> bool:
        return self._invariant[id(node)]

    def _add(self, root: Expr) -> None:
        order: list[Expr] = []
        waiting = [root]
        while waiting:
            node = waiting.pop()
            order.append(node)
            waiting.extend(_children(node))
            if isinstance(node, SubqueryExpr):
                waiting.append(node.expr)
        for node in reversed(order):
            self._invariant[id(node)] = self._decide(node)

    def _decide(self, node: Expr) -> bool:
        match node:
            case VectorSelector() | SubqueryExpr():
                return node.at_ms is not None or node.at_edge is not None
            case NumberLiteral() | StringLiteral():
                return True
            case Call() if node.func in _TIME_BOUND:
                return False
            case _:
                return all(self._invariant[id(child)] for child in _children(node))
