"""The protobuf wire format by hand: varints and fields, strict about what is there, lenient about what is new.

A field of a known number must have its wire type; fields of unknown numbers are skipped, groups
included. All offsets are checked against the end that the caller gives, so truncated input is always
noticed.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, GROUP_BEGIN, GROUP_END, FIXED32 = range(6)

_VARINT_BYTES_MAX = 10
_UINT64 = (1 << 64) - 1
_FIELD_NUMBER_MAX = (1 << 29) - 1


class Malformed(Exception):
    """Bytes that are no protobuf message; the text says what is wrong with them."""


class Budget:
    """How many more fields may be read one by one: an empty field costs a sender two bytes, but us a
    microsecond.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: int) -> None:
        self.fields = fields

    def spend(self) -> None:
        """Takes one field off. Raises Malformed when there is none left."""
        self.fields -= 1
        if self.fields < 0:
            raise Malformed("too many fields")


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned varint at `at`, and where it ends. Bits beyond 64 are refused."""
    result = 0
    for place in range(_VARINT_BYTES_MAX):
        if at >= end:
            raise Malformed("unexpected EOF")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if result > _UINT64:
                break
            return result, at
    raise Malformed("integer overflow")


def read_int64(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A varint as two's complement of 64 bits."""
    unsigned, at = read_varint(data, at, end)
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned, at


def fields(data: bytes, at: int, end: int, budget: Budget) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message between `at` and `end`: number, wire type, where the content begins, ends."""
    while at < end:
        budget.spend()
        tag, begin = read_varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number <= _FIELD_NUMBER_MAX:
            raise Malformed(f"illegal field number {number}")
        begin, at = _content(data, begin, end, number, wire_type)
        yield number, wire_type, begin, at


def bytes_field(number: int, content: bytes) -> bytes:
    """A field of bytes; its number is below 16."""
    head, length = bytearray((number << 3 | BYTES,)), len(content)
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content


def expect(number: int, got: int, wanted: int) -> None:
    """Raises Malformed where a known field has another wire type than its own."""
    if got != wanted:
        raise Malformed(f"wrong wireType = {got} for field {number}")


def _content(data: bytes, begin: int, end: int, number: int, wire_type: int) -> tuple[int, int]:
    match wire_type:
        case 0:
            _, at = read_varint(data, begin, end)
        case 1:
            at = begin + 8
        case 2:
            size, begin = read_varint(data, begin, end)
            at = begin + size
        case 3:
            at = _skip_group(data, begin, end, number)
        case 5:
            at = begin + 4
        case _:
            raise Malformed(f"illegal wireType {wire_type}")
    if at > end:
        raise Malformed("unexpected EOF")
    return begin, at


def _skip_group(data: bytes, at: int, end: int, number: int) -> int:
    """Where the group ends. Groups nest, so the open ones are a stack, not a recursion."""
    open_groups = [number]
    while open_groups:
        tag, begin = read_varint(data, at, end)
        if tag & 7 == GROUP_BEGIN:
            open_groups.append(tag >> 3)
            at = begin
        elif tag & 7 == GROUP_END:
            if open_groups.pop() != tag >> 3:
                raise Malformed("group ends that did not begin")
            at = begin
        else:
            _, at = _content(data, begin, end, tag >> 3, tag & 7)
    return at
