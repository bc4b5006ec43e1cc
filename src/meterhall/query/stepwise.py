"""Whether each step of a range query stands on its own, so that steps of two answers may be put together.

A value must follow from its own time and the samples alone: not from the range's edges, the step, other steps, or the
order in which a store names its series. What is not plainly so is taken not to be so. Label sets must be told apart
without the metric's name: Prometheus refuses an answer in which two series have the same one, even at different steps.
"""

from meterhall.model.labels import METRIC_NAME
from meterhall.model.matcher import MatchOp
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    SubqueryExpr,
    VectorSelector,
)
from meterhall.promql.walk import children

# Not count_values, whose labels are values; not those that choose among equals.
_AGGREGATIONS = frozenset(
    ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile")
)
# Not those that make labels (absent, label_replace, …), sort, or know the range.
_FUNCTIONS = frozenset(
    (
        *("abs", "ceil", "clamp", "clamp_max", "clamp_min", "exp", "floor", "ln", "log10", "log2"),
        *("round", "scalar", "sgn", "sqrt", "time", "timestamp", "vector", "histogram_quantile"),
        *("day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month"),
        *("year", "changes", "delta", "deriv", "idelta", "increase", "irate", "rate", "resets"),
        *("avg_over_time", "count_over_time", "last_over_time", "max_over_time", "min_over_time"),
        *("predict_linear", "present_over_time", "quantile_over_time", "stddev_over_time"),
        *("stdvar_over_time", "sum_over_time"),
    )
)
# Larger trees are not looked at.
_NODES_MAX = 500


def looks_ahead_ms(expr: Expr) -> int | None:
    """How far after its own time a step may look (negative: before); None where steps do not stand alone.

    Wants the tree as it was parsed, before `promql.durations.resolve`.
    """
    ahead: int | None = None
    stack: list[tuple[Expr, int]] = [(expr, 0)]
    for _ in range(_NODES_MAX):
        if not stack:
            return ahead
        node, reached = stack.pop()
        if not _stands_alone(node):
            return None
        if isinstance(node, VectorSelector | SubqueryExpr):
            reached -= node.offset_ms
        if isinstance(node, VectorSelector):
            ahead = reached if ahead is None else max(ahead, reached)
        stack.extend((child, reached) for child in children(node))
    return None


def _stands_alone(node: Expr) -> bool:
    match node:
        case VectorSelector():
            plain = not (node.anchored or node.smoothed) and node.offset_expr is None
            return plain and node.at_ms is None and node.at_edge is None and _is_named(node)
        case MatrixSelector():
            return node.range_expr is None
        case SubqueryExpr():
            plain = node.range_expr is None and node.step_expr is None and node.offset_expr is None
            return plain and node.at_ms is None and node.at_edge is None
        case BinaryExpr():
            filled = node.matching is not None and (
                node.matching.fill_lhs is not None or node.matching.fill_rhs is not None
            )
            return node.op != "or" and not filled
        case AggregateExpr():
            return node.op in _AGGREGATIONS
        case Call():
            return node.func in _FUNCTIONS
        case _:
            return True


def _is_named(selector: VectorSelector) -> bool:
    return any(
        matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL and matcher.value
        for matcher in selector.matchers
    )
