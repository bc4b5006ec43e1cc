"""Reports of agents: pages come back byte by byte, batches as they were, and bombs are refused unopened."""

import contextlib
import math
import subprocess
import sys

import cramjam
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.collect.fetch import FailureKind
from meterhall.model.errors import BadInput, TooLarge
from meterhall.wire import agent_report as report

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
    (b" word\n", b" \n", b"word"),
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


def test_a_batch_larger_than_a_frame_needs_to_be():
    """Sizes around every width of the field that declares them."""
    for size in (0, 200, 230, 300, 65_000, 66_000, 1 << 20):
        page = report.WholePage("", bytes(size))
        batch = [msgspec.structs.replace(GOOD, outcome=page)]
        body = report.encode_batch(batch)
        assert report.decode_batch(body, LIMIT).scrapes == batch


def frame(value):
    return bytes(cramjam.zstd.compress(msgspec.msgpack.encode(value)))


def row(**changes):
    """The good scrape as plain lists, with some fields changed."""
    fields = {"seq": 1, "target": "t", "time": 1000, "took": 0.5, "outcome": ["b", "", b"up 1\n"]}
    return list((fields | changes).values())


MAGIC = b"\x28\xb5\x2f\xfd"
REFUSED = {
    "empty": b"",
    "rubbish": b"rubbish rubbish",
    "magic alone": MAGIC,
    "cut in the header": MAGIC + b"\xe0\x01",
    "no size declared": MAGIC + b"\x00\x58\x01\x00\x00",
    "a dictionary": MAGIC + b"\x21\x01\x00\x01\x00\x00",
    "a reserved bit": MAGIC + b"\x28\x00\x01\x00\x00",
    "a skippable frame": b"\x50\x2a\x4d\x18\x00\x00\x00\x00",
    "a lie about the size": MAGIC + b"\x20\x05\x19\x00\x00abc",
    "truncated": report.encode_batch([GOOD])[:-3],
    "two frames": report.encode_batch([GOOD]) * 2,
    "gzip": b"\x1f\x8b\x08\x00",
    "not a batch": frame({"scrapes": []}),
    "a number": frame(7),
    "no msgpack": bytes(cramjam.zstd.compress(b"\xc1\xc1")),
    "an array that is not there": bytes(cramjam.zstd.compress(b"\x92\xdd\xff\xff\xff\xff")),
    "nested for ever": bytes(cramjam.zstd.compress(b"\x91" * 100_000)),
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
    "something behind it": bytes(cramjam.zstd.compress(msgspec.msgpack.encode([[], 0]) + b"\x00")),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused(body):
    with pytest.raises(BadInput):
        report.decode_batch(body, LIMIT)


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 30, (1 << 32) - 1, (1 << 64) - 1])
def test_a_bomb_is_refused_by_what_it_declares(size):
    header = MAGIC + b"\xe0" + size.to_bytes(8, "little")
    with pytest.raises(TooLarge):
        report.decode_batch(header + b"\x01\x00\x00", LIMIT)


BOMBS = """
import resource, sys
from meterhall.model.errors import BadInput
from meterhall.wire.agent_report import decode_batch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for bomb in {bombs!r}:
    try:
        decode_batch(bomb, {limit})
    except BadInput:
        continue
    sys.exit("taken")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def bombs():
    """Frames that would inflate to far more than they, or we, say."""
    zeros = bytes(cramjam.zstd.compress(bytes(512 << 20), level=1))
    declared_small = MAGIC + b"\xa0" + (1 << 20).to_bytes(4, "little")
    # RLE blocks of 128 KiB each, behind a window of 128 MiB (exponent 17) and a small declaration.
    rle = (0x2 | (1 << 17) << 3).to_bytes(3, "little") + b"\x00"
    wide = MAGIC + b"\x80" + bytes([17 << 3]) + (1 << 20).to_bytes(4, "little")
    small = report.encode_batch([GOOD])
    return [zeros, declared_small + rle * 4000, wide + rle * 4000, small + zeros]


def test_bombs_cost_no_memory():
    script = BOMBS.format(bombs=bombs(), limit=4 << 20)
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 << 10, "KiB grown"


@given(st.binary(max_size=200))
def test_nothing_but_the_typed_error(rubbish):
    for body in (rubbish, MAGIC + rubbish, bytes(cramjam.zstd.compress(rubbish))):
        with contextlib.suppress(BadInput):
            report.decode_batch(body, 1 << 16)
