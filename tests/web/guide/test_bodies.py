"""Bodies to fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import ControlError
from meterhall.web.guide import bodies

JSON = "application/json"


@pytest.mark.parametrize(
    "content_type",
    [JSON, "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
     "application/json;x=y", " application/json "],
)  # fmt: skip
def test_content_types(content_type: str) -> None:
    assert bodies.parse_object(content_type, b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    [None, "", "json", "text/json", "text/plain", "application/jsonp", "application/x-www-form-urlencoded",
     "application/json; charset=utf-16", "text/plain; application/json", "a\r\nb"],
)  # fmt: skip
def test_wrong_content_types(content_type: str | None) -> None:
    with pytest.raises(ControlError, match="Content-Type"):
        bodies.parse_object(content_type, b"{}")


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{", "the body is not JSON: "),
        (b"\xff{}", "the body is not UTF-8"),
        (b"[]", "the body is not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 1}', "the same key twice"),
        (b'{"a": 1e999999}', "the number '1e999999' is too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"a": NaN}', "NaN is not JSON"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, detail: str) -> None:
    with pytest.raises(ControlError) as caught:
        bodies.parse_object(JSON, content)
    assert detail in caught.value.detail
    assert caught.value.code == "BAD_INPUT_VALUE"
    assert len(caught.value.detail) < 300


@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]":,\\ue19d0 NaI-+.', max_size=60).map(str.encode)
)
def test_any_bytes_are_an_object_or_bad_input(content: bytes) -> None:
    try:
        value = bodies.parse_object(JSON, content)
    except ControlError:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    ("value", "port"), [(9100, 9100), ("9100", 9100), ("09100", 9100), (9100.0, 9100), (-1, -1)]
)
def test_ports(value: object, port: int) -> None:
    assert bodies.required_port({"port": value}, "port") == port


@pytest.mark.parametrize(
    "value", [None, "", "x", "+1", " 1", "1 ", "1_0", "\u0661", 9100.5, True, False, [], {}, "1.0"]
)
def test_wrong_ports(value: object) -> None:
    with pytest.raises(ControlError, match="port"):
        bodies.required_port({"port": value}, "port")


def test_a_long_run_of_digits_is_out_of_range_and_costs_nothing() -> None:
    assert bodies.required_port({"port": "9" * 1_000_000}, "port") > 65535


def test_texts() -> None:
    body = {"a": "x", "b": None, "c": "", "d": 5}
    assert bodies.required_text(body, "a") == "x"
    assert bodies.required_text(body, "c") == ""
    assert bodies.optional_text(body, "b") is None
    assert bodies.optional_text(body, "e") is None
    for key, detail in (
        ("b", "b is required"),
        ("e", "e is required"),
        ("d", "d 5 is not a string"),
    ):
        with pytest.raises(ControlError, match=detail):
            bodies.required_text(body, key)
