"""The U__ escaping of label names in paths; the calls themselves are in test_peer and test_api."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.web.prometheus.series import unescape_name


def escape(name: str) -> str:
    """The algorithm of contract 2, for names that are not legal as they are."""
    legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:"
    out = ["U__"]
    for position, char in enumerate(name):
        if char == "_":
            out.append("__")
        elif char in legal or (position and char in "0123456789"):
            out.append(char)
        else:
            out.append(f"_{ord(char):x}_")
    return "".join(out)


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("U__http_2e_status__code", "http.status_code"),
        ("plain", "plain"),
        ("U__", ""),
        ("U__zz", "zz"),
        ("U__a_2e", "U__a_2e"),
        ("U__a_g_", "U__a_g_"),
        ("U__a_1234567_", "U__a_1234567_"),
        ("U__a_d800_", "U__a_d800_"),
        ("U__a_110000_", "U__a_110000_"),
        ("U__a_", "U__a_"),
        ("U__1f600", "1f600"),
        ("U___1f600_", "\U0001f600"),
    ],
)
def test_names_are_unescaped_or_left_alone(escaped, name):
    assert unescape_name(escaped) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_every_name_comes_back(name):
    assert unescape_name(escape(name)) == name
