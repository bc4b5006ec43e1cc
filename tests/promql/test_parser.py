"""The parser against verdicts of a real Prometheus, its limits, and its laws."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhall.model.errors import PromQLError
from meterhall.promql.ast_json import to_json
from meterhall.promql.durations import resolve
from meterhall.promql.nodes import Span
from meterhall.promql.parser import CHAIN_MAX, parse_expr, parse_selector
from meterhall.promql.printer import expr_string, format_expr
from meterhall.promql.signatures import ALL_FEATURES, EXPERIMENTAL_FUNCTIONS
from meterhall.promql.walk import descend

DATA = Path(__file__).parent / "data"


def rows(name):
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def verdict(query, features=frozenset()):
    """The error text of a query, or None."""
    try:
        resolve(parse_expr(query, frozenset(features)), 0, 0, 0)
    except PromQLError as error:
        return str(error)
    return None


def test_verdicts_are_those_of_prometheus():
    """`verdicts.jsonl` was written by Prometheus 3.5.3; where 3.14 differs, `prometheus_3_5` keeps the old one."""
    wrong = {
        row["query"]: (verdict(row["query"], row["features"]), row["error"])
        for row in rows("verdicts.jsonl")
        if verdict(row["query"], row["features"]) != row["error"]
    }
    assert wrong == {}


def test_all_queries_of_the_compliance_lists_parse():
    refused = {}
    for query in (DATA / "queries.txt").read_text().splitlines():
        try:
            parse_expr(query, ALL_FEATURES)
        except PromQLError as error:
            refused[query] = str(error)
    assert refused == {}


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("foo[5m+step()]", None),
        ("foo[max_of(5m, step())]", None),
        ("foo[min(1m, 2m)]", None),
        ("foo offset -(2*3m)", None),
        ("foo offset step()", None),
        ("foo[]", '1:5: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()'),
        ("foo offset", "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()"),
        ("foo[step()]", "4:10: duration must be greater than 0"),
        ("foo anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
        ("rate(foo[5m] smoothed)", "1:6: parse error: smoothed modifier is experimental and not enabled"),
        ("a + fill(1) b", "1:5: parse error: binop fill modifiers are experimental and not enabled"),
        ("a + fill", None),
        ("start()", '1:1: parse error: function "start" is not enabled'),
        ("mad_over_time(foo[5m])", '1:1: parse error: function "mad_over_time" is not enabled'),
        ("a </ 1", "1:3: parse error: operator </ needs native histograms, which are not supported"),
    ],
)  # fmt: skip
def test_what_is_newer_than_the_recorded_server(query, error):
    assert verdict(query) == error


@pytest.mark.parametrize(
    ("query", "node", "text"),
    [
        ("a + b", "BinaryExpr", "a + b"),
        ("sum by (x) (rate(foo[5m]))", "Call", "rate(foo[5m])"),
        ("é_not + 1", None, None),
        ('x{a="é"} * -foo offset 5m', "UnaryExpr", "-foo offset 5m"),
        ('{"é"}[5m] @ 3', "MatrixSelector", '{"é"}[5m] @ 3'),
        ("(a)", "ParenExpr", "(a)"),
        ("-1", "NumberLiteral", "-1"),
        ('quantile(2, "é" == "a")', None, None),
        ("a[5m:1m] offset 1m", "SubqueryExpr", "a[5m:1m] offset 1m"),
        ("count without () (a) ", "AggregateExpr", "count without () (a)"),
    ],
)
def test_spans_are_bytes_of_the_text(query, node, text):
    if node is None:
        assert verdict(query) is not None
        return
    found = next(n for n in descend(parse_expr(query)) if type(n).__name__ == node)
    assert query.encode()[found.span.start : found.span.end].decode() == text


@pytest.mark.parametrize(
    "query",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "^".join(["2"] * 4_200),
        "-" * 100_000 + "a",
        "-" * 300 + "a",
        "abs(" * 5_000 + "a" + ")" * 5_000,
        "a" + "[1m:]" * 5_000,
        "a[" + "+".join(["1m"] * 5_000) + "]",
        "a[" + "(" * 5_000 + "1m" + ")" * 5_000 + "]",
        "+".join(["1"] * 500_000),
        "(" * 1_000_000,
        "9" * 1_000_000,
        "a" * 1_000_000 + " b",
        '"' + "x" * 1_000_000,
    ],
    ids=lambda query: f"{query[:6]} {len(query)}",
)
def test_huge_and_deep_texts_are_refused(query):
    assert "parse error" in verdict(query)


@pytest.mark.parametrize("count", [5_000, CHAIN_MAX])
def test_long_chains_are_answered(count):
    expr = parse_expr(" or ".join(["a"] * count))
    assert expr_string(expr) == " or ".join(["a"] * count)
    assert expr_string(parse_expr(format_expr(expr))) == expr_string(expr)
    resolve(expr, 0, 0, 0)
    with pytest.raises(Exception, match="too deep"):
        to_json(expr)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("foo", '[__name__="foo"]'),
        ('foo{a!="b"}', '[a!="b", __name__="foo"]'),
        ('{"a.b",c=~"d"}', '[__name__="a.b", c=~"d"]'),
        ("sum", '[__name__="sum"]'),
        ("{}", "[]"),
        ("foo offset 5m", "1:5: parse error: unexpected <offset>"),
        ("foo @ 1", "1:5: parse error: unexpected <op:@>"),
        ("foo[5m]", '1:4: parse error: unexpected "["'),
        ("rate(foo)", '1:5: parse error: unexpected "("'),
        ("1", '1:1: parse error: unexpected number "1"'),
        ("", "unknown position: parse error: unexpected end of input"),
        ("fo{", "1:4: parse error: unexpected end of input inside braces"),
    ],
)
def test_selectors_of_match_parameters(text, found):
    if found.startswith("["):
        assert str(list(parse_selector(text))) == found
    else:
        with pytest.raises(PromQLError) as caught:
            parse_selector(text)
        assert str(caught.value) == found


WORDS = st.sampled_from(
    ['foo', 'bar', 'sum', 'by', 'without', '(', ')', '{', '}', '[', ']', ',', '+', '-', '*', '/', '%', '^', '==', '!=', '>', '<', '=~', '!~', '=', 'and', 'or', 'unless', 'atan2', 'bool', 'on', 'ignoring', 'group_left', 'offset', '@', '5m', '1', '0', '2.5', '0x1f', 'inf', '"s"', "'t'", '`u`', 'rate(', 'time()', 'start()', 'end()', 'step()', 'range()', '{a="b"}', '[5m]', '[1m:30s]', '[5m:]', '(foo)', 'topk(1,', 'count_values(', 'limitk', 'a:b', ':', '#', '\n', '!', '~', '.', '_', '5x', '1h30m', '"\\x"', 'by(a)', 'on(a)', 'fill(1)', 'anchored', 'smoothed', 'max_of(', 'é', '�', '�']
)  # fmt: skip
SOUP = st.lists(st.tuples(WORDS, st.sampled_from(["", " "])), max_size=14).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=40), SOUP))
def test_any_text_parses_or_is_refused(text):
    """Nothing but PromQLError comes out, and what parses survives printing."""
    try:
        expr = parse_expr(text, ALL_FEATURES)
    except PromQLError:
        return
    check_round_trip(expr)
    to_json(expr)


def check_round_trip(expr):
    for text in (expr_string(expr), format_expr(expr)):
        assert without_spans(parse_expr(text, ALL_FEATURES)) == without_spans(expr)


def without_spans(node):
    """The tree as nested tuples, less spans and the order of matchers, which printing sorts."""
    if isinstance(node, Span):
        return None
    if is_dataclass(node):
        values = [
            sorted(map(repr, value)) if name == "matchers" else without_spans(value)
            for name, value in ((f.name, getattr(node, f.name)) for f in fields(node))
        ]
        return (type(node).__name__, *values)
    if isinstance(node, tuple):
        return tuple(without_spans(item) for item in node)
    return repr(node)


def test_recorded_queries_survive_printing():
    for row in rows("verdicts.jsonl"):
        if row["error"] is None:
            check_round_trip(parse_expr(row["query"], ALL_FEATURES))


VECTORS = st.recursive(
    st.sampled_from(["foo", 'foo{a="b"}', '{a=~"b.*"}', "foo offset 5m", "foo @ 1"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["sum", "avg by (a)", "count without (b)"]), inner).map(
            lambda p: f"{p[0]} ({p[1]})"
        ),
        st.tuples(inner, st.sampled_from(["+", "/ on (a)", "and", "> bool", "^"]), inner).map(
            lambda p: f"({p[0]}) {p[1]} {p[2]}"
        ),
        inner.map(lambda e: f"max_over_time(({e})[5m:1m])"),
        inner.map(lambda e: f"abs(-({e}))"),
        inner.map(lambda e: f"topk(3, {e})"),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(VECTORS)
def test_valid_queries_are_valid_elsewhere_too(query):
    """promql_parser is another port of Prometheus' grammar; it is only asked about shallow queries."""
    check_round_trip(parse_expr(query))
    promql_parser.parse(query)


def test_features_open_what_is_experimental():
    query = "limitk(1, sort_by_label(foo, 'a'))"
    assert verdict(query) == '1:11: parse error: function "sort_by_label" is not enabled'
    assert verdict(query, {EXPERIMENTAL_FUNCTIONS}) is None
