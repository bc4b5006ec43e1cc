"""Types of expressions, and the checks of Prometheus' parser.checkAST with its texts.

The tree's height is bounded by the parser (`parser.HEIGHT_MAX`), so that recursion here is safe; chains of binary
operators, which may be longer, are walked in loops.
"""

from dataclasses import replace

from meterhall.model.errors import PromQLError
from meterhall.model.labels import METRIC_NAME
from meterhall.promql.nodes import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Cardinality,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    ValueType,
    VectorMatching,
    VectorSelector,
)
from meterhall.promql.position import parse_error, utf8
from meterhall.promql.signatures import FUNCTIONS
from meterhall.promql.strings import quote_text
from meterhall.promql.tokens import COMPARISONS, SET_OPERATORS
from meterhall.promql.walk import left_spine

_DOCUMENTED = {ValueType.VECTOR: "instant vector", ValueType.MATRIX: "range vector"}
_BLANKS = (b" ", b"\t", b"\n", b"\r")
_OPERANDS = (ValueType.SCALAR, ValueType.VECTOR)
_SCALAR_PARAM = frozenset(("topk", "bottomk", "quantile", "limitk", "limit_ratio"))


def value_type(expr: Expr) -> ValueType:
    """What kind of value the expression has. Follows the Type methods of ast.go."""
    match expr:
        case NumberLiteral():
            return ValueType.SCALAR
        case StringLiteral():
            return ValueType.STRING
        case ParenExpr() | UnaryExpr():
            return value_type(expr.expr)
        case VectorSelector() | AggregateExpr():
            return ValueType.VECTOR
        case MatrixSelector() | SubqueryExpr():
            return ValueType.MATRIX
        case Call():
            return FUNCTIONS[expr.func].result
        case BinaryExpr():
            innermost, links = left_spine(expr)
            operands = (innermost, *(link.rhs for link in links))
            scalars = all(value_type(operand) is ValueType.SCALAR for operand in operands)
            return ValueType.SCALAR if scalars else ValueType.VECTOR


def documented(kind: ValueType) -> str:
    """The type in the words of the error texts: `instant vector` for `vector`."""
    return _DOCUMENTED.get(kind, str(kind))


def check(expr: Expr, text: str) -> Expr:
    """The tree with vector matching settled. Raises PromQLError where types do not fit."""
    return _Checker(text).check(expr)[0]


