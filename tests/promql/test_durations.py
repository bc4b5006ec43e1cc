"""Durations: Prometheus' texts there and back, and arithmetic resolved to milliseconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import BadInput, PromQLError
from meterhall.promql.durations import format_duration, parse_duration, resolve
from meterhall.promql.nodes import DurationExpr
from meterhall.promql.parser import parse_expr
from meterhall.promql.walk import descend, selectors


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", 0),
        ("0s", 0),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1y2w3d4h5m6s7ms", 33_019_506_007),
        ("0000005s", 5_000),
        ("292y", 292 * 365 * 86_400_000),
        ("", "empty duration string"),
        ("5", 'not a valid duration string: "5"'),
        ("m", 'not a valid duration string: "m"'),
        ("-5m", 'not a valid duration string: "-5m"'),
        ("1m1h", 'not a valid duration string: "1m1h"'),
        ("1m1m", 'not a valid duration string: "1m1m"'),
        ("1.5h", 'unknown unit "." in duration "1.5h"'),
        ("1M", 'unknown unit "M" in duration "1M"'),
        ("1h 30m", 'unknown unit "h " in duration "1h 30m"'),
        ("٣m", 'not a valid duration string: "٣m"'),
        ("300y", "duration out of range"),
        ("99999999999999999999s", 'not a valid duration string: "99999999999999999999s"'),
    ],
)
def test_parse(text, found):
    if isinstance(found, int):
        assert parse_duration(text) == found
        return
    with pytest.raises(BadInput) as caught:
        parse_duration(text)
    assert str(caught.value) == found


@given(st.integers(0, 290 * 365 * 86_400_000))
def test_texts_come_back(duration_ms):
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0s"), (7 * 86_400_000, "1w"), (90 * 86_400_000, "90d"), (365 * 86_400_000, "1y"), (1_500, "1s500ms")],
)  # fmt: skip
def test_format(duration_ms, text):
    assert format_duration(duration_ms) == text


@pytest.mark.parametrize(
    ("duration", "found"),
    [
        ("1m+30s", 90_000),
        ("1m*2-30s", 90_000),
        ("3m/2", 90_000),
        ("100s%30s", 10_000),
        ("2^3", 8_000),
        ("2^3^0", 2_000),
        ("-(1m)+2m", 60_000),
        ("step()", 15_000),
        ("range()", 600_000),
        ("max_of(step(), 1m)", 60_000),
        ("min_of(step(), 1m)", 15_000),
        ("(step() + 5) * 2", 40_000),
        ("0.0005*3", 1),
        ("1m-2m", "4:9: duration must be greater than 0"),
        ("step()/(1-1)", "4:15: division by zero"),
        ("1%(1-1)", "4:10: modulo by zero"),
        ("10^30", "4:9: duration is out of range"),
        ("(0-2)^0.5", "5:13: duration must be greater than 0"),
    ],
)
def test_resolve(duration, found):
    expr = parse_expr(f"foo[{duration}]")
    if isinstance(found, int):
        assert resolve(expr, 1_000, 601_000, 15_000).range_ms == found
        return
    with pytest.raises(PromQLError) as caught:
        resolve(expr, 1_000, 601_000, 15_000)
    assert str(caught.value) == found


def test_resolve_reaches_every_node():
    text = "sum(rate(a[1m+1m] offset (1s+1s))) + -(b offset -(1m*2)) or max_over_time(c[step():range()] offset step())"
    expr = resolve(parse_expr(text), 0, 600_000, 15_000)
    for node in descend(expr):
        for name in ("range_expr", "step_expr", "offset_expr"):
            assert not isinstance(getattr(node, name, None), DurationExpr)
    assert [selector.offset_ms for selector in selectors(expr)] == [2_000, -120_000, 0]


def test_plain_trees_are_left_as_they_are():
    expr = parse_expr("rate(foo[5m] offset 1m)")
    assert resolve(expr, 0, 0, 0) is expr
