"""Bodies that repeat: the way by layouts says what the careful way says, of every body."""

from hypothesis import given
from hypothesis import strategies as st
from write_request import encoded, snappy

from meterhall.model.errors import WriteRequestError
from meterhall.wire.push_layout import Layouts
from meterhall.wire.remote_write import decode

LIMIT = 32 << 20
NOW = 1_700_000_000_000
PLENTY = 1 << 20


def content(values, times, width=None):
    """Series with one sample each; labels of many lengths."""
    return [
        ([(b"__name__", b"m" * (1 + 9 * place % 140)), (b"i", b"%d" % place)], [(time, value)])
        for place, (value, time) in enumerate(zip(values, times, strict=True))
    ][:width]


def told(body, known, layouts=None):
    """All that decode says, comparable."""
    try:
        request = decode(snappy(body), known, LIMIT, layouts=layouts)
    except WriteRequestError as error:
        return str(error)
    return (
        list(request.blocks),
        request.owners.tolist(),
        request.times_ms.tolist(),
        request.values.view("u8").tolist(),
        dict(request.fresh),
        dict(request.metadata),
        (request.exemplars, request.histograms),
    )


numbers = st.one_of(st.floats(), st.sampled_from((0.0, -0.0, 1.0)))
instants = st.one_of(st.integers(NOW, NOW + 10**9), st.sampled_from((0, 1, -1, 2**42, 2**41)))


@st.composite
def bodies(draw):
    """Some bodies of the same few series, most in the same form, some damaged."""
    width = draw(st.integers(1, 5))
    out = []
    for _ in range(draw(st.integers(1, 6))):
        values = draw(st.lists(numbers, min_size=width, max_size=width))
        times = draw(st.lists(instants, min_size=width, max_size=width))
        body = bytearray(encoded(content(values, times, draw(st.integers(1, width)))))
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
        out.append(bytes(body[: draw(st.sampled_from((None, None, None, -1)))]))
    return out


@given(bodies())
def test_both_ways_say_the_same(some):
    known = set(decode(snappy(encoded(content([1.0] * 5, [NOW] * 5))), (), LIMIT).blocks)
    layouts = Layouts(PLENTY)
    for body in some + some:
        assert told(body, known, layouts) == told(body, known)


def test_a_repeated_body_takes_the_short_way():
    layouts = Layouts(PLENTY)
    known = set(decode(snappy(encoded(content([1.0] * 9, [NOW] * 9))), (), LIMIT).blocks)
    seen = []
    for values in ([1.0] * 9, [2.5] * 9, [0.0, *[3.0] * 8], [0.0, *[4.0] * 8], [5.0] * 9):
        body = encoded(content(values, range(NOW, NOW + 9)))
        request = decode(snappy(body), known, LIMIT, layouts=layouts)
        assert request.values.tolist() == values
        assert request.times_ms.tolist() == [*range(NOW, NOW + 9)]
        seen.append(request.layout is not None)
    # A zero is shorter, and so another layout; only the newest of those that begin alike is kept.
    assert seen == [False, True, False, True, False]


def test_bodies_with_anything_new_are_not_kept():
    layouts = Layouts(PLENTY)
    body = encoded(content([1.0] * 3, [NOW] * 3))
    known = set(decode(snappy(body), (), LIMIT).blocks)
    for each, blocks in (
        (body, ()),
        (encoded([(pairs, samples * 2) for pairs, samples in content([1.0], [NOW])]), known),
        (encoded(content([1.0], [NOW]), [(1, "m", "", "")]), known),
    ):
        decode(snappy(each), blocks, LIMIT, layouts=layouts)
        assert decode(snappy(each), blocks, LIMIT, layouts=layouts).layout is None


def test_memory_is_bounded():
    known = set()
    layouts = Layouts(4000)
    for number in range(60):
        labels = [(b"__name__", b"m%d" % number), (b"x", b"y" * 200)]
        body = snappy(encoded([(labels, [(NOW, 1.0)]), (labels, [(NOW + 1, 1.0)])]))
        known.update(decode(body, (), LIMIT).blocks)
        decode(body, known, LIMIT, layouts=layouts)
        assert decode(body, known, LIMIT, layouts=layouts).layout is not None
        kept = layouts._by_first.values()
        assert sum(each.size for each in kept) == layouts._bytes <= 4000
    tiny = Layouts(10)
    assert [decode(body, known, LIMIT, layouts=tiny).layout for _ in range(2)] == [None, None]
    assert not tiny._by_first
