"""Parameters of URL and body, cut and merged as Go does it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import BadInput
from meterhall.web.prometheus.form import PAIRS_MAX, parse_pairs, read_form

FORM = b"application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("text", "pairs", "fault"),
    [
        (b"", [], None),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")], None),
        (b"a&&=x&", [("a", ""), ("", "x")], None),
        (b"a=b=c", [("a", "b=c")], None),
        (b"a=1+2%2B3%20", [("a", "1 2+3 ")], None),
        (b"match%5B%5D=%7B%7D", [("match[]", "{}")], None),
        (b"a=%zz&b=1", [("b", "1")], 'invalid URL escape "%zz"'),
        (b"a=%4&b=1", [("b", "1")], 'invalid URL escape "%4"'),
        (b"%=1", [], 'invalid URL escape "%"'),
        (b"a=1;b=2&c=3", [("c", "3")], "invalid semicolon separator in query"),
        (b"a=%ff", [("a", "\ufffd")], None),
        (b"a=%00", [("a", "\0")], None),
    ],
)
def test_pairs_are_cut_as_go_cuts_them(text, pairs, fault):
    assert parse_pairs(text) == (pairs, fault)


def test_the_body_wins_and_both_count():
    form = read_form(b"query=7&time=9&m=u", b"query=1%2B1&m=a&m=b", FORM)
    assert (form.first("query"), form.first("time")) == ("1+1", "9")
    assert form.all("m") == ["a", "b", "u"]
    assert (form.first("none"), form.all("none")) == ("", [])


@pytest.mark.parametrize("kind", [b"application/json", b"", b"text/plain", b"multipart/form-data"])
def test_a_body_that_is_no_form_is_ignored(kind):
    assert read_form(b"query=1", b"query=2", kind).first("query") == "1"


def test_a_multipart_form_is_a_form():
    body = (
        b'--X\r\nContent-Disposition: form-data; name="query"\r\n\r\nup{a="b"}\r\n'
        b'--X\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nfile\r\n'
        b'--X\r\nContent-Disposition: form-data; name="time"\r\n\r\n4\r\n--X--\r\n'
    )
    form = read_form(b"time=5", body, b'multipart/form-data; boundary="X"')
    assert (form.first("query"), form.first("time"), form.all("f")) == ('up{a="b"}', "4", [])


def test_a_flood_of_parameters_is_refused():
    with pytest.raises(BadInput, match="more than"):
        parse_pairs(b"&" * PAIRS_MAX)


@given(
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.sampled_from([FORM, b"multipart/form-data; boundary=X"]),
)
def test_any_bytes_make_a_form(query, body, kind):
    form = read_form(query, body, kind)
    form.first("query").encode()
