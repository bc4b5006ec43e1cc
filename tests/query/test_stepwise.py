"""Which expressions may be put together step by step, and how far they look."""

import pytest

from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import ALL_FEATURES
from meterhall.query.stepwise import looks_ahead_ms


@pytest.mark.parametrize(
    ("text", "ahead_ms"),
    [
        ("x", 0),
        ('{__name__="x", job=~".+"}', 0),
        ("x offset 5m", -300_000),
        ("x offset -5m", 300_000),
        ("x offset 5m + x offset -1m", 60_000),
        ("sum by (job) (rate(x_total[5m] offset 1h))", -3_600_000),
        ("max_over_time(rate(x_total[5m] offset -1m)[1h:1m] offset 3m)", -120_000),
        ("histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))", 0),
        ("clamp_max(-x, 5) / on (i) group_left (v) y > bool 2", 0),
        ("x and y unless z", 0),
        ("time() - timestamp(x)", 0),
        ("quantile by (i) (0.5, x)", 0),
    ],
)
def test_steps_stand_alone(text, ahead_ms):
    assert looks_ahead_ms(parse_expr(text, ALL_FEATURES)) == ahead_ms


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "vector(1)",
        "time()",
        "x @ 100",
        "x @ start()",
        "rate(x_total[5m] @ end())",
        "max_over_time(x[1h:1m] @ 100)",
        "rate(x_total[step()])",
        "rate(x_total[range()])",
        "x offset step()",
        "max_over_time(x[1h:step()])",
        "x * start()",
        "x * range()",
        "x or y",
        "topk(3, x)",
        "limitk(3, x)",
        'count_values("v", x)',
        'label_replace(x, "a", "$1", "b", "(.*)")',
        "sort(x)",
        "absent(x)",
        '{__name__=~"x|y"}',
        '{job="a"}',
        "-" * 2 + "(" * 30 + "+".join(["x"] * 400) + ")" * 30,
    ],
)
def test_steps_that_depend_on_more_than_their_time(text):
    assert looks_ahead_ms(parse_expr(text, ALL_FEATURES)) is None
