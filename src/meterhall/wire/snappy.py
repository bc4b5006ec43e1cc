"""Snappy's block format, decoded with a bound: nothing is allocated before the declared length is checked.

Format: the decoded length as a varint of at most 32 bits, then elements. The framed format (a stream of
chunks) is another one and is refused, as Prometheus does.
"""

import cramjam

from meterhall.model.errors import WriteRequestError

CORRUPT = "snappy: corrupt input"

_FRAMED_MAGIC = b"\xff\x06\x00\x00sNaPpY"
_UINT32_MAX = (1 << 32) - 1
_LENGTH_BYTES_MAX = 5
# The densest element is a copy of 64 bytes in three, so a longer declaration is a lie.
_EXPANSION_MAX = 64 / 3


def decode_block(block: bytes, decoded_bytes_max: int) -> bytearray:
    """The decoded bytes, the caller's to keep. Raises WriteRequestError with Prometheus' texts."""
    if block.startswith(_FRAMED_MAGIC):
        raise WriteRequestError(CORRUPT)
    declared, elements = _declared_length(block)
    if declared > decoded_bytes_max:
        raise WriteRequestError(
            f"snappy: decoded length {declared} exceeds limit {decoded_bytes_max}"
        )
    if declared > elements * _EXPANSION_MAX:
        raise WriteRequestError(CORRUPT)
    try:
        decoded = bytearray(declared)
        written = cramjam.snappy.decompress_raw_into(block, decoded)
    except cramjam.DecompressionError:
        raise WriteRequestError(CORRUPT) from None
    if written != declared:
        raise WriteRequestError(CORRUPT)
    return decoded


def _declared_length(block: bytes) -> tuple[int, int]:
    """The declared length and how many bytes follow it."""
    length = 0
    for place, byte in enumerate(block[:_LENGTH_BYTES_MAX]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if length > _UINT32_MAX:
                break
            return length, len(block) - place - 1
    raise WriteRequestError(CORRUPT)
