"""The fast path for repeated pages gives the careful parser's verdict, whatever was read before."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterhall.model.errors import ExpositionError, TooLarge
from meterhall.model.metadata import Metadata
from meterhall.wire.page import PageReader, line_of_sample

TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
REAL = (Path(__file__).parent / "data" / "real_scrape_1.txt").read_bytes()


def outcome(reader, body, content_type):
    try:
        page = reader.read(body, content_type)
    except (ExpositionError, TooLarge) as error:
        return type(error), str(error)
    bits = page.values.view(np.uint64).tolist()
    return page.shape.series, bits, page.times_ms, dict(page.shape.declared)


def check(bodies, content_type):
    """One reader for all pages in turn, against a new reader for each."""
    reader = PageReader(1000)
    for body in bodies:
        assert outcome(reader, body, content_type) == outcome(PageReader(1000), body, content_type)


names = st.sampled_from((b"a", b"b_bucket", b"  a", b'{"x y"}'))
labels = st.sampled_from(
    (b"", b"", b'{le="1"}', b'{quantile="0.50"}', b'{x="y z"}', b'{x="a\nb"}', b'{x="\\"# "}')
)
numbers = st.one_of(
    st.floats().map(lambda value: repr(value).encode()),
    st.integers(-(10**25), 10**25).map(lambda value: str(value).encode()),
    st.sampled_from(
        b"1 -0 -0.0 0 +1 .5 1. 01 1e400 -1e400 1e-400 NaN +NaN Inf -Inf infinity 1_0 0x1 true null"
        b" 1NaN NaN1 -NaN NNaNaN nan , 1,5 [1] 1e5 1E+5 - e 1. 1;2 9007199254740993".split(b" ")
    ),
)
blanks = st.sampled_from((b" ", b" ", b" ", b"  ", b"\t", b""))
tails = st.sampled_from((b"", b"", b"", b"", b" ", b" 5", b" 5.5", b' # {a="b"} 1', b"\r"))
samples = st.builds(
    lambda *parts: b"".join(parts), names, labels, blanks, numbers, tails, st.just(b"\n")
)
others = st.sampled_from(
    (
        b"\n",
        b"# hi\n",
        b"#hi 1\n",
        b"# EOF\n",
        b"# TYPE b histogram\n",
        b"# TYPE b summary\n",
        b"# TYPE b gauge\n",
        b"# HELP b says 1\n",
        b"\0\n",
    )
)
pages = st.lists(st.one_of(samples, samples, others), max_size=6)


def with_new_numbers(draw, lines):
    """The same lines, but for their last words."""
    return [
        line.rpartition(b" ")[0] + b" " + draw(numbers) + b"\n" if draw(st.booleans()) else line
        for line in lines
    ]


@given(pages, st.data(), st.sampled_from((TEXT, OPENMETRICS)))
def test_pages_that_repeat_with_other_numbers(lines, data, content_type):
    end = b"# EOF\n" if content_type == OPENMETRICS else b""
    bodies = [lines, with_new_numbers(data.draw, lines), with_new_numbers(data.draw, lines)]
    check([b"".join(body) + end for body in bodies], content_type)


@given(pages, st.data(), st.sampled_from((TEXT, OPENMETRICS)))
def test_pages_that_are_damaged(lines, data, content_type):
    end = b"# EOF\n" if content_type == OPENMETRICS else b""
    body = b"".join(lines) + end
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        cut = data.draw(st.integers(0, 2))
        damaged[at : at + cut] = data.draw(
            st.sampled_from((b"", b" ", b"\n", b'"', b"1", b"#", b"\0", b",", b"x", b"-", b"}"))
        )
    check([body, bytes(damaged), body], content_type)


@given(st.binary(max_size=60), st.sampled_from((TEXT, OPENMETRICS)))
@example(b"a 1\n \n", TEXT)
def test_nothing_but_typed_errors_on_any_bytes(rubbish, content_type):
    check([rubbish, rubbish, b"a 1\n# EOF\n", rubbish], content_type)


@pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
def test_a_blank_more_at_the_end_is_noticed(content_type):
    check([b"a 1\n# EOF\n", b"a 1\n# EOF\n "], content_type)


def test_a_repeated_page_has_the_same_shape_object():
    reader = PageReader(50_000)
    first = reader.read(REAL, TEXT)
    changed = REAL.replace(b"go_goroutines 7\n", b"go_goroutines 8.5e3\n")
    assert changed != REAL
    again = reader.read(changed, TEXT)
    assert again.shape is first.shape
    at = first.shape.series.index((("__name__", "go_goroutines"),))
    assert (first.values[at], again.values[at]) == (7, 8500)
    same = np.delete(first.values == again.values, at)
    assert same.all()


@pytest.mark.parametrize(
    "changed",
    [
        b"# TYPE h summary\nh 1\na 1\n",
        b"# TYPE h histogram\nh 1\na 1\nb 1\n",
        b"# TYPE h histogram\nh 1\n",
        b"# TYPE h histogram\na 1\nh 1\n",
        b"# TYPE h histogram\nh 1\na 1 5\n",
        b"# TYPE h histogram\nh 1\na\t1\n",
        b"# TYPE h histogram\nh 1\na 1\n\n",
    ],
)
def test_another_page_has_another_shape(changed):
    reader = PageReader(10)
    page = b"# TYPE h histogram\nh 1\na 1\n"
    first = reader.read(page, TEXT)
    assert reader.read(changed, TEXT).shape is not first.shape
    check([page, changed, page, changed], TEXT)


def test_another_format_has_another_shape():
    reader = PageReader(10)
    first = reader.read(b"a 1\n# EOF\n", TEXT)
    assert reader.read(b"a 1\n# EOF\n", OPENMETRICS).shape is not first.shape


def test_special_values_of_a_repeated_page():
    reader = PageReader(10)
    page = b"a 1\nb 2\nc 3\nd 4\n"
    for values in ((b"NaN", b"1", b"NaN", b"0"), (b"-0", b"+Inf", b"nan", b"-Inf")):
        shape = reader.read(page, TEXT).shape
        body = b"a %s\nb %s\nc %s\nd %s\n" % values
        repeated = reader.read(body, TEXT)
        assert repeated.shape is shape
        expected = PageReader(10).read(body, TEXT).values
        assert repeated.values.view(np.uint64).tolist() == expected.view(np.uint64).tolist()


def test_declarations():
    page = PageReader(10).read(
        b"# HELP a_s says\n# TYPE a_s counter\n# UNIT a_s s\n# HELP b only\n# TYPE a_s gauge\n# EOF\n",
        OPENMETRICS,
    )
    assert page.shape.declared == {
        "a_s": Metadata("gauge", "says", "s"),
        "b": Metadata("unknown", "only", ""),
    }


@pytest.mark.parametrize("newlines", [0, 1000])
def test_more_samples_than_allowed(newlines):
    reader = PageReader(2)
    body = b"a 1\n" + b"\n" * newlines + b"b 1\n"
    assert len(reader.read(body, TEXT).values) == 2
    with pytest.raises(TooLarge, match="more than 2 samples"):
        reader.read(body + b"c 1\nnonsense", TEXT)


def test_more_lines_than_allowed():
    reader = PageReader(2)
    assert len(reader.read(b"a 1" + b"\n" * 200_000, TEXT).values) == 1
    with pytest.raises(TooLarge, match="more than 200000 lines"):
        reader.read(b"a 1" + b"\n" * 200_001, TEXT)
    assert len(PageReader(60_000).read(b"a 1" + b"\n" * 200_001, TEXT).values) == 1


def test_a_page_of_too_many_declarations_is_read_without_them():
    page = PageReader(3).read(b"".join(b"# TYPE m%d gauge\n" % i for i in range(9)), TEXT)
    assert len(page.shape.declared) == 3


def test_line_of_sample():
    assert [line_of_sample(b'a 1\n\n# hi\nb{x="\n"} 1\nc 1', TEXT, i) for i in range(3)] == [
        1,
        4,
        6,
    ]


def test_the_only_value_may_vanish():
    """The one word of such a page is empty, which must not pass for a page without samples."""
    reader = PageReader(10)
    assert reader.read(b"a 1\n", "text/plain").values.tolist() == [1]
    with pytest.raises(ExpositionError):
        reader.read(b"a \n", "text/plain")
