"""Functions of single values, at the values where Go and NumPy might part."""

import math

import pytest
from tests.query.asking import reader, values

INF = math.inf
NAN = math.nan
CASES = [
    ("clamp(vector(5), 1, 3)", 3),
    ("clamp(vector(NaN), 1, 3)", NAN),
    # math.Max and math.Min let an infinity win over NaN.
    ("clamp(vector(NaN), Inf, Inf)", INF),
    ("clamp_min(vector(NaN), Inf)", INF),
    ("clamp_max(vector(NaN), -Inf)", -INF),
    ("clamp(vector(-Inf), 2, NaN)", 2),
    ("round(vector(2.5))", 3),
    ("round(vector(-2.5))", -2),
    ("round(vector(5.3), 0.1)", 5.3),
    ("round(vector(1), 0)", NAN),
    ("sgn(vector(-3))", -1),
    ("sgn(vector(NaN))", NAN),
    ("ln(vector(-1))", NAN),
    ("ln(vector(0))", -INF),
    ("deg(vector(pi()))", 180),
    ("rad(vector(180))", math.pi),
    ("acosh(vector(0.5))", NAN),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_value(query, expected):
    assert values(reader(), query) == [((), pytest.approx(expected, nan_ok=True))]


@pytest.mark.parametrize(
    ("query", "sign"),
    [
        ("clamp_max(vector(0), -0)", -1),
        ("clamp_max(vector(-0), 0)", -1),
        ("clamp_max(vector(0), 0)", 1),
        ("clamp_max(vector(-0), -0)", -1),
        ("clamp_min(vector(0), -0)", 1),
        ("clamp_min(vector(-0), 0)", 1),
        ("clamp_min(vector(0), 0)", 1),
        ("clamp_min(vector(-0), -0)", -1),
        ("clamp(vector(0), -Inf, -0)", -1),
        ("clamp(vector(-0), 0, Inf)", 1),
    ],
)
def test_a_clamp_tells_zeros_apart(query, sign):
    """math.Min takes -0, math.Max 0, whichever comes first."""
    ((_, found),) = values(reader(), query)
    assert (found, math.copysign(1, found)) == (0, sign)


def test_a_clamp_upside_down_is_empty():
    assert values(reader(), "clamp(vector(5), 3, 1)") == []


OPERATORS = [
    ("5 % 3", 2),
    ("-5 % 3", -2),
    ("5 % Inf", 5),
    ("5 % 0", NAN),
    ("1 ^ NaN", 1),
    ("NaN ^ 0", 1),
    ("(-8) ^ (1/3)", NAN),
    ("1 / -0", -INF),
    ("Inf - Inf", NAN),
    ("NaN == bool NaN", 0),
    ("NaN != bool NaN", 1),
    ("1 atan2 0", math.pi / 2),
]


@pytest.mark.parametrize(("query", "expected"), OPERATORS)
def test_scalar_operators(query, expected):
    assert values(reader(), query) == pytest.approx(expected, nan_ok=True)
