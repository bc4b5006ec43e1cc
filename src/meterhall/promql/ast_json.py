"""The tree as `parse_query` answers it: plain dicts, after Prometheus' web/api/v1/translate_ast.go."""

from typing import Any

from meterhall.model.errors import BadInput
from meterhall.model.matcher import Matcher
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
    VectorMatching,
    VectorSelector,
)
from meterhall.promql.signatures import FUNCTIONS
from meterhall.promql.strings import format_float
from meterhall.promql.walk import left_spine

# JSON encoders stop at 254 (orjson) or a thousand; arguments of calls count twice.
DEPTH_MAX = 240

Json = dict[str, Any]


def to_json(expr: Expr) -> Json:
    """The tree as a dict. Raises BadInput where it is too deep to be encoded."""
    return _node(expr, 1)


def _node(expr: Expr, depth: int) -> Json:
    if depth > DEPTH_MAX:
        raise BadInput(
            f"expression is too deep to be shown as a tree, more than {DEPTH_MAX} levels"
        )
    match expr:
        case NumberLiteral() | StringLiteral() | VectorSelector() | MatrixSelector():
            return _leaf(expr)
        case ParenExpr():
            return {"type": "parenExpr", "expr": _node(expr.expr, depth + 1)}
        case UnaryExpr():
            return {"type": "unaryExpr", "op": expr.op, "expr": _node(expr.expr, depth + 1)}
        case SubqueryExpr():
            return _subquery(expr, depth)
        case AggregateExpr():
            return _aggregation(expr, depth)
        case Call():
            return _call(expr, depth)
        case BinaryExpr():
            return _binary(expr, depth)


def _leaf(expr: NumberLiteral | StringLiteral | VectorSelector | MatrixSelector) -> Json:
    match expr:
        case NumberLiteral():
            return {"type": "numberLiteral", "val": format_float(expr.value)}
        case StringLiteral():
            return {"type": "stringLiteral", "val": expr.value}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(expr)}
        case MatrixSelector():
            return {"type": "matrixSelector", "range": expr.range_ms, **_selector(expr.vector)}


def _selector(selector: VectorSelector) -> Json:
    return {
        "name": selector.name,
        "matchers": [_matcher(matcher) for matcher in selector.matchers],
        **_when(selector),
    }


def _matcher(matcher: Matcher) -> Json:
    return {"name": matcher.name, "type": str(matcher.op), "value": matcher.value}


def _when(target: VectorSelector | SubqueryExpr) -> Json:
    return {
        "offset": target.offset_ms,
        "timestamp": target.at_ms,
        "startOrEnd": None if target.at_edge is None else str(target.at_edge),
    }


def _subquery(expr: SubqueryExpr, depth: int) -> Json:
    return {
        "type": "subquery",
        "expr": _node(expr.expr, depth + 1),
        "range": expr.range_ms,
        "step": expr.step_ms,
        **_when(expr),
    }


def _aggregation(expr: AggregateExpr, depth: int) -> Json:
    return {
        "type": "aggregation",
        "op": expr.op,
        "expr": _node(expr.expr, depth + 1),
        "param": None if expr.param is None else _node(expr.param, depth + 1),
        "grouping": list(expr.grouping),
        "without": expr.without,
    }


def _call(expr: Call, depth: int) -> Json:
    signature = FUNCTIONS[expr.func]
    return {
        "type": "call",
        "func": {
            "name": signature.name,
            "argTypes": [str(kind) for kind in signature.args],
            "variadic": signature.variadic,
            "returnType": str(signature.result),
        },
        "args": [_node(arg, depth + 2) for arg in expr.args],
    }


def _binary(expr: BinaryExpr, depth: int) -> Json:
    innermost, links = left_spine(expr)
    depth += len(links)
    tree = _node(innermost, depth)
    for link in links:
        tree = {
            "type": "binaryExpr",
            "op": link.op,
            "lhs": tree,
            "rhs": _node(link.rhs, depth),
            "matching": None if link.matching is None else _matching(link.matching),
            "bool": link.return_bool,
        }
        depth -= 1
    return tree


def _matching(matching: VectorMatching) -> Json:
    return {
        "card": str(matching.card),
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
    }
