"""PromQL the slow way: per step, per series, plain Python, straight from Prometheus' definitions.

It shares no code with the engine but the tree and the labels. `evaluate` gives a float, or a list of
(labels, value) pairs, at one time; it raises OracleError where Prometheus fails.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from tests.query.memory import Series

from meterhall.model.labels import Labels, label_value
from meterhall.model.samples import STALE_BITS
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Cardinality,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

NAN = float("nan")
INF = float("inf")
Vector = list[tuple[Labels, float]]
Samples = list[tuple[int, float]]


class OracleError(Exception):
    """The expression fails at this step."""


class Undecided(Exception):
    """The definition alone does not say: the result depends on how a double overflows."""


@dataclass(frozen=True)
class World:
    series: Sequence[Series]
    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000


def is_stale(value: float) -> bool:
    return int(np.float64(value).view(np.uint64)) == STALE_BITS


def evaluate(world: World, node: Expr, now: int) -> float | Vector:
    match node:
        case NumberLiteral():
            return node.value
        case ParenExpr():
            return evaluate(world, node.expr, now)
        case UnaryExpr():
            return _negate(evaluate(world, node.expr, now), node.op)
        case VectorSelector():
            return [(labels, value) for labels, _, value in _select(world, node, now)]
        case BinaryExpr():
            return _binary(node, evaluate(world, node.lhs, now), evaluate(world, node.rhs, now))
        case AggregateExpr():
            return _aggregate(world, node, now)
        case Call():
            return _call(world, node, now)
    raise AssertionError(node)


def _negate(value: float | Vector, op: str) -> float | Vector:
    if op == "+":
        return value
    if isinstance(value, float):
        return -value
    return _unique([(_drop(labels), -v) for labels, v in value])


def _drop(labels: Labels) -> Labels:
    return tuple(p for p in labels if p[0] not in ("__name__", "__type__", "__unit__"))


def _unique(vector: Vector) -> Vector:
    if len({labels for labels, _ in vector}) != len(vector):
        raise OracleError("same labelset")
    return vector


def _matching(world: World, node: VectorSelector) -> list[Series]:
    return [
        one
        for one in world.series
        if all(m.matches(label_value(one.labels, m.name)) for m in node.matchers)
    ]


def _end(node: VectorSelector | SubqueryExpr, now: int) -> int:
    return (now if node.at_ms is None else node.at_ms) - node.offset_ms


def _select(world: World, node: VectorSelector, now: int) -> list[tuple[Labels, int, float]]:
    end = _end(node, now)
    found = []
    for one in _matching(world, node):
        window = [s for s in one.samples if end - world.lookback_ms < s[0] <= end]
        if window and not is_stale(window[-1][1]):
            found.append((one.labels, *window[-1]))
    return found


def _range(
    world: World, node: MatrixSelector | SubqueryExpr, now: int
) -> tuple[list[tuple[Labels, Samples]], int, int]:
    """Non-empty windows, and their start and end."""
    if isinstance(node, MatrixSelector):
        end = _end(node.vector, now)
        windows = [
            (one.labels, [s for s in one.samples if end - node.range_ms < s[0] <= end])
            for one in _matching(world, node.vector)
        ]
        windows = [(ls, [s for s in w if not is_stale(s[1])]) for ls, w in windows]
        return [(ls, w) for ls, w in windows if w], end - node.range_ms, end
    end = _end(node, now)
    step = node.step_ms or world.subquery_step_ms
    found: dict[Labels, Samples] = {}
    time = -(-(end - node.range_ms) // step) * step
    while time <= end:
        if time > end - node.range_ms:
            result = evaluate(world, node.expr, time)
            for labels, value in [((), result)] if isinstance(result, float) else result:
                found.setdefault(labels, []).append((time, value))
        time += step
    return list(found.items()), end - node.range_ms, end


def neumaier(values: Sequence[float]) -> float:
    """promql/functions.go, kahanSumInc."""
    total = carry = 0.0
    for value in values:
        new = total + value
        if math.isinf(new):
            carry = 0.0
        elif abs(total) >= abs(value):
            carry += (total - new) + value
        else:
            carry += (value - new) + total
        total = new
    return total + carry


def _mean(values: Sequence[float]) -> float:
    if all(map(math.isfinite, values)):
        # The definition itself; what Prometheus does to it is accuracy and overflow.
        return float(sum(map(Fraction, values)) / len(values))
    if any(map(math.isnan, values)) or {INF, -INF} <= set(values):
        return NAN
    return INF if INF in values else -INF


def quantile(q: float, values: Sequence[float]) -> float:
    if not values or math.isnan(q):
        return NAN
    if q < 0:
        return -INF
    if q > 1:
        return INF
    ordered = [v for v in values if math.isnan(v)] + sorted(v for v in values if not math.isnan(v))
    rank = q * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(len(ordered) - 1, lower + 1)
    weight = rank - lower
    return ordered[lower] * (1 - weight) + ordered[upper] * weight


def _extreme(values: Sequence[float], greatest: bool) -> float:
    best = values[0]
    for value in values[1:]:
        if math.isnan(best) or (value > best if greatest else value < best):
            best = value
    return best


def _variance(values: Sequence[float]) -> float:
    if not all(map(math.isfinite, values)):
        return NAN
    if max(map(abs, values)) > 1e150:
        raise Undecided
    return float(statistics.pvariance([Fraction(v) for v in values]))


def _extrapolated(
    samples: Samples, start: int, end: int, counter: bool, per_second: bool
) -> float | None:
    if len(samples) < 2:
        return None
    gained = samples[-1][1] - samples[0][1]
    if counter:
        for (_, before), (_, after) in itertools.pairwise(samples):
            if after < before:
                gained += before
    to_start, to_end = (samples[0][0] - start) / 1000, (end - samples[-1][0]) / 1000
    sampled = (samples[-1][0] - samples[0][0]) / 1000
    between = sampled / (len(samples) - 1)
    if to_start >= between * 1.1:
        to_start = between / 2
    if counter and gained > 0 and samples[0][1] >= 0:
        to_start = min(to_start, sampled * _divide(samples[0][1], gained))
    if to_end >= between * 1.1:
        to_end = between / 2
    factor = (sampled + to_start + to_end) / sampled
    return gained * (factor / ((end - start) / 1000) if per_second else factor)


def _instant(samples: Samples, counter: bool, per_second: bool) -> float | None:
    if len(samples) < 2:
        return None
    (before_t, before), (after_t, after) = samples[-2:]
    gained = after if counter and after < before else after - before
    return gained / ((after_t - before_t) / 1000) if per_second else gained


def _changes(values: Sequence[float]) -> float:
    return float(
        sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in itertools.pairwise(values))
    )


def _resets(values: Sequence[float]) -> float:
    return float(sum(b < a for a, b in itertools.pairwise(values)))


OVER_VALUES = {
    "sum_over_time": neumaier,
    "avg_over_time": _mean,
    "min_over_time": lambda v: _extreme(v, False),
    "max_over_time": lambda v: _extreme(v, True),
    "count_over_time": lambda v: float(len(v)),
    "present_over_time": lambda v: 1.0,
    "last_over_time": lambda v: v[-1],
    "first_over_time": lambda v: v[0],
    "stdvar_over_time": _variance,
    "stddev_over_time": lambda v: math.sqrt(_variance(v)),
    "changes": _changes,
    "resets": _resets,
}
RATES = {
    "rate": (True, True),
    "increase": (True, False),
    "delta": (False, False),
}
INSTANTS = {"irate": (True, True), "idelta": (False, False)}


def _call(world: World, node: Call, now: int) -> float | Vector:
    name = node.func
    if name in OVER_VALUES or name in RATES or name in INSTANTS or name == "quantile_over_time":
        return _over_range(world, node, now)
    if name == "time":
        return now / 1000
    if name == "vector":
        return [((), evaluate(world, node.args[0], now))]
    if name == "timestamp" and isinstance(node.args[0], VectorSelector):
        found = _select(world, node.args[0], now)
        return _unique([(_drop(labels), t / 1000) for labels, t, _ in found])
    vector = evaluate(world, node.args[0], now)
    if name == "scalar":
        return vector[0][1] if len(vector) == 1 else NAN
    if name == "absent":
        return [] if vector else [((), 1.0)]
    function = {
        "timestamp": lambda _: now / 1000,
        "abs": abs,
        "ceil": lambda v: float(np.ceil(v)),
        "sgn": lambda v: float(np.sign(v)),
    }[name]
    return _unique([(_drop(labels), function(v)) for labels, v in vector])


def _over_range(world: World, node: Call, now: int) -> Vector:
    windows, start, end = _range(world, node.args[-1], now)
    result: Vector = []
    for labels, samples in windows:
        values = [v for _, v in samples]
        if node.func in RATES:
            value = _extrapolated(samples, start, end, *RATES[node.func])
        elif node.func in INSTANTS:
            value = _instant(samples, *INSTANTS[node.func])
        elif node.func == "quantile_over_time":
            value = quantile(evaluate(world, node.args[0], now), values)
        else:
            value = OVER_VALUES[node.func](values)
        if value is not None:
            keeps = node.func in ("last_over_time", "first_over_time")
            result.append((labels if keeps else _drop(labels), value))
    return _unique(result)


def _group_key(node: AggregateExpr, labels: Labels) -> Labels:
    if node.without:
        return tuple(p for p in labels if p[0] not in (*node.grouping, "__name__"))
    return tuple(p for p in labels if p[0] in node.grouping)


def _aggregate(world: World, node: AggregateExpr, now: int) -> Vector:
    vector = evaluate(world, node.expr, now)
    parameter = NAN if node.param is None else evaluate(world, node.param, now)
    if node.op in ("topk", "bottomk") and not abs(parameter) < 2**63:
        raise OracleError("overflows int64")
    groups: dict[Labels, Vector] = {}
    for labels, value in vector:
        groups.setdefault(_group_key(node, labels), []).append((labels, value))
    if node.op in ("topk", "bottomk"):
        return [p for g in groups.values() for p in _top(node.op, g, parameter)]
    return [
        (key, _reduce(node.op, [v for _, v in group], parameter)) for key, group in groups.items()
    ]


def _top(op: str, group: Vector, size: float) -> Vector:

    def rank(pair: tuple[Labels, float]) -> tuple[bool, float]:
        value = pair[1]
        return math.isnan(value), (-value if op == "topk" else value)

    return sorted(group, key=rank)[: max(0, int(size))]


def _reduce(op: str, values: Sequence[float], parameter: float) -> float:
    return {
        "sum": lambda: neumaier(values),
        "avg": lambda: _mean(values),
        "min": lambda: _extreme(values, False),
        "max": lambda: _extreme(values, True),
        "count": lambda: float(len(values)),
        "group": lambda: 1.0,
        "stdvar": lambda: _variance(values),
        "stddev": lambda: math.sqrt(_variance(values)),
        "quantile": lambda: quantile(parameter, values),
    }[op]()


def _divide(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def _power(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(a) ** np.float64(b))


def _modulo(a: float, b: float) -> float:
    return NAN if b == 0 or math.isinf(a) or a != a or b != b else math.fmod(a, b)


ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": _modulo,
    "^": _power,
    "atan2": math.atan2,
}
COMPARISON = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _binary(node: BinaryExpr, lhs: float | Vector, rhs: float | Vector) -> float | Vector:
    if isinstance(lhs, float) and isinstance(rhs, float):
        if node.op in ARITHMETIC:
            return ARITHMETIC[node.op](lhs, rhs)
        return float(COMPARISON[node.op](lhs, rhs))
    if isinstance(rhs, float):
        return _with_scalar(node, [(ls, v, v, rhs) for ls, v in lhs])
    if isinstance(lhs, float):
        return _with_scalar(node, [(ls, v, lhs, v) for ls, v in rhs])
    if node.op in ("and", "or", "unless"):
        return _sets(node, lhs, rhs)
    return _vectors(node, lhs, rhs)


def _with_scalar(node: BinaryExpr, rows: list[tuple[Labels, float, float, float]]) -> Vector:
    result: Vector = []
    for labels, own, a, b in rows:
        if node.op in ARITHMETIC:
            result.append((_drop(labels), ARITHMETIC[node.op](a, b)))
        elif node.return_bool:
            result.append((_drop(labels), float(COMPARISON[node.op](a, b))))
        elif COMPARISON[node.op](a, b):
            result.append((labels, own))
    return _unique(result)


def _signature(node: BinaryExpr, labels: Labels) -> Labels:
    matching = node.matching
    if matching.on:
        return tuple(p for p in labels if p[0] in matching.labels)
    return tuple(p for p in labels if p[0] not in (*matching.labels, "__name__"))


def _sets(node: BinaryExpr, lhs: Vector, rhs: Vector) -> Vector:
    left = {_signature(node, labels) for labels, _ in lhs}
    right = {_signature(node, labels) for labels, _ in rhs}
    if node.op == "and":
        return [p for p in lhs if _signature(node, p[0]) in right]
    if node.op == "unless":
        return [p for p in lhs if _signature(node, p[0]) not in right]
    return _unique(lhs + [p for p in rhs if _signature(node, p[0]) not in left])


def _vectors(node: BinaryExpr, lhs: Vector, rhs: Vector) -> Vector:
    if not lhs or not rhs:
        return []
    swapped = node.matching.card is Cardinality.ONE_TO_MANY
    many, one = (rhs, lhs) if swapped else (lhs, rhs)
    partners: dict[Labels, tuple[Labels, float]] = {}
    for pair in one:
        if _signature(node, pair[0]) in partners:
            raise OracleError("duplicate series for the match group")
        partners[_signature(node, pair[0])] = pair
    seen: set[object] = set()
    result: Vector = []
    for labels, value in many:
        signature = _signature(node, labels)
        if signature not in partners:
            continue
        other_labels, other = partners[signature]
        new = _result_labels(node, labels, other_labels)
        key = signature if node.matching.card is Cardinality.ONE_TO_ONE else (signature, new)
        if key in seen:
            raise OracleError("multiple matches")
        seen.add(key)
        a, b = (other, value) if swapped else (value, other)
        if node.op in ARITHMETIC:
            result.append((new, ARITHMETIC[node.op](a, b)))
        elif node.return_bool:
            result.append((new, float(COMPARISON[node.op](a, b))))
        elif COMPARISON[node.op](a, b):
            result.append((new, a))
    return _unique(result)


def _result_labels(node: BinaryExpr, many: Labels, one: Labels) -> Labels:
    matching = node.matching
    result = dict(_drop(many) if node.op in ARITHMETIC or node.return_bool else many)
    if matching.card is Cardinality.ONE_TO_ONE:
        result = {k: v for k, v in result.items() if (k in matching.labels) == matching.on}
    for name in matching.include:
        result.pop(name, None)
        if label_value(one, name):
            result[name] = label_value(one, name)
    return tuple(sorted(result.items()))