class _Checker:
    def __init__(self, text: str) -> None:
        self._text = text

    def _error(self, expr: Expr, reason: str) -> PromQLError:
        return parse_error(self._text, expr.span.start, reason)

    def check(self, expr: Expr) -> tuple[Expr, ValueType]:
        match expr:
            case NumberLiteral() | StringLiteral():
                return expr, value_type(expr)
            case VectorSelector() | MatrixSelector():
                self._selector(expr.vector if isinstance(expr, MatrixSelector) else expr)
                return expr, value_type(expr)
            case ParenExpr():
                inner, kind = self.check(expr.expr)
                return replace(expr, expr=inner), kind
            case UnaryExpr():
                return self._unary(expr)
            case SubqueryExpr():
                return self._subquery(expr), ValueType.MATRIX
            case AggregateExpr():
                return self._aggregate(expr), ValueType.VECTOR
            case Call():
                return self._call(expr), FUNCTIONS[expr.func].result
            case BinaryExpr():
                return self._binary(expr)

    def _expect(self, expr: Expr, want: ValueType, context: str) -> Expr:
        checked, kind = self.check(expr)
        if kind is not want:
            reason = f"expected type {documented(want)} in {context}, got {documented(kind)}"
            raise self._error(expr, reason)
        return checked

    def _unary(self, expr: UnaryExpr) -> tuple[Expr, ValueType]:
        inner, kind = self.check(expr.expr)
        if kind not in _OPERANDS:
            raise self._error(
                expr,
                "unary expression only allowed on expressions of type scalar or instant vector, "
                f'got "{documented(kind)}"',
            )
        return replace(expr, expr=inner), kind

    def _subquery(self, expr: SubqueryExpr) -> SubqueryExpr:
        inner, kind = self.check(expr.expr)
        if kind is not ValueType.VECTOR:
            reason = f"subquery is only allowed on instant vector, got {kind} instead"
            raise self._error(expr, reason)
        return replace(expr, expr=inner)

    def _aggregate(self, expr: AggregateExpr) -> AggregateExpr:
        inner = self._expect(expr.expr, ValueType.VECTOR, "aggregation expression")
        param = expr.param
        if param is not None:
            want = ValueType.SCALAR if expr.op in _SCALAR_PARAM else ValueType.STRING
            param = self._expect(param, want, "aggregation parameter")
            if self._is_broken(param):
                raise self._error(param, f"invalid label name {self._source(param)}")
        return replace(expr, expr=inner, param=param)

    def _is_broken(self, expr: Expr) -> bool:
        """Whether a literal spells bytes that are no UTF-8, which no label name may.

        Prometheus finds this when it evaluates; here the parser has put U+FFFD for such bytes.
        """
        if not isinstance(expr, StringLiteral) or "\N{REPLACEMENT CHARACTER}" not in expr.value:
            return False
        return "\N{REPLACEMENT CHARACTER}" not in self._source(expr)

    def _source(self, expr: Expr) -> str:
        return utf8(self._text)[expr.span.start : expr.span.end].decode("utf-8", "replace")

    def _call(self, expr: Call) -> Call:
        self._arity(expr)
        wanted = FUNCTIONS[expr.func].args
        context = f'call to function "{expr.func}"'
        if expr.func == "info" and len(expr.args) > 1:
            return self._info(expr, context)
        if expr.func in ("label_replace", "label_join") and self._is_broken(expr.args[1]):
            reason = f"invalid destination label name in {expr.func}(): \N{REPLACEMENT CHARACTER}"
            raise self._error(expr.args[1], reason)
        args = tuple(
            self._expect(arg, wanted[min(index, len(wanted) - 1)], context)
            for index, arg in enumerate(expr.args)
        )
        return replace(expr, args=args)

    def _arity(self, expr: Call) -> None:
        signature = FUNCTIONS[expr.func]
        got, want = len(expr.args), len(signature.args)
        if signature.variadic == 0:
            bound, fits = f"{want}", got == want
        elif got < want - 1:
            bound, fits = f"at least {want - 1}", False
        else:
            most = want - 1 + signature.variadic
            bound, fits = f"at most {most}", signature.variadic < 0 or got <= most
        if not fits:
            reason = f'expected {bound} argument(s) in call to "{expr.func}", got {got}'
            raise self._error(expr, reason)

    def _info(self, expr: Call, context: str) -> Call:
        """`info` takes a bare `{…}` as its second argument, which may match the empty set."""
        labels = expr.args[1]
        kind = value_type(labels)
        if kind is not ValueType.VECTOR:
            want = documented(ValueType.VECTOR)
            reason = f"expected type {want} in {context}, got {documented(kind)}"
            raise self._error(expr, reason)
        if not isinstance(labels, VectorSelector) or labels.name:
            reason = "expected label selectors only, got vector selector instead"
            raise self._error(labels, reason)
        first = self._expect(expr.args[0], ValueType.VECTOR, context)
        return replace(expr, args=(first, labels))

    def _selector(self, selector: VectorSelector) -> None:
        if selector.name:
            # The last matcher is the name before the braces; inside them there may be none.
            twice = next((m for m in selector.matchers[:-1] if m.name == METRIC_NAME), None)
            if twice is not None:
                both = f"{quote_text(selector.name)} or {quote_text(twice.value)}"
                raise self._error(selector, f"metric name must not be set twice: {both}")
        elif all(matcher.matches("") for matcher in selector.matchers):
            reason = "vector selector must contain at least one non-empty matcher"
            raise self._error(selector, reason)

    def _binary(self, expr: BinaryExpr) -> tuple[Expr, ValueType]:
        innermost, links = left_spine(expr)
        checked, kind = self.check(innermost)
        for link in links:
            checked, kind = self._link(link, checked, kind)
        return checked, kind

    def _link(self, expr: BinaryExpr, lhs: Expr, left: ValueType) -> tuple[Expr, ValueType]:
        rhs, right = self.check(expr.rhs)
        self._operator(expr, left, right)
        for side, kind in ((expr.lhs, left), (expr.rhs, right)):
            if kind not in _OPERANDS:
                reason = "binary expression must contain only scalar and instant vector types"
                raise self._error(side, reason)
        matching = self._matching(expr, left, right)
        scalars = left is right is ValueType.SCALAR
        kind = ValueType.SCALAR if scalars else ValueType.VECTOR
        return replace(expr, lhs=lhs, rhs=rhs, matching=matching), kind

    def _operator(self, expr: BinaryExpr, left: ValueType, right: ValueType) -> None:
        comparison = expr.op in COMPARISONS
        if expr.return_bool and not comparison:
            reason = "bool modifier can only be used on comparison operators"
            raise parse_error(self._text, self._operator_at(expr), reason)
        if comparison and not expr.return_bool and left is right is ValueType.SCALAR:
            reason = "comparisons between scalars must use BOOL modifier"
            raise parse_error(self._text, self._operator_at(expr), reason)
        matching = expr.matching
        assert matching is not None, "the parser gives every binary expression a matching"
        for label in matching.labels if matching.on else ():
            if label in matching.include:
                reason = f"label {quote_text(label)} must not occur in ON and GROUP clause at once"
                raise parse_error(self._text, self._operator_at(expr), reason)

    def _operator_at(self, expr: BinaryExpr) -> int:
        encoded = utf8(self._text)
        at = expr.lhs.span.end
        while encoded[at : at + 1] in _BLANKS:
            at += 1
        return at

    def _matching(
        self, expr: BinaryExpr, left: ValueType, right: ValueType
    ) -> VectorMatching | None:
        matching, is_set = expr.matching, expr.op in SET_OPERATORS
        assert matching is not None, "the parser gives every binary expression a matching"
        grouped = matching.card in (Cardinality.ONE_TO_MANY, Cardinality.MANY_TO_ONE)
        if not left is right is ValueType.VECTOR:
            if matching.labels:
                reason = "vector matching only allowed between instant vectors"
                raise self._error(expr, reason)
            if is_set:
                reason = f'set operator "{expr.op}" not allowed in binary scalar expression'
                raise self._error(expr, reason)
            return None
        if is_set and grouped:
            raise self._error(expr, f'no grouping allowed for "{expr.op}" operation')
        return replace(matching, card=Cardinality.MANY_TO_MANY) if is_set else matching
