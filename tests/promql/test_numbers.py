"""Number tokens: what Go's strconv makes of them."""

import math

import pytest

from meterhall.promql.numbers import parse_number
from meterhall.promql.strings import format_float, quote_char, unquote


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("1", 1.0),
        ("1_000", 1000.0),
        ("0x1F", 31.0),
        ("0X_1f", 31.0),
        ("017", 15.0),
        ("08", 8.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3.0),
        ("inf", math.inf),
        ("-Inf", -math.inf),
        ("9223372036854775807", 9.223372036854775807e18),
        ("9223372036854775808", 9.223372036854775808e18),
        ("1__0", None),
        ("1_", None),
        ("0x", None),
        ("1e999", None),
        ("0xffffffffffffffffff", None),
        ("x", None),
        ("--3", None),
        (" 3", None),
        ("3 ", None),
        ("0x1p3", None),
        ("", None),
        ("٣", None),
        ("1٣", None),
    ],
)
def test_parse(literal, value):
    found, fault = parse_number(literal)
    if value is None:
        assert fault.startswith(f'strconv.ParseFloat: parsing "{literal}": ')
    else:
        assert (found, fault) == (value, "")


def test_nan():
    assert math.isnan(parse_number("NaN")[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (123456.75, "123456.75"),
        (100.0, "100"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_format(value, text):
    assert format_float(value) == text


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ('"a"', "a"),
        ("'a\"b'", 'a"b'),
        ("`a\\n`", "a\\n"),
        (r'"\a\b\f\n\r\t\v\\\""', '\a\b\f\n\r\t\v\\"'),
        (r'"\x41\101\u00e9\U0001F600"', "AAé\U0001f600"),
        (r'"\xc3\xa9"', "é"),
        (r'"\xff"', "\ufffd"),
        (r'"\q"', None),
        (r'"\x4"', None),
        (r'"\ud800"', None),
        (r'"\777"', None),
        ('"a', None),
        ('"', None),
        ('"a"b"', None),
        (r'"\'"', None),
        ('"a\nb"', None),
    ],
)
def test_unquote(literal, value):
    assert unquote(literal) == value


@pytest.mark.parametrize(
    ("char", "text"),
    [("a", "'a'"), ("'", r"'\''"), ('"', "'\"'"), ("\n", r"'\n'"), ("é", "'é'"), ("", "'\ufffd'")],
)
def test_quote_char(char, text):
    assert quote_char(char) == text
