"""Offsets are bytes; columns count them from 1."""

import pytest

from meterhall.promql.position import byte_offsets, line_col, parse_error


@pytest.mark.parametrize(
    ("text", "offset", "place"),
    [
        ("abc", 0, (1, 1)),
        ("abc", 3, (1, 4)),
        ("a\nb", 2, (2, 1)),
        ("é\né+", 5, (2, 3)),
        ("\n\n", 2, (3, 1)),
    ],
)
def test_line_col(text, offset, place):
    assert line_col(text, offset) == place


def test_byte_offsets():
    assert byte_offsets("abc") is None
    assert byte_offsets("aé日😀\ud800") == [0, 1, 3, 6, 10, 13]


def test_an_empty_text_has_no_positions():
    assert str(parse_error("", 0, "x")) == "unknown position: parse error: x"
    assert str(parse_error(" ", 0, "x")) == "1:1: parse error: x"
