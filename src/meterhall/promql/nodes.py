"""The PromQL tree: frozen nodes, named as Prometheus' promql/parser/ast.go names them.

Every node carries `span`, the byte offsets [start, end) of its text in the query, from which annotations and
errors print `line:col`. Durations are milliseconds. Names of fields follow ast.go where they mean the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from meterhall.model.matcher import Matcher


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets into the query text, the end excluded."""

    start: int
    end: int


class ValueType(StrEnum):
    """The four types of PromQL, in the words of its error texts and of the HTTP API."""

    NONE = "none"
    SCALAR = "scalar"
    VECTOR = "vector"
    MATRIX = "matrix"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number; `duration` where it was written as one (`5m` is 300)."""

    span: Span
    value: float
    duration: bool = False


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A quoted string, unescaped."""

    span: Span
    value: str


@dataclass(frozen=True, slots=True)
class ParenExpr:
    """`(expr)`."""

    span: Span
    expr: "Expr"


@dataclass(frozen=True, slots=True)
class UnaryExpr:
    """`-expr` or `+expr`."""

    span: Span
    op: str
    expr: "Expr"


class Cardinality(StrEnum):
    """How many series of each side may pair up in a vector operation."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True)
class VectorMatching:
    """on/ignoring, group_left/group_right, and the fill values of either side (experimental)."""

    card: Cardinality
    on: bool
    labels: tuple[str, ...]
    include: tuple[str, ...] = ()
    fill_lhs: float | None = None
    fill_rhs: float | None = None


@dataclass(frozen=True, slots=True)
class BinaryExpr:
    """`lhs op rhs`; `matching` is None unless both sides are vectors. `op` is lower case."""

    span: Span
    op: str
    lhs: "Expr"
    rhs: "Expr"
    matching: VectorMatching | None = None
    return_bool: bool = False


@dataclass(frozen=True, slots=True)
class DurationExpr:
    """Arithmetic in a duration position: `[5m+1m]`, `offset -(2*3m)`, `[step()]`, `[max(1m, step())]`.

    `op` is one of + - * / % ^ step range min max; unary forms have no lhs. Leaves are NumberLiteral.
    """

    span: Span
    op: str
    lhs: "DurationNode | None"
    rhs: "DurationNode | None"
    wrapped: bool = False


DurationNode = NumberLiteral | DurationExpr


class AtEdge(StrEnum):
    """`@ start()` and `@ end()`."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """`name{matchers}` with its modifiers. `matchers` includes the one on `__name__`.

    `offset_expr` is set where the offset is not a plain duration; `promql.durations.resolve` turns it
    into `offset_ms` before evaluation. `at_ms` and `at_edge` exclude each other.
    """

    span: Span
    name: str
    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    offset_expr: DurationNode | None = None
    at_ms: int | None = None
    at_edge: AtEdge | None = None
    anchored: bool = False
    smoothed: bool = False


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """`selector[range]`."""

    span: Span
    vector: VectorSelector
    range_ms: int
    range_expr: DurationNode | None = None


@dataclass(frozen=True, slots=True)
class SubqueryExpr:
    """`expr[range:step]`; `step_ms` 0 means the default resolution."""

    span: Span
    expr: "Expr"
    range_ms: int
    step_ms: int
    range_expr: DurationNode | None = None
    step_expr: DurationNode | None = None
    offset_ms: int = 0
    offset_expr: DurationNode | None = None
    at_ms: int | None = None
    at_edge: AtEdge | None = None


@dataclass(frozen=True, slots=True)
class AggregateExpr:
    """`op by|without (grouping) (param, expr)`."""

    span: Span
    op: str
    expr: "Expr"
    param: "Expr | None"
    grouping: tuple[str, ...]
    without: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; the function exists and its arguments have the right types."""

    span: Span
    func: str
    args: Sequence["Expr"]


Expr = (
    NumberLiteral
    | StringLiteral
    | ParenExpr
    | UnaryExpr
    | BinaryExpr
    | VectorSelector
    | MatrixSelector
    | SubqueryExpr
    | AggregateExpr
    | Call
)
