"""Samples of remote write as senders write them, the last sixteen bytes of each, read by NumPy all at once.

    12 10 09 <double> 10 <time in six bytes>     or, where the value is zero,     12 07 10 <time in six bytes>

Six bytes hold the years 1971 to 2109. The *tail* of a sample is

    09 <double> 10 <time in six bytes>           or     07 00 00 00 00 00 00 00 00 10 <time in six bytes>

so that a value is read from all of them, and the first byte tells which it was.
"""

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import TimestampArray, ValueArray

SAMPLE_HEAD, SAMPLE_BYTES = b"\x12\x10\x09", 18
ZERO_HEAD, ZERO_BYTES = b"\x12\x07\x10", 9

TIME_BYTES = 6
VALUE_TAG = SAMPLE_HEAD[-1]
TAIL = np.dtype((np.void, 16))
# What stands in a tail before the tag of the time, where there is no value, and how many bytes of the body follow it.
ZERO_TAIL, ZERO_TAIL_BYTES = b"\x07" + bytes(8), 1 + TIME_BYTES
# Of a sample that is not written like this.
NO_TAIL = bytes(TAIL.itemsize)

# What a tail is read by. The word has the tag of the time as its second byte, and the time above.
PARTS = np.dtype(
    {
        "names": ["tag", "front", "value", "word"],
        "formats": ["u1", f"V{len(ZERO_TAIL)}", "<f8", "<u8"],
        "offsets": [0, 0, 1, 8],
        "itemsize": TAIL.itemsize,
    }
)
_TAG_MASK, _TAG = np.uint64(0xFF00), np.uint64(0x1000)
_CONTINUES_MASK = np.uint64(0x8080_8080_8080_0000)
_CONTINUES = np.uint64(0x0080_8080_8080_0000)
_SHIFT = np.uint64(16)
# Six groups of seven bits are made three of fourteen, and those one.
_SEVENS = np.uint64(0x7F7F_7F7F_7F7F)
_EVEN, _ODD, _ONE = np.uint64(0x007F_007F_007F), np.uint64(0x7F00_7F00_7F00), np.uint64(1)
_LOW, _MIDDLE, _HIGH = np.uint64(0x3FFF), np.uint64(0x3FFF_0000), np.uint64(0x3FFF_0000_0000)
_TWO, _FOUR = np.uint64(2), np.uint64(4)

Tails = NDArray[np.void]


def values_of(tails: Tails) -> ValueArray:
    """The doubles."""
    return np.ascontiguousarray(tails.view(PARTS)["value"])


def without_value(tails: Tails) -> NDArray[np.bool_]:
    """Which samples had none, being zero."""
    zero: NDArray[np.bool_] = tails.view(PARTS)["tag"] == ZERO_TAIL[0]
    return zero


def times_of(tails: Tails) -> tuple[TimestampArray, NDArray[np.bool_]]:
    """Times, and which of them are six bytes behind their tag: the others are rubbish."""
    words: NDArray[np.uint64] = tails.view(PARTS)["word"]
    fits = (words & (_TAG_MASK | _CONTINUES_MASK)) == (_TAG | _CONTINUES)
    bits = (words >> _SHIFT) & _SEVENS
    bits = (bits & _EVEN) | ((bits & _ODD) >> _ONE)
    times = (bits & _LOW) | ((bits & _MIDDLE) >> _TWO) | ((bits & _HIGH) >> _FOUR)
    return times.view(np.int64), fits
