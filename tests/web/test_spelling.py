"""Numbers and times against a slow, obvious way, and Prometheus' own spellings from the contract."""

import numpy as np
import pytest
from hypothesis import given, settings
from tests.web.spellings import any_values, many_values, reference_value

from meterhall.web import spelling


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1.234e-07, "1.234e-07"),
        (1e-06, "0.000001"),
        (9.99e-07, "9.99e-07"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e16, "10000000000000000"),
        (0.00001, "0.00001"),
        (1.5e-5, "0.000015"),
        (2.0, "2"),
        (10.05, "10.05"),
        (0.0, "0"),
        (-0.0, "-0"),
        (-1e-7, "-1e-07"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740993.0, "9007199254740992"),
    ],
)
def test_a_value_is_spelled_as_prometheus_does(value, text):
    assert spelling.spell_value(value) == text
    assert spelling.spell_values(np.array([value, 0.5])) == [text.encode(), b"0.5"]
    assert spelling.spell_values(np.array([value])) == [text.encode()]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1000000000000000000000"),
        (1e-9, "0.000000001"),
        (2.5, "2.5"),
        (-0.0, "-0"),
        (float("inf"), "+Inf"),
    ],
)
def test_a_scalar_never_has_an_exponent(value, text):
    assert spelling.spell_scalar(value) == text


@pytest.mark.parametrize(
    ("time_ms", "sample", "scalar"),
    [
        (4000, "4", "4"),
        (500, "0.500", "0.5"),
        (1795445635413, "1795445635.413", "1795445635.413"),
        (-3599000, "-3599", "-3599"),
        (-500, "-0.500", "-0.5"),
        (0, "0", "0"),
        (100000, "100", "100"),
        (1, "0.001", "0.001"),
        (10, "0.010", "0.01"),
    ],
)
def test_times_of_samples_have_three_decimals_or_none(time_ms, sample, scalar):
    assert spelling.spell_seconds(time_ms) == sample.encode()
    assert spelling.spell_loose_seconds(time_ms) == scalar.encode()


@given(any_values)
@settings(max_examples=400, deadline=None)
def test_any_float_is_spelled_as_the_reference_does(values):
    assert spelling.spell_values(values) == [reference_value(v).encode() for v in values.tolist()]


def test_many_floats_are_spelled_as_the_reference_does():
    values = many_values()
    assert spelling.spell_values(values) == [reference_value(v).encode() for v in values.tolist()]
