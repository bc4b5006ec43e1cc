"""One zstd frame, decoded with a bound: nothing is allocated before the declared size is checked.

A frame must declare its decoded size (RFC 8878, 3.1.1.1), need no dictionary, and be all there is.
"""

import cramjam

from meterhall.model.errors import BadInput, TooLarge

# Cheap enough for a small host; on pages of numbers higher levels gain little.
_LEVEL = 3
_MAGIC = b"\x28\xb5\x2f\xfd"
_DICTIONARY_OR_RESERVED = 0x0B
_SINGLE_SEGMENT = 0x20


def compress(data: bytes) -> bytes:
    """The data as one frame that declares its size."""
    return bytes(cramjam.zstd.compress(data, level=_LEVEL))


def decompress(frame: bytes, bytes_max: int) -> bytearray:
    """The decoded bytes. Raises TooLarge for a declaration above the bound, BadInput for any other fault."""
    declared = _declared_size(frame)
    if declared > bytes_max:
        raise TooLarge(f"the zstd frame declares {declared} bytes where {bytes_max} are allowed")
    decoded = bytearray(declared)
    try:
        filled = cramjam.zstd.decompress_into(frame, decoded)
    except cramjam.DecompressionError:
        raise BadInput("the zstd frame is damaged, or longer than it declares") from None
    if filled != declared:
        raise BadInput("the zstd frame is shorter than it declares")
    return decoded


def _declared_size(frame: bytes) -> int:
    if frame[:4] != _MAGIC or len(frame) < 5:
        raise BadInput("not a zstd frame")
    descriptor = frame[4]
    if descriptor & _DICTIONARY_OR_RESERVED:
        raise BadInput("the zstd frame needs a dictionary or a newer version")
    single_segment = bool(descriptor & _SINGLE_SEGMENT)
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    if not size_bytes:
        raise BadInput("the zstd frame does not declare its size")
    # Without the flag, a byte for the window stands before the size.
    begin = 5 if single_segment else 6
    size = int.from_bytes(frame[begin : begin + size_bytes], "little")
    return size + 256 if size_bytes == 2 else size
