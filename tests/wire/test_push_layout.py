"""Streams that repeat, however they are cut: the way by layouts says what the careful way says, of every body."""

import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from write_request import encoded, knowing, snappy

from meterhall.model.errors import WriteRequestError
from meterhall.wire import remote_write
from meterhall.wire.push_layout import NEW, KnownSeries
from meterhall.wire.remote_write import decode

LIMIT = 32 << 20
NOW = 1_700_000_000_000
PLENTY = 1 << 20


def labels(place):
    """Of many lengths."""
    return [(b"__name__", b"m" * (1 + 9 * place % 140)), (b"i", b"%d" % place)]


def series(place, value=1.0, time=NOW):
    return labels(place), [(time, value)]


def blocks_of(content):
    return decode(snappy(encoded(content)), knowing(), LIMIT).blocks()


def told(body, known):
    """All that decode says, comparable; what is new there is known from then on."""
    try:
        request = decode(snappy(body), known, LIMIT)
    except WriteRequestError as error:
        return str(error)
    known.add({block: 1000 + len(known.numbers) + new for new, block in enumerate(request.fresh)})
    return (
        request.blocks(),
        request.refs.tolist(),
        request.owners.tolist(),
        request.times_ms.tolist(),
        request.values.view("u8").tolist(),
        dict(request.fresh),
        dict(request.metadata),
        (request.exemplars, request.histograms),
    )


numbers = st.one_of(st.floats(), st.sampled_from((0.0, 0.0, -0.0, 1.0)))
instants = st.one_of(st.integers(NOW, NOW + 10**9), st.sampled_from((0, 1, -1, 2**42, 2**41)))


@st.composite
def rounds(draw, width):
    """Messages of one round of a few series: most come in their order, some twice, not at all, or with several samples."""
    order = list(range(draw(st.integers(1, width))))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        place = draw(st.integers(0, len(order) - 1))
        order[place : place + draw(st.integers(1, 3))] = draw(
            st.lists(st.integers(0, width - 1), max_size=2)
        ) or [0]
    messages = []
    for place in order:
        samples = draw(st.lists(st.tuples(instants, numbers), min_size=1, max_size=1))
        several = draw(st.sampled_from((1, 1, 1, 1, 1, 1, 1, 0, 2)))
        messages.append(encoded([(labels(place), samples * several)]))
    return messages


@st.composite
def streams(draw):
    """Rounds of the same series, cut into bodies anywhere between two messages; some bytes are damaged."""
    width = draw(st.integers(1, 8))
    messages = [message for _ in range(draw(st.integers(1, 6))) for message in draw(rounds(width))]
    bodies = []
    while messages:
        size = draw(st.integers(1, 2 * width))
        body, messages = bytearray(b"".join(messages[:size])), messages[size:]
        for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2)))):
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
        bodies.append(bytes(body[: draw(st.sampled_from((None, None, None, None, -1)))]))
    return bodies


@given(streams(), st.integers(0, 8), st.sampled_from((PLENTY, 500)))
def test_both_ways_say_the_same(bodies, width, layout_bytes_max):
    blocks = blocks_of([series(place) for place in range(width)])
    quick, careful = knowing(blocks, layout_bytes_max), knowing(blocks)
    for body in bodies + bodies:
        assert told(body, quick) == told(body, careful)


def test_any_byte_may_be_another():
    """Of messages with a value, without one, and with one that is zero."""
    content = [series(2), series(3, 0.0), series(4), series(5, 0.0)]
    blocks = blocks_of(content)
    body = bytearray(encoded(content))
    value = body.index(b"\x12\x10\x09") + 3
    body[value : value + 8] = bytes(8)
    for at in range(len(body)):
        for byte in (0x00, 0x07, 0x09, 0x0A, 0x10, 0x12, 0x80, 0xFF):
            quick, careful = knowing(blocks, PLENTY), knowing(blocks)
            told(bytes(body), quick)
            other = bytes(body[:at]) + bytes([byte]) + bytes(body[at + 1 :])
            assert told(other, quick) == told(other, careful)


class Sender:
    """An endless stream of series, some of which are zero now and then, in bodies of any size."""

    def __init__(self, width, seed):
        self.random = random.Random(seed)
        self.width = width
        self.place = self.round = 0
        self.lost = set()

    def body(self, size, zeros=0.0):
        content = []
        while len(content) < size:
            if self.place not in self.lost:
                value = 0.0 if self.random.random() < zeros else self.random.random()
                content.append(series(self.place, value, NOW + 15_000 * self.round))
            self.place = (self.place + 1) % self.width
            self.round += self.place == 0
        return encoded(content)


def work(body, known, monkeypatch):
    """How much of a body was read series by series, while the careful way is asked too."""
    spent = []
    owes = KnownSeries.owes

    def noted(self, work, series):
        spent.append(work)
        return owes(self, work, series)

    with monkeypatch.context() as patch:
        patch.setattr(KnownSeries, "owes", noted)
        request = decode(snappy(body), known, LIMIT)
    again = decode(snappy(body), knowing(request.blocks()), LIMIT)
    assert request.times_ms.tolist() == again.times_ms.tolist()
    assert request.values.tolist() == again.values.tolist()
    assert request.blocks() == again.blocks()
    return spent[0]


def test_bodies_are_cut_anywhere(monkeypatch):
    sender = Sender(700, 1)
    known = knowing(blocks_of([series(place) for place in range(700)]), PLENTY)
    first = [work(sender.body(200), known, monkeypatch) for _ in range(14)]
    assert first[:3] == [200, 200, 200]
    # From now on nothing but steps from where one layout ends to where another begins.
    later = [work(sender.body(190 + size), known, monkeypatch) for size in range(12)]
    assert max(later) <= 3 * remote_write._STOP_COST
    assert later.count(0) >= 4


