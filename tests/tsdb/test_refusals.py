"""Numbers as Go's %g prints them: the right column comes from fmt.Sprintf's rules."""

import math

import pytest

from meterhall.tsdb.refusals import go_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (100000.0, "100000"),
        (123456.0, "123456"),
        (123456.75, "123456.75"),
        (1000000.0, "1e+06"),
        (1234567.5, "1.2345675e+06"),
        (-123456789.0, "-1.23456789e+08"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
        (0.00001, "1e-05"),
        (0.000012345, "1.2345e-05"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
        (2.0**53, "9.007199254740992e+15"),
        (1e16, "1e+16"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_go_number(value, text):
    assert go_number(value) == text
