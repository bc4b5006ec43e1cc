"""Snappy blocks: bombs are refused by what they declare, and rubbish with one text."""

import contextlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.errors import WriteRequestError
from meterhall.wire.snappy import decode_block

LIMIT = 32 << 20


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@given(st.binary(max_size=300), st.integers(1, 50))
def test_what_was_compressed_comes_back(data, times):
    block = bytes(cramjam.snappy.compress_raw(data * times))
    assert decode_block(block, LIMIT) == data * times


def test_the_densest_block_is_not_mistaken_for_a_bomb():
    zeros = bytes(LIMIT)
    assert decode_block(bytes(cramjam.snappy.compress_raw(zeros)), LIMIT) == zeros


TOO_LONG = "snappy: decoded length {} exceeds limit 33554432"
REFUSED = [
    (b"", "snappy: corrupt input"),
    (b"\x80", "snappy: corrupt input"),
    (b"rubbish rubbish rubbish", "snappy: corrupt input"),
    (b"\xff\x06\x00\x00sNaPpY" + b"\x00" * 20, "snappy: corrupt input"),
    (bytes(cramjam.snappy.compress(b"framed" * 100)), "snappy: corrupt input"),
    (varint(LIMIT + 1) + b"\0", TOO_LONG.format(LIMIT + 1)),
    (varint(1 << 30) + b"\0", TOO_LONG.format(1 << 30)),
    (varint((1 << 32) - 1) + b"\0", TOO_LONG.format((1 << 32) - 1)),
    (varint(1 << 32) + b"\0", "snappy: corrupt input"),
    (varint((1 << 35) - 1) + b"\0", "snappy: corrupt input"),
    (b"\xff" * 20, "snappy: corrupt input"),
    (varint(LIMIT) + b"\0" * 100, "snappy: corrupt input"),
    (varint(3) + b"\x04ab", "snappy: corrupt input"),
    (varint(1) + b"\x04ab", "snappy: corrupt input"),
]


@pytest.mark.parametrize(("block", "text"), REFUSED)
def test_refused(block, text):
    with pytest.raises(WriteRequestError) as caught:
        decode_block(block, LIMIT)
    assert str(caught.value) == text


@given(st.binary(max_size=100))
def test_nothing_but_the_typed_error(rubbish):
    with contextlib.suppress(WriteRequestError):
        decode_block(rubbish, 1 << 16)
