"""What may be written into a field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.control import fields
from meterhall.model.errors import ControlError


@pytest.mark.parametrize("name", ["a", "A-b_9", "-", "_", "9", "a" * 64])
def test_job_names(name: str) -> None:
    assert fields.job_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a.b",
        "@Linux",
        "@",
        "a/b",
        "..",
        "a" * 65,
        "\uff41",
        "é",
        "a\n",
        "\n",
        "a\0",
        "\u0661",
    ],
)
def test_wrong_job_names(name: str) -> None:
    with pytest.raises(ControlError, match="jobName"):
        fields.job_name(name)


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/actuator/prometheus", "/m?a=b&c[]=d", "/m%0d%0a", "/a:b", "/@x", "/é",
     "/" + "x" * 1023],
)  # fmt: skip
def test_metrics_paths(path: str) -> None:
    assert fields.metrics_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "metrics", "http://x/m", "//evil", "///m", "/\\evil", "\\\\evil", "/m#f", "#", "?a", ":80/m",
     "/m\r\nHost: x", "/m\n", "/m\t", "/m x", "/m\0", "/m\x7f", "/m\x85", "/m\u2028", "/m\ud800",
     "/m\u202e", "/" + "x" * 1024],
)  # fmt: skip
def test_wrong_metrics_paths(path: str) -> None:
    with pytest.raises(ControlError, match="metricsPath"):
        fields.metrics_path(path)


@given(st.text())
def test_an_accepted_path_can_name_no_host_and_end_no_line(path: str) -> None:
    try:
        fields.metrics_path(path)
    except ControlError:
        return
    assert path.startswith("/")
    assert not path.startswith("//")
    assert not set(path) & set("\r\n\t \0#\\")


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [(None, None), ("", None), ("a", "a"), ("a\nb", "a\nb"), ("x" * 1024, "x" * 1024)],
)
def test_descriptions(given_text: str | None, stored: str | None) -> None:
    assert fields.description(given_text) == stored


@pytest.mark.parametrize("text", ["x" * 1025, "a\0b", "\ud800"])
def test_wrong_descriptions(text: str) -> None:
    with pytest.raises(ControlError, match="description"):
        fields.description(text)


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("FD00::0001", "fd00::1"),
        ("web-1.example.com", "web-1.example.com"),
        ("localhost", "localhost"),
        ("a_b.local.", "a_b.local."),
    ],
)
def test_addresses(given_text: str, stored: str) -> None:
    assert fields.address(given_text) == stored


@pytest.mark.parametrize(
    "text",
    ["", " ", "http://x", "x:80", "user@host", "//x", "x/y", "a..b", ".", "-a", "a-", "2852039166",
     "0177.0.0.1", "0xA9FEA9FE", "1.2.3", "a.0x1", "fe80::1%eth0", "[::1]", "x\r\ny", "é.com", "a" * 64,
     "a." * 127 + "aa", "10.0.0.1\n", "web\n"],
)  # fmt: skip
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ControlError, match="address"):
        fields.address(text)


@pytest.mark.parametrize("value", [0, -1, 65536, 10**30])
def test_wrong_ports(value: int) -> None:
    with pytest.raises(ControlError, match="port"):
        fields.port(value)


@pytest.mark.parametrize("value", [999, 0, -5, 86_400_001])
def test_wrong_intervals(value: int) -> None:
    with pytest.raises(ControlError, match="interval"):
        fields.interval_ms(value)


def test_values_are_quoted_escaped_and_cut() -> None:
    assert fields.shown("a\nb\x1b") == r"'a\nb\x1b'"
    assert len(fields.shown("x" * 10_000)) < 100
    assert len(fields.shown([["x" * 100]] * 100)) < 100