def test_zeros_come_and_go(monkeypatch):
    sender = Sender(600, 2)
    known = knowing(blocks_of([series(place) for place in range(600)]), PLENTY)
    for size in (600, 600, 601, 555):
        work(sender.body(size), known, monkeypatch)
    spent = [
        work(sender.body(size, zeros), known, monkeypatch)
        for zeros in (0.01, 0.5, 1, 0)
        for size in (300, 700, 451)
    ]
    # Nothing but steps from where one layout ends to where another begins.
    assert max(spent) <= 3


def test_series_vanish_and_return(monkeypatch):
    sender = Sender(500, 3)
    known = knowing(blocks_of([series(place) for place in range(500)]), PLENTY)
    for size in (500, 499):
        work(sender.body(size), known, monkeypatch)
    sender.lost = {100, 101, 300}
    assert work(sender.body(500), known, monkeypatch) <= 4 * remote_write._STOP_COST
    sender.lost = set()
    assert work(sender.body(500), known, monkeypatch) <= 2 * remote_write._STOP_COST


def test_a_part_of_a_layout_becomes_another(monkeypatch):
    known = knowing(blocks_of([series(place) for place in range(30)]), PLENTY)
    values = np.arange(30) % 3
    known.arrange(np.arange(30), values == 0)
    values[10:20] = np.arange(10) % 2
    known.arrange(np.arange(10, 20), values[10:20] == 0)
    assert [len(each) for each in known._layouts] == [10, 10, 10]
    body = [series(place, float(value)) for place, value in enumerate(values)]
    for part in (slice(0, 30), slice(5, 15)):
        assert work(encoded(body[part]), known, monkeypatch) == 0
    assert [len(each) for each in known._layouts] == [10, 10, 10]


def test_tries_that_come_to_nothing_end(monkeypatch):
    """A body in another order is read series by series, and then known in that."""
    known = knowing(blocks_of([series(place) for place in range(900)]), PLENTY)
    order = list(range(900))
    random.Random(4).shuffle(order)
    for body in (range(900), order):
        content = encoded([series(place) for place in body])
        assert work(content, known, monkeypatch) >= 900
        assert work(content, known, monkeypatch) == 0
    assert work(encoded([series(0, 0.0)] * 900), known, monkeypatch) < 4 * 900


def test_layouts_are_not_fitted_again_and_again(monkeypatch):
    known = knowing(blocks_of([series(place) for place in range(3000)]), PLENTY)
    work(encoded([series(place) for place in range(3000)]), known, monkeypatch)
    fitted, put = [], KnownSeries.put

    def noted(self, layout):
        fitted.append(layout)
        put(self, layout)

    monkeypatch.setattr(KnownSeries, "put", noted)
    hostile = [
        each
        for place in range(0, 1500, 2)
        for each in (series(place), series(place + 1, 0.0), series(9000 + place))
    ]
    work(encoded(hostile), known, monkeypatch)
    assert 1 <= len(fitted) < 20


def test_what_is_known_keeps_its_number():
    """Two threads may find the same series new."""
    known = knowing([b"a", b"b"])
    known.add({b"b": 7, b"c": 8})
    assert known.numbers == {b"a": 0, b"b": 1, b"c": 2}
    assert known.refs(np.array([0, 1, 2, NEW])).tolist() == [0, 1, 8, NEW]


def test_refs_are_renamed_in_layouts_too():
    body = encoded([series(place) for place in range(9)])
    known = knowing(blocks_of([series(place) for place in range(9)]), PLENTY)
    for _ in range(3):
        assert decode(snappy(body), known, LIMIT).refs.tolist() == [*range(9)]
    known.rename({3: 70, 8: 3})
    assert decode(snappy(body), known, LIMIT).refs.tolist() == [0, 1, 2, 70, 4, 5, 6, 7, 3]


def test_threads_share_what_is_known():
    content = [series(place) for place in range(400)]
    known = knowing(blocks_of(content), 1 << 16)
    wrong = []

    def push(seed):
        sender = Sender(400, seed)
        for _ in range(40):
            place, size = sender.place, sender.random.randint(1, 500)
            request = decode(snappy(sender.body(size, zeros=0.02)), known, LIMIT)
            if request.refs.tolist() != [(place + k) % 400 for k in range(size)]:
                wrong.append((seed, place, size))

    threads = [threading.Thread(target=push, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("layout_bytes_max", [10, 4000])
def test_memory_is_bounded(layout_bytes_max):
    known = KnownSeries(layout_bytes_max)
    for number in range(60):
        name = [(b"__name__", b"m%d" % number), (b"x", b"y" * 200)]
        body = encoded([(name, [(NOW, 1.0)]), (name, [(NOW + 1, 1.0)])])
        first = told(body, known)
        assert [told(body, known)[3:5] for _ in range(3)] == [first[3:5]] * 3
        assert sum(each.size for each in known._layouts) == known._layout_bytes <= layout_bytes_max
    assert bool(known._layouts) == (layout_bytes_max == 4000)


def test_numbers_given_up_count():
    """A sender who never repeats anything for long is forgotten, and not remembered for ever."""
    known = knowing(blocks_of([series(place) for place in range(50)]), PLENTY)
    order = list(range(50))
    for seed in range(40):
        random.Random(seed).shuffle(order)
        for _ in range(2):
            decode(snappy(encoded([series(place) for place in order])), known, LIMIT)
    assert len(known.numbers) == 50 < known.size
    assert sum(each.size for each in known._layouts) == known._layout_bytes
