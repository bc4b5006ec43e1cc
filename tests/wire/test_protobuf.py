"""Fields and varints; whole messages are in test_remote_write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.wire.protobuf import Budget, Malformed, fields, read_int64, read_varint


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_varints(number, rest):
    data = varint(number) + rest
    assert read_varint(data, 0, len(data)) == (number, len(data) - len(rest))
    signed = number - 2**64 if number >= 2**63 else number
    assert read_int64(data, 0, len(data)) == (signed, len(data) - len(rest))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unexpected EOF"),
        (b"\x80", "unexpected EOF"),
        (varint(2**64), "integer overflow"),
        (b"\x80" * 10 + b"\0", "integer overflow"),
    ],
)
def test_bad_varints(data, reason):
    with pytest.raises(Malformed, match=reason):
        read_varint(data, 0, len(data))


def test_fields_stay_within_their_message():
    data = b"\x08\x05\x12\x02ab\x1d1234\x2212345678"
    with pytest.raises(Malformed):
        list(fields(data, 0, 7, Budget(9)))
    assert list(fields(data, 0, 6, Budget(9))) == [(1, 0, 1, 2), (2, 2, 4, 6)]


def test_groups_are_skipped_to_any_depth():
    depth = 5000
    data = b"\x0b" * depth + b"\x0c" * depth + b"\x10\x01"
    assert [number for number, *_ in fields(data, 0, len(data), Budget(9))] == [1, 2]


def test_the_budget():
    data = b"\x10\x01" * 3
    assert len(list(fields(data, 0, len(data), Budget(3)))) == 3
    with pytest.raises(Malformed, match="too many fields"):
        list(fields(data, 0, len(data), Budget(2)))


@given(st.binary(max_size=40))
def test_nothing_but_malformed(data):
    try:
        for _, _, begin, end in fields(data, 0, len(data), Budget(100)):
            assert 0 < begin <= end <= len(data)
    except Malformed:
        pass
