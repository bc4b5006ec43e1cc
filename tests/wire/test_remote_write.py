"""Remote write 1.0 bodies: against protobuf's own runtime, in odd spellings, and as rubbish."""

import contextlib
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from write_request import WriteRequestMessage, body_of, encoded, knowing, snappy

from meterhall.model.errors import WriteRequestError
from meterhall.model.metadata import Metadata
from meterhall.wire.remote_write import decode, decode_labels

LIMIT = 32 << 20
NOW = 1_700_000_000_000


def samples_of(request):
    """(label block, time, value bits) in the order of the request."""
    blocks = request.blocks()
    return [
        (blocks[owner], time, bits)
        for owner, time, bits in zip(
            request.owners.tolist(),
            request.times_ms.tolist(),
            request.values.view("u8").tolist(),
            strict=True,
        )
    ]


def by_protobuf(data):
    """The oracle: the same as samples_of, out of protobuf's runtime."""
    message = WriteRequestMessage.FromString(data)
    out = []
    for series in message.timeseries:
        labels = [(label.name, label.value) for label in series.labels]
        out.extend(
            (labels, sample.timestamp, struct.unpack("<Q", struct.pack("<d", sample.value))[0])
            for sample in series.samples
        )
    return out


def check(data, known=()):
    request = decode(snappy(data), knowing(known), LIMIT)
    got = [(decode_labels(block), time, bits) for block, time, bits in samples_of(request)]
    assert got == by_protobuf(data)
    assert set(request.fresh) == {block for block in request.blocks() if block not in known}
    assert all(list(request.fresh[block]) == decode_labels(block) for block in request.fresh)
    return request


short = st.binary(max_size=6)
times = st.one_of(
    st.integers(NOW, NOW + 10**9), st.integers(-(2**63), 2**63 - 1), st.sampled_from((0, 1, -1))
)
values = st.one_of(st.floats(), st.sampled_from((0.0, -0.0, 1.0)))
long_value = st.sampled_from((b"v" * 127, b"v" * 128, b"v" * 20_000))
labels = st.lists(st.tuples(short, st.one_of(short, long_value)), max_size=4)
series = st.tuples(labels, st.lists(st.tuples(times, values), max_size=4))


@given(st.lists(series, max_size=6), st.data())
@example([([(b"a", b"b")], [(NOW, 0.0)])], None)
@example([([], [(NOW, 0.0)])], None)
@example([([], [(NOW, 1.0)])], None)
def test_reads_what_protobuf_wrote(content, data):
    """Also when all or some of the label blocks are known, which is another way through."""
    body = encoded(content)
    blocks = check(body).blocks()
    check(body, set(blocks))
    if data is not None and blocks:
        check(body, set(data.draw(st.lists(st.sampled_from(blocks)))))


def field(number, wire_type, content):
    tag = bytes([number << 3 | wire_type])
    return tag + bytes([len(content)]) + content if wire_type == 2 else tag + content


