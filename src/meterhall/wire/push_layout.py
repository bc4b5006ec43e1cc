"""Remote-write bodies that differ from an earlier one in nothing but values and times.

Senders repeat a few dozen bodies for hours: the same series in the same order. A `Layout` is such a body with
its values and times blanked out. A body that is equal to it once its own are blanked out too says the same of
the same series, so none of it is parsed again: one comparison, and the samples are read by NumPy all at once.
Where a single other byte differs there is no match, and the careful way through `remote_write` is the only judge.

A sample as senders write it, the only kind that a layout knows:

    12 10 09 <double> 10 <time in six bytes>     or, where the value is zero,     12 07 10 <time in six bytes>

Six bytes hold the years 1971 to 2109.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import RefArray, TimestampArray, ValueArray

_TIME_BYTES = 6
# From the end of a sample back to its value, and its last sixteen bytes.
_VALUE_BACK, _TAIL_BYTES = 15, 16
# In these: the value, and a word whose upper six bytes are the time.
_VALUE_AT, _WORD_AT = 1, 8
_WORD_SHIFT = np.uint64(16)
_CONTINUES = np.uint64(0x8080_8080_8080)
_ALL_BUT_LAST = np.uint64(0x0080_8080_8080)
_BLANK_VALUE = np.void(bytes(8))
_BLANK_TIME = np.void(bytes(_TIME_BYTES))
_TAIL = np.dtype((np.void, _TAIL_BYTES))
_Item = TypeVar("_Item", bound=np.generic)


class Layout:
    """One body without its samples. Immutable, but for `refs`."""

    __slots__ = ("_blank", "_ends", "_full", "blocks", "refs")

    def __init__(
        self,
        message: bytes,
        blocks: Sequence[bytes],
        ends: NDArray[np.int64],
        has_value: NDArray[np.bool_],
    ) -> None:
        """Of a body in which each series of `blocks` has one sample; `ends` tells where each ends, from byte 16 on."""
        self.blocks = blocks
        # What the receiver calls the series; it sets and resets this.
        self.refs: RefArray | None = None
        self._ends = ends
        self._full = None if has_value.all() else np.flatnonzero(has_value)
        self._blank = bytearray(message)
        self._blank_out(self._blank)

    @property
    def size(self) -> int:
        """How many bytes of memory it takes, about."""
        return len(self._blank) + 24 * len(self._ends)

    def read(self, message: bytearray) -> tuple[TimestampArray, ValueArray] | None:
        """Times and values of a body of this layout, which is blanked out then; None for any other.

        A body is a few hundred kilobytes of which a tenth is samples: it is not copied, and walked through once.
        """
        if len(message) != len(self._blank):
            return None
        places = self._ends - _TAIL_BYTES
        tails = _at(message, _TAIL)[places]
        self._blank_out(message)
        times = _times(tails) if message == self._blank else None
        if times is None:
            _at(message, _TAIL)[places] = tails
            return None
        if self._full is None:
            return times, _values(tails)
        values = np.zeros(len(times), np.float64)
        values[self._full] = _values(tails)[self._full]
        return times, values

    def _blank_out(self, message: bytearray) -> None:
        full = self._ends if self._full is None else self._ends[self._full]
        _at(message, _BLANK_VALUE.dtype)[full - _VALUE_BACK] = _BLANK_VALUE
        _at(message, _BLANK_TIME.dtype)[self._ends - _TIME_BYTES] = _BLANK_TIME


class Layouts:
    """The layouts of one sender's bodies, by their first label block. Bounded; shared by threads."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._by_first: dict[bytes, Layout] = {}

    def get(self, block: bytes) -> Layout | None:
        """The layout of the last body that began with that series, if it is kept."""
        return self._by_first.get(block)

    def keep(self, layout: Layout) -> None:
        """Remembers a layout. Where there are too many, all others are forgotten."""
        old = self._by_first.pop(layout.blocks[0], None)
        self._bytes += layout.size - (0 if old is None else old.size)
        if self._bytes > self._bytes_max:
            self._by_first, self._bytes = {}, layout.size
        if self._bytes <= self._bytes_max:
            self._by_first[layout.blocks[0]] = layout


def _values(tails: NDArray[np.void]) -> ValueArray:
    """The doubles; rubbish where a sample has none."""
    return np.ndarray((len(tails),), "<f8", tails, _VALUE_AT, (_TAIL_BYTES,)).astype(np.float64)


def _times(tails: NDArray[np.void]) -> TimestampArray | None:
    """None where one has not six bytes."""
    words = np.ndarray((len(tails),), "<u8", tails, _WORD_AT, (_TAIL_BYTES,)) >> _WORD_SHIFT
    if not ((words & _CONTINUES) == _ALL_BUT_LAST).all():
        return None
    times = words & np.uint64(0x7F)
    for group in range(1, _TIME_BYTES):
        times |= (words >> np.uint64(group)) & np.uint64(0x7F << 7 * group)
    return times.view(np.int64)


def _at(data: bytearray, kind: np.dtype[_Item]) -> NDArray[_Item]:
    """An item from every offset on; they overlap."""
    return np.ndarray((len(data) - kind.itemsize + 1,), kind, data, strides=(1,))
