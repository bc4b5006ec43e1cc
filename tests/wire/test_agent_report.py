"""Reports of agents: pages come back byte by byte, batches as they were, and bombs are refused unopened."""

import contextlib
import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterhall.collect.fetch import FailureKind
from meterhall.model.errors import BadInput, TooLarge
from meterhall.wire import agent_report as report
from meterhall.wire import zstd

LIMIT = 32 << 20

SPLITS = [
    (b"", b"", b""),
    (b"up 1\n", b"up \n", b"1"),
    (b"up 1", b"up ", b"1"),
    (b'a{b="c d"} 2.5\nb 3\n', b'a{b="c d"} \nb \n', b"2.5\n3"),
    (b"# HELP a words with blanks\na 1\n", b"# HELP a words with blanks\na \n", b"1"),
    (b" \t# also a comment\na 1\n", b" \t# also a comment\na \n", b"1"),
    (b"# ends with a blank \n", b"# ends with a blank \n", b""),
    (b"noblank\n\n", b"noblank\n\n", b""),
    (b"ends with a blank \n", b"ends with a blank \n", b""),
    (b" word\n", b" word\n", b""),
    (b"a 1 1700000000\r\n# EOF", b"a 1 \n# EOF", b"1700000000\r"),
    (b'a 1 # {id="x"} 0.5\n', b'a 1 # {id="x"} \n', b"0.5"),
    (b"a \xff\x00\n", b"a \n", b"\xff\x00"),
]


@pytest.mark.parametrize(("page", "shape", "words"), SPLITS)
def test_a_page_is_split(page, shape, words):
    assert report.split_page(page) == (shape, words)
    assert report.join_page(shape, words) == page


pages = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"a", b" ", b"#", b"\t", b"\n", b"1.5", b"\r"]), max_size=40).map(
        b"".join
    ),
)


@given(pages)
def test_the_split_loses_nothing(page):
    assert report.join_page(*report.split_page(page)) == page


@example(b" ", b"\0 #")
@given(pages, pages)
def test_pages_of_one_shape_have_as_many_words(one, other):
    """The count follows from the shape, so words of another shape fit only if their number does."""
    shape, words = report.split_page(one)
    _, others = report.split_page(other)
    with contextlib.suppress(BadInput):
        page = report.join_page(shape, others)
        assert report.split_page(page)[0] == shape
        assert others.count(b"\n") == words.count(b"\n")


@pytest.mark.parametrize(
    ("shape", "words"), [(b"a \nb ", b"1"), (b"a ", b"1\n2"), (b"", b"1"), (b"# a ", b"1")]
)
def test_words_must_fit_their_shape(shape, words):
    with pytest.raises(BadInput, match="place for"):
        report.join_page(shape, words)


def test_a_shape_is_named_by_its_hash():
    assert report.shape_id(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb924"


def test_failures_have_the_fetchers_names():
    assert set(report.FailureKindText.__args__) == {kind.value for kind in FailureKind}


shape_ids = st.binary(min_size=16, max_size=16)
types = st.text(max_size=20)
outcomes = st.one_of(
    st.builds(
        report.FailedScrape,
        st.sampled_from(report.FailureKindText.__args__),
        st.text(max_size=40),
        st.integers(0, 999),
    ),
    st.builds(report.WholePage, types, st.binary(max_size=100)),
    st.builds(
        report.SplitPage,
        types,
        shape_ids,
        st.binary(max_size=50),
        st.none() | st.binary(max_size=50),
    ),
)
scrapes = st.builds(
    report.Scrape,
    st.integers(0, (1 << 64) - 1),
    st.text(min_size=1, max_size=36),
    st.integers(0, 253_402_300_799_999),
    st.floats(0, 86_400),
    outcomes,
)


@given(st.lists(scrapes, max_size=5), st.integers(0, 1 << 32))
def test_a_batch_comes_back(batch, dropped):
    body = report.encode_batch(batch, dropped)
    assert report.decode_batch(body, LIMIT) == report.Batch(batch, dropped)


GOOD = report.Scrape(1, "t", 1000, 0.5, report.WholePage("text/plain", b"up 1\n"))


def frame(value):
    return zstd.compress(msgspec.msgpack.encode(value))


def row(**changes):
    """The good scrape as plain lists, with some fields changed."""
    fields = {"seq": 1, "target": "t", "time": 1000, "took": 0.5, "outcome": ["b", "", b"up 1\n"]}
    return list((fields | changes).values())


REFUSED = {
    "no frame": b"rubbish",
    "not a batch": frame({"scrapes": []}),
    "a number": frame(7),
    "no msgpack": zstd.compress(b"\xc1\xc1"),
    "an array that is not there": zstd.compress(b"\x92\xdd\xff\xff\xff\xff"),
    "nested for ever": zstd.compress(b"\x91" * 100_000),
    "more scrapes than allowed": frame([[row()] * (report.SCRAPES_MAX + 1), 0]),
    "an outcome of no kind": frame([[row(outcome=["x"])], 0]),
    "a failure of no kind": frame([[row(outcome=["f", "gone", "", 0])], 0]),
    "a short shape id": frame([[row(outcome=["p", "", b"short", b"", None])], 0]),
    "a text for a page": frame([[row(outcome=["b", "", "text"])], 0]),
    "a negative seq": frame([[row(seq=-1)], 0]),
    "no target": frame([[row(target="")], 0]),
    "a long target": frame([[row(target="t" * 65)], 0]),
    "a time before 1970": frame([[row(time=-1)], 0]),
    "a time past int64": frame([[row(time=1 << 63)], 0]),
    "a fraction for a time": frame([[row(time=1.5)], 0]),
    "a negative duration": frame([[row(took=-1.0)], 0]),
    "an endless duration": frame([[row(took=math.inf)], 0]),
    "no duration": frame([[row(took=math.nan)], 0]),
    "something behind it": zstd.compress(msgspec.msgpack.encode([[], 0]) + b"\x00"),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused(body):
    with pytest.raises(BadInput):
        report.decode_batch(body, LIMIT)


def test_a_batch_above_the_bound_is_too_large():
    with pytest.raises(TooLarge):
        report.decode_batch(report.encode_batch([GOOD] * 10), 100)


@given(st.binary(max_size=200))
def test_nothing_but_the_typed_error(rubbish):
    for body in (rubbish, zstd.compress(rubbish)):
        with contextlib.suppress(BadInput):
            report.decode_batch(body, 1 << 16)
