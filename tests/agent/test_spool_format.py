"""The spool's bytes: what was written is read, whatever stands around it is passed over."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from tests.agent.scrapes import T0, failed, split, whole

from meterhall.agent import spool_format
from meterhall.agent.spool_format import Kind
from meterhall.model.errors import BadInput

SCRAPES = [whole(1), failed(2), split(3)[0], whole(4, boot_id="b", boot_ms=77)]


def segment(pieces):
    return spool_format.segment_header(7) + b"".join(pieces)


def scrapes_in(data):
    return [
        spool_format.read_scrape(frame.payload)
        for frame in spool_format.frames(data)
        if frame.kind == Kind.SCRAPE
    ]


def test_scrapes_and_shapes_come_back():
    shape = split(3)[1]
    data = segment([spool_format.shape_frame(shape), *map(spool_format.scrape_frame, SCRAPES)])
    frames = list(spool_format.frames(data))
    assert [frame.kind for frame in frames] == [Kind.SHAPE] + [Kind.SCRAPE] * len(SCRAPES)
    assert spool_format.read_shape(frames[0].payload) == shape
    assert scrapes_in(data) == SCRAPES
    # What waits for the service's clock tells no time.
    assert [frame.time_ms for frame in frames] == [-1, T0 + 1, T0 + 2, T0 + 3, -1]


@given(st.lists(st.sampled_from(SCRAPES), max_size=5), st.binary(max_size=60), st.data())
def test_what_lies_between_frames_is_passed_over(scrapes, rubbish, data):
    pieces = [spool_format.scrape_frame(scrape) for scrape in scrapes]
    pieces.insert(data.draw(st.integers(0, len(pieces))), rubbish)
    assert scrapes_in(segment(pieces)) == scrapes


def test_a_byte_costs_the_scrape_that_it_is_in():
    pieces = [spool_format.scrape_frame(scrape) for scrape in SCRAPES]
    whole_segment = segment(pieces)
    begins = [whole_segment.index(piece) for piece in pieces]
    for at in range(len(whole_segment)):
        damaged = bytearray(whole_segment)
        damaged[at] ^= 0x40
        hit = max((number for number, begin in enumerate(begins) if begin <= at), default=None)
        kept = [scrape for number, scrape in enumerate(SCRAPES) if number != hit]
        assert scrapes_in(bytes(damaged)) == kept, at


@given(st.binary(max_size=200))
def test_rubbish_holds_nothing_and_raises_nothing_else(rubbish):
    assert scrapes_in(spool_format.FRAME_MAGIC + rubbish) == []
    for read in (spool_format.read_scrape, spool_format.read_shape):
        with contextlib.suppress(BadInput):
            read(memoryview(rubbish))


offsets = st.lists(st.integers(0, (1 << 32) - 1), max_size=6)


@given(offsets, st.integers(0, 7))
def test_marks_come_back_and_a_torn_one_counts_for_nothing(places, cut):
    data = spool_format.marks(3, places)
    assert spool_format.read_marks(3, data) == set(places)
    assert spool_format.read_marks(3, data[: len(data) - cut]) <= set(places)
    assert spool_format.read_marks(4, data) == set()
