"""Walking the tree without recursion of one's own."""

from collections.abc import Iterator

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


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly under this one, in the order they were written."""
    match expr:
        case NumberLiteral() | StringLiteral() | VectorSelector():
            return ()
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return (expr.expr,)
        case BinaryExpr():
            return (expr.lhs, expr.rhs)
        case MatrixSelector():
            return (expr.vector,)
        case AggregateExpr():
            return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
        case Call():
            return tuple(expr.args)


def descend(expr: Expr) -> Iterator[Expr]:
    """The node and everything under it, parents first, left to right."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def selectors(expr: Expr) -> Iterator[VectorSelector]:
    """All vector selectors of the tree, left to right."""
    for node in descend(expr):
        if isinstance(node, VectorSelector):
            yield node


def left_spine(expr: BinaryExpr) -> tuple[Expr, list[BinaryExpr]]:
    """The operand at the far left of a chain, and the operations from the inside out.

    A chain may be thousands of operators long: whoever walks trees must loop along it.
    """
    links = []
    node: Expr = expr
    while isinstance(node, BinaryExpr):
        links.append(node)
        node = node.lhs
    links.reverse()
    return node, links