LABEL = field(1, 2, field(1, 2, b"a") + field(2, 2, b"b"))
SAMPLE = field(2, 2, field(1, 1, struct.pack("<d", 1.5)) + field(2, 0, b"\x05"))
ODD = {
    "samples first": field(1, 2, SAMPLE + LABEL),
    "labels on both sides": field(1, 2, LABEL + SAMPLE + LABEL),
    "unknown fields everywhere": field(9, 2, b"xyz")
    + field(
        1,
        2,
        field(7, 0, b"\x81\x01")
        + field(1, 2, field(1, 2, b"a") + field(3, 5, b"1234") + field(2, 2, b"b"))
        + field(2, 2, field(3, 0, b"\x01") + field(1, 1, b"\0" * 8) + field(2, 0, b"\x05")),
    )
    + field(10, 1, b"12345678"),
    "an unknown group": field(12, 3, field(12, 3, field(1, 0, b"\x01") + field(12, 4, b"")))
    + field(12, 4, b"")
    + field(1, 2, LABEL + SAMPLE),
    "value and time in the other order": field(
        1, 2, LABEL + field(2, 2, field(2, 0, b"\x05") + field(1, 1, struct.pack("<d", 2.5)))
    ),
    "sixteen bytes that are another sample": field(
        1,
        2,
        LABEL
        + field(
            2, 2, field(1, 1, b"12345678") + field(2, 0, b"\x05") + field(2, 0, b"\x81\x80\x01")
        ),
    ),
    "a time of six bytes that are two": field(
        1, 2, LABEL + field(2, 2, field(2, 0, b"\x05") + field(3, 0, b"\x80\x80\x01"))
    ),
    "the last of a repeated value counts": field(
        1, 2, LABEL + field(2, 2, field(2, 0, b"\x05") + field(2, 0, b"\x06"))
    ),
    "a length in more bytes than it needs": b"\x0a"
    + bytes([len(LABEL + SAMPLE) | 0x80, 0x80, 0])
    + LABEL
    + SAMPLE,
    "no labels": field(1, 2, SAMPLE),
    "an empty sample": field(1, 2, LABEL + field(2, 2, b"")),
    "an empty series": field(1, 2, b""),
    "nothing": b"",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_spellings_of_sound_messages(name):
    request = check(ODD[name])
    check(ODD[name], set(request.blocks()))


BAD = {
    "field 0": b"\x00\x01",
    "wire type of timeseries": field(1, 0, b"\x01"),
    "wire type of metadata": field(3, 5, b"1234"),
    "wire type of labels": field(1, 2, field(1, 0, b"\x01")),
    "wire type of samples": field(1, 2, LABEL + field(2, 1, b"12345678")),
    "wire type of a value": field(1, 2, LABEL + field(2, 2, field(1, 0, b"\x01"))),
    "wire type of a time": field(1, 2, LABEL + field(2, 2, field(2, 5, b"1234"))),
    "wire type of a label's name": field(1, 2, field(1, 2, field(1, 0, b"\x01"))),
    "wire type of a label's value": field(1, 2, field(1, 2, field(2, 0, b"\x01"))),
    "wire type 6": b"\x0e",
    "wire type 7": b"\x0f",
    "truncated tag": b"\x8a",
    "truncated length": b"\x0a",
    "truncated series": field(1, 2, LABEL + SAMPLE)[:-1],
    "label beyond its series": field(1, 2, LABEL[:-1] + b""),
    "sample beyond its series": field(1, 2, LABEL + SAMPLE[:-1]),
    "truncated fixed64": field(9, 1, b"1234"),
    "varint of eleven bytes": field(9, 0, b"\xff" * 10 + b"\x01"),
    "varint beyond 64 bits": field(9, 0, b"\xff" * 9 + b"\x7f"),
    "length beyond everything": b"\x0a" + b"\xff" * 9 + b"\x01",
    "group that does not end": field(12, 3, b""),
    "group that did not begin": field(12, 4, b""),
    "group that ends another": field(12, 3, b"") + field(13, 4, b""),
}


@pytest.mark.parametrize("name", BAD)
def test_unsound_messages(name):
    with pytest.raises(WriteRequestError, match=r"^snappy: corrupt input: proto: "):
        decode(snappy(BAD[name]), knowing(), LIMIT)


def test_a_known_block_does_not_hide_a_bad_sample():
    body = encoded([({"a": "b"}, [(NOW, 1.0)])])
    blocks = decode(snappy(body), knowing(), LIMIT).blocks()
    # The last time byte goes on beyond the message.
    with pytest.raises(WriteRequestError):
        decode(snappy(body[:-1] + b"\xff"), knowing(blocks), LIMIT)


def test_fields_are_rationed():
    with pytest.raises(WriteRequestError, match="too many fields"):
        decode(snappy(field(1, 2, b"") * 101), knowing(), LIMIT, fields_max=100)


def test_metadata_exemplars_and_histograms():
    body = body_of(
        [({"__name__": "a"}, [(NOW, 1.0)])],
        [(1, "a", "says", "seconds"), (7, "b", "", ""), (99, "c", b"\xff", "")],
    )
    request = decode(body, knowing(), LIMIT)
    assert request.metadata == {
        "a": Metadata("counter", "says", "seconds"),
        "b": Metadata("stateset", "", ""),
        "c": Metadata("unknown", "\ufffd", ""),
    }
    odd = field(1, 2, LABEL + field(3, 2, b"x") + SAMPLE + field(4, 2, b"y") + field(4, 2, b"z"))
    request = decode(snappy(odd), knowing(), LIMIT)
    assert (request.exemplars, request.histograms, len(request.values)) == (1, 2, 1)


@given(st.binary(max_size=200))
def test_rubbish_is_refused_with_one_kind_of_error(rubbish):
    for body in (rubbish, snappy(rubbish)):
        with contextlib.suppress(WriteRequestError):
            decode(body, knowing(), 1 << 20)


@given(st.lists(series, min_size=1, max_size=3), st.data())
def test_damaged_bodies_never_raise_anything_else(content, data):
    body = bytearray(encoded(content))
    known = set(decode(snappy(bytes(body)), knowing(), LIMIT).blocks())
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    results = []
    for blocks in ((), known):
        try:
            request = decode(snappy(cut), knowing(blocks), LIMIT)
            results.append(samples_of(request))
        except WriteRequestError as error:
            results.append(str(error))
    assert results[0] == results[1]
