"""Numbers to the letter of Go's strconv."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.samples import NAN_BITS
from meterhall.wire.numbers import (
    format_float,
    normalize_bound,
    parse_milliseconds,
    parse_seconds,
    parse_value,
)

# What is accepted and refused as a value is in data/textparse-classic.jsonl, too.
NOT_VALUES = [
    "1_0",
    "0x1p3",
    "+nan",
    "-nan",
    "1e400",
    "-1e400",
    "1e",
    "e1",
    ".",
    "+.",
    "--",
    "1f",
    "infi",
]


@pytest.mark.parametrize("text", [*NOT_VALUES, "", " 1", "1 ", "1\n", "\u0661", "\u221e"])
def test_not_a_value(text):
    assert parse_value(text.encode()) is None


@given(st.floats(allow_nan=False))
def test_every_float_is_read_as_python_spells_it(value):
    got = parse_value(repr(value).encode())
    assert got == value
    assert math.copysign(1, got) == math.copysign(1, value)


def test_nan_is_the_one_ordinary_nan():
    import struct

    assert struct.unpack("<Q", struct.pack("<d", parse_value(b"nAn")))[0] == NAN_BITS


@given(st.binary(max_size=12))
def test_never_raises(token):
    parse_value(token)
    parse_seconds(token)
    normalize_bound(token.decode("latin-1"))


@pytest.mark.parametrize(
    ("digits", "time"),
    [
        (b"0", 0),
        (b"000", 0),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", None),
        (b"0" * 5000 + b"7", 7),
        (b"9" * 5000, None),
    ],
)
def test_milliseconds(digits, time):
    assert parse_milliseconds(digits) == time


@pytest.mark.parametrize(
    ("token", "time"),
    [
        (b"1.5", 1500),
        (b"-1.0015", -1001),
        (b"1.5e3", 1_500_000),
        (b"1e300", -(2**63)),
        (b"-1e300", -(2**63)),
        (b"9223372036854775.807", -(2**63)),
        (b"NaN", None),
        (b"Inf", None),
        (b"x", None),
    ],
)
def test_seconds(token, time):
    assert parse_seconds(token) == time


BOUNDS = [
    ("1", "1.0"),
    ("0", "0.0"),
    ("-0", "0.0"),
    ("-1", "-1.0"),
    ("0.50", "0.5"),
    ("1e3", "1000.0"),
    ("100000", "100000.0"),
    ("1000000", "1e+06"),
    ("-1234567.5", "-1.2345675e+06"),
    ("0.0001", "0.0001"),
    ("0.00001", "1e-05"),
    ("1e100", "1e+100"),
    ("1.55555555555552e+06", "1.55555555555552e+06"),
    ("Inf", "+Inf"),
    ("-infinity", "-Inf"),
    ("nan", "NaN"),
    ("1_0", "10.0"),
    ("0x1p3", "8.0"),
    ("0x1p99999", "0x1p99999"),
    ("1_", "1_"),
    ("1e400", "1e400"),
    ("x", "x"),
    ("", ""),
    (" 1", " 1"),
    ("\u0663", "\u0663"),
]


@pytest.mark.parametrize(("text", "normal"), BOUNDS)
def test_bounds_are_spelt_as_openmetrics_does(text, normal):
    assert normalize_bound(text) == normal
    assert normalize_bound(normal) == normal


@given(st.floats())
def test_format_float_loses_nothing(value):
    text = format_float(value)
    assert text == format_float(float(text))
    assert math.isnan(value) or float(text) == value
