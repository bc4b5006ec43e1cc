"""Pages read by shape and words: never another verdict than that of the whole page."""

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meterhall.model.errors import BadInput, ExpositionError, TooLarge
from meterhall.wire.agent_report import split_page
from meterhall.wire.page import PageReader
from meterhall.wire.reading import BodyReading, KnownShape, WordsReading

TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

NUMBERS = [
    "0",
    "1",
    "-0",
    "2.5e3",
    "NaN",
    "+Inf",
    "-Inf",
    "0x1p3",
    "1,5",
    "",
    "x",
    "1e999",
    "01",
    "{}",
]
HEADS = [
    "a ",
    'b{x="1"} ',
    'b{x="2"}  ',
    "# HELP a some ",
    "#c ",
    "",
    "plain",
    "\td ",
    "a\t",
    "b 1 ",
    "e{ ",
]

lines = st.tuples(st.sampled_from(HEADS), st.sampled_from(NUMBERS)).map("".join)
pages = st.lists(lines, max_size=6).map("\n".join)


def verdict(read):
    """What reading comes to: series, values and times, or the kind of refusal with its text."""
    try:
        page = read()
    except (ExpositionError, TooLarge) as error:
        return type(error), str(error)
    return page.shape.series, page.values.view(np.uint64).tolist(), page.times_ms


@given(pages, st.lists(st.lists(st.sampled_from(NUMBERS), max_size=6), max_size=4))
# One word and one sample, but the word is not the sample's value.
@example("# HELP a 2\na\t7\n", [["3"]])
@pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
def test_words_say_what_the_page_says(content_type, page, later):
    shape, first = split_page(page.encode())
    known = KnownShape(shape, content_type)
    for words in (first, *("\n".join(values).encode() for values in later)):
        try:
            whole = known.joined(words)
        except BadInput:
            # A number of words that does not fit may not pass for a page.
            with pytest.raises(BadInput):
                WordsReading(known, words, 4).page()
            continue
        expected = verdict(partial(PageReader(4).read, whole, content_type))
        assert verdict(WordsReading(known, words, 4).page) == expected


def test_a_known_shape_keeps_its_series_object():
    """Whoever derived something from the series may keep it: that is what makes a page cheap."""
    shape, words = split_page(b'# TYPE a gauge\na 1\nb{x="y"} 2\n')
    known = KnownShape(shape, TEXT)
    first = known.page(words, 10)
    again = known.page(b"3\nNaN", 10)
    assert again.shape is first.shape
    assert again.values.tolist()[0] == 3
    # An odd number goes the careful way, and comes back to the same object.
    assert known.page(b"+5\n4", 10).shape is first.shape


@pytest.mark.parametrize("words", [b"", b"1", b"1\n2\n3", b"1\n2\n", b"1,2"])
def test_a_wrong_number_of_words_is_no_page(words):
    shape, fitting = split_page(b"a 1\nb 2\n")
    known = KnownShape(shape, TEXT)
    known.page(fitting, 10)
    with pytest.raises(BadInput):
        known.page(words, 10)


def test_timestamps_and_exemplars_are_read_with_care():
    page = b"a 1 1000\nb 2\n"
    shape, words = split_page(page)
    known = KnownShape(shape, TEXT)
    for _ in range(2):
        assert known.page(words, 10).times_ms == (1000, None)
    page = b'# TYPE a counter\na_total 5 # {id="x"} 0.5\n# EOF\n'
    shape, words = split_page(page)
    known = KnownShape(shape, OPENMETRICS)
    for _ in range(2):
        assert known.page(words, 10).values.tolist() == [5]


def test_lines_are_found_for_error_texts():
    body = b"# TYPE a gauge\na 1\n\nb 2\n"
    shape, words = split_page(body)
    for reading in (
        BodyReading(PageReader(10), body, TEXT),
        WordsReading(KnownShape(shape, TEXT), words, 10),
    ):
        assert [reading.line_of(sample) for sample in (0, 1)] == [2, 4]
