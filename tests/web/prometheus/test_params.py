"""Single parameters against Go's rules; what Prometheus answers to them over HTTP is in test_peer."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import BadInput
from meterhall.web.prometheus import params
from meterhall.web.prometheus.form import Form
from meterhall.wire.numbers import parse_float


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("15", 15.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1_0", 10.0),
        ("1e1_0", 1e10),
        ("0x1p2", 4.0),
        ("0x_1.8p1", 3.0),
        ("-inf", -math.inf),
        ("Infinity", math.inf),
        ("1__0", None),
        ("_1", None),
        ("1_", None),
        ("1_.5", None),
        ("0x10", None),
        ("0x1p9999", None),
        ("1e999", None),
        ("+nan", None),
        (" 1", None),
        ("1 ", None),
        ("1\n", None),
        ("", None),
        (".", None),
        ("e1", None),
        ("\uff11", None),
        ("1" * 5000, None),
    ],
)
def test_floats_are_those_of_go(text, value):
    assert parse_float(text) == value


def test_nan_is_a_float():
    assert math.isnan(parse_float("NaN"))


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("4", 4000),
        ("0012", 12000),
        ("1795305600", 1795305600000),
        ("9999999999", params.TIME_MS_MAX),
        ("999999999999", params.TIME_MS_MAX),
        ("1700000000.413", 1700000000413),
        ("0.0005", 1),
        ("-1.5", -1500),
        ("-0.0005", -1),
        ("1970-01-01T00:00:04Z", 4000),
        ("1970-01-01T00:00:04.123456Z", 4123),
        ("1970-01-01T01:00:04+01:00", 4000),
        ("1969-12-31T23:00:04-01:00", 4000),
        ("1600000000000", params.TIME_MS_MAX),
        ("-1e15", params.TIME_MS_MIN),
        ("-292273086-05-16T16:47:06Z", params.TIME_MS_MIN),
        ("292277025-08-18T07:12:54.999999999Z", params.TIME_MS_MAX),
        ("0000-02-29T00:00:00Z", params.TIME_MS_MIN),
        ("9999-12-31T23:59:59Z", params.TIME_MS_MAX),
    ],
)
def test_times(text, time_ms):
    assert params.parse_time_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "\u0661\u0662",
        "1\u00b2",
        "NaN",
        "+Inf",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-13-01T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:00+25:00",
        'a"b',
    ],
)
def test_what_is_no_time_is_named(text):
    quoted = text.replace('"', '\\"')
    with pytest.raises(BadInput) as caught:
        params.parse_time_ms(text)
    assert str(caught.value) == f'cannot parse "{quoted}" to a valid timestamp'


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_survive_as_decimal_seconds(time_ms):
    assert params.parse_time_ms(f"{time_ms // 1000}.{time_ms % 1000:03d}") == time_ms


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_bad_input(text):
    with contextlib.suppress(BadInput):
        assert params.TIME_MS_MIN <= params.parse_time_ms(text) <= params.TIME_MS_MAX


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("15", 15_000_000_000),
        ("0.5", 500_000_000),
        ("1h30m", 5400 * 10**9),
        ("0", 0),
        ("-1", -(10**9)),
        ("nan", params.INT64_MIN),
        ("1y2w3d", (365 + 14 + 3) * 86400 * 10**9),
    ],
)
def test_durations(text, nanoseconds):
    assert params.parse_duration_ns(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1s1m", "1.5h", "1M", "1 s", "-5m", "z"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(BadInput) as caught:
        params.parse_duration_ns(text)
    assert str(caught.value) == f'cannot parse "{text}" to a valid duration'


def test_a_step_below_a_millisecond_is_refused_as_zero():
    with pytest.raises(BadInput, match="zero or negative"):
        params.step_ms_of(Form([("step", "0.0000001")]), 0, 1000)


def test_absurd_ranges_are_counted_without_overflow():
    with pytest.raises(BadInput, match="exceeded maximum resolution"):
        params.step_ms_of(Form([("step", "1")]), params.TIME_MS_MIN, params.TIME_MS_MAX)


def test_selectors_are_the_same_when_they_are_met_again():
    texts = ["up", 'up{a=~"b|c"}', f'{{a="{"x" * 3000}"}}', "up"]
    found = params.matcher_sets(texts)
    assert [str(list(each)) for each in found] == [
        '[__name__="up"]',
        '[a=~"b|c", __name__="up"]',
        f'[a="{"x" * 3000}"]',
        '[__name__="up"]',
    ]
    assert params.matcher_sets(texts) == found


@pytest.mark.parametrize("text", ["", "up[5m]", '{a=~"("}', "{}", '{a=""}'])
def test_what_is_no_selector_is_refused_each_time(text):
    for _ in range(2):
        with pytest.raises(BadInput):
            params.matcher_sets([text])
