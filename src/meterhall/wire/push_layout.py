"""What is known of one sender's series, and runs of them that remote-write bodies repeat.

Senders send the same series in the same order for hours. They cut this stream of messages into bodies anywhere, though,
a series' message is shorter while its value is zero, and now and then one comes or goes. So a `Layout` is a run of
messages with their values and times blanked out, and a body is compared with it from any series to any: what is equal once
its own samples are blanked out too says the same of the same series, and nothing of it is parsed again. Where a byte
differs, the series before it hold. If the next message has just the length that a value more or less makes, the layout is
fitted to that, and compared again. Otherwise the careful way through `remote_write` is the only judge of what follows.

Each series has a *number*. Those of a layout are consecutive, so a number tells where in which layout a series stands,
and the next number which series should come next.
"""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import RefArray
from meterhall.wire.protobuf import bytes_field, read_varint
from meterhall.wire.push_sample import (
    PARTS,
    SAMPLE_BYTES,
    SAMPLE_HEAD,
    TAIL,
    TIME_BYTES,
    VALUE_TAG,
    ZERO_BYTES,
    ZERO_HEAD,
    ZERO_TAIL,
    Tails,
)

# The number of a series that has none.
NEW = -1

_BLANK = SAMPLE_HEAD[:2] + bytes(TAIL.itemsize)
_BLANK_ZERO = ZERO_HEAD + bytes(TIME_BYTES)
_BLANK_TAIL = np.void(bytes(TAIL.itemsize))
_NO_TIME = np.void(bytes(TIME_BYTES))
_SERIES_TAG = 0x0A
_VALUE_BYTES = SAMPLE_BYTES - ZERO_BYTES
# Contents of messages whose length takes two bytes are below it.
_SIZE_MAX = 1 << 14
_REFS_AT_FIRST = 256
_Item = TypeVar("_Item", bound=np.generic)


class Layout:
    """A run of series, each a message with one sample. Immutable."""

    __slots__ = ("_begins", "_full", "_text", "first")

    def __init__(
        self, first: int, text: bytes, begins: NDArray[np.int64], full: NDArray[np.bool_]
    ) -> None:
        """Messages of series with numbers from `first` on, all but their samples; `full` are those with a value.

        `begins` tells where each begins, and where the last one ends.
        """
        self.first = first
        self._text = text
        self._begins = begins
        self._full = full

    @classmethod
    def of(cls, first: int, blocks: Sequence[bytes], zero: NDArray[np.bool_]) -> "Layout":
        """That of series with these label blocks; `zero` are without a value."""
        # A message has room for its tail; a shorter one is kept as if it had a value.
        full = [
            not bare or len(block) + ZERO_BYTES < TAIL.itemsize
            for block, bare in zip(blocks, zero.tolist(), strict=True)
        ]
        messages = [
            _blank_message(block, has_value) for block, has_value in zip(blocks, full, strict=True)
        ]
        begins = np.cumsum([0, *map(len, messages)])
        return cls(first, b"".join(messages), begins, np.array(full, np.bool_))

    def __len__(self) -> int:
        return len(self._full)

    @property
    def size(self) -> int:
        """How many bytes of memory it takes, about."""
        return len(self._text) + 24 * len(self)

    def fitted(self, message: bytearray, at: int, place: int) -> "Layout | None":
        """The same series, those from `place` on with or without a value as they are in the message from `at` on.

        None where the first of them is as it was, or is another series.
        """
        if _message_bytes(message, at, 1) != self._turned_bytes(place, place + 1).tolist():
            return None
        theirs = np.array(_message_bytes(message, at, len(self) - place))
        own = np.diff(self._begins[place : place + len(theirs) + 1])
        turned = self._turned_bytes(place, place + len(theirs))
        turns = theirs == turned
        strange = theirs != np.where(turns, turned, own)
        if strange.any():
            turns[strange.argmax() :] = False
        return self._turned(place + np.flatnonzero(turns))

    def _turned_bytes(self, begin: int, end: int) -> NDArray[np.int64]:
        """How long messages are when those with a value have none, and the other way round; 0 where too short for that."""
        sizes = np.diff(self._begins[begin : end + 1])
        contents = sizes - 2 - (sizes >= 3 + 0x80)
        contents += np.where(self._full[begin:end], -_VALUE_BYTES, _VALUE_BYTES)
        turned: NDArray[np.int64] = contents + 2 + (contents >= 0x80)
        turned[(contents < TAIL.itemsize) | (contents >= _SIZE_MAX)] = 0
        return turned

    def _turned(self, places: NDArray[np.intp]) -> "Layout":
        """With those with a value that have none here, and the other way round."""
        full, sizes = self._full.copy(), np.diff(self._begins)
        full[places] = ~full[places]
        pieces: list[bytes] = []
        done = 0
        for place in places.tolist():
            begin, end = self._begins[place : place + 2].tolist()
            _, head = read_varint(self._text, begin + 1, end)
            block = self._text[head : end - (ZERO_BYTES if full[place] else SAMPLE_BYTES)]
            message = _blank_message(block, full[place])
            sizes[place] = len(message)
            pieces += (self._text[done:begin], message)
            done = end
        pieces.append(self._text[done:])
        return Layout(self.first, b"".join(pieces), np.cumsum([0, *sizes.tolist()]), full)

    def outside(self, first: int, last: int) -> list["Layout"]:
        """What is left of it without the series whose numbers are from `first` on and below `last`."""
        if last <= self.first or self.first + len(self) <= first:
            return [self]
        ranges = ((0, first - self.first), (last - self.first, len(self)))
        return [self._part(begin, end) for begin, end in ranges if begin < end]

    def _part(self, begin: int, end: int) -> "Layout":
        begins = self._begins[begin : end + 1]
        text = self._text[begins[0] : begins[-1]]
        return Layout(self.first + begin, text, begins - begins[0], self._full[begin:end].copy())

    def match(self, message: bytearray, at: int, place: int, most: int) -> tuple[Tails, int]:
        """Tails of as many series as the message has from `at` on as they are here from `place` on; and where they end.

        At most `most`. What they took of the message is blanked out, the rest is as it was: a body is hundreds of
        kilobytes, a tenth of it samples, so it is not copied and walked through once.
        """
        begins = self._begins[place : place + most + 1]
        begins = begins + (at - begins[0])
        begins = begins[: np.searchsorted(begins, len(message), "right")]
        full = self._full[place : place + len(begins) - 1]
        ends = begins[1:]
        if not len(ends):
            return np.empty(0, TAIL), at
        samples = _at(message, TAIL)
        tails = samples[ends - TAIL.itemsize]
        begun = tails.view(PARTS)["tag"] == VALUE_TAG
        every = full.all()
        if every:
            samples[ends - TAIL.itemsize] = _BLANK_TAIL
        else:
            samples[ends[full] - TAIL.itemsize] = _BLANK_TAIL
            bare = ends[~full]
            _at(message, _NO_TIME.dtype)[bare - TIME_BYTES] = _NO_TIME
            begun |= ~full
        same = self._same(message, at, place, begins)
        if not begun.all():
            # Blanked out with the rest, but no sample as usual.
            same = min(same, int(begun.argmin()))
        if same < len(tails):
            samples[ends[same:] - TAIL.itemsize] = tails[same:]
            tails = tails[:same]
        if not every:
            tails.view(PARTS)["front"][~full[:same]] = np.void(ZERO_TAIL)
        return tails, int(begins[same])

    def _same(self, message: bytearray, at: int, place: int, begins: NDArray[np.int64]) -> int:
        """How many of the messages that begin there are equal."""
        begin, size = self._begins[place], begins[-1] - at
        mine = memoryview(self._text)[begin : begin + size]
        if message.startswith(mine, at):
            return len(begins) - 1
        theirs = np.frombuffer(message, np.uint8, size, at)
        differs = int((theirs != np.frombuffer(mine, np.uint8)).argmax())
        return int(np.searchsorted(begins, at + differs, "right")) - 1


class KnownSeries:
    """The series of one sender by label block, with what the receiver calls them. Thread-safe; layouts are bounded."""

    def __init__(self, layout_bytes_max: int = 0) -> None:
        # By label block; to be read only.
        self.numbers: dict[bytes, int] = {}
        self._layout_bytes_max = layout_bytes_max
        self._layout_bytes = 0
        # By their numbers; replaced, never changed, because others read without the lock.
        self._layouts: list[Layout] = []
        # By number, both.
        self._blocks: list[bytes] = []
        self._refs: RefArray = np.empty(_REFS_AT_FIRST, np.int64)
        self._debt = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many there are; numbers that were given up count too, as half a series each."""
        return (len(self.numbers) + len(self._blocks)) // 2

    def refs(self, numbers: NDArray[np.int64]) -> RefArray:
        """What the receiver calls the series with these numbers; NEW stays."""
        refs = self._refs[numbers]
        refs[numbers == NEW] = NEW
        return refs

    def block(self, number: int) -> bytes:
        """The label block of the series with this number."""
        return self._blocks[number]

    def add(self, refs: Mapping[bytes, int]) -> None:
        """Remembers series that are new; another thread may have done so already."""
        with self._lock:
            new = {block: ref for block, ref in refs.items() if block not in self.numbers}
            self._number(list(new), np.fromiter(new.values(), np.int64, len(new)))

    def rename(self, names: Mapping[int, int]) -> None:
        """Has other refs in place of these."""
        old = np.fromiter(names, np.int64, len(names))
        with self._lock:
            for number in np.flatnonzero(np.isin(self._refs[: len(self._blocks)], old)).tolist():
                self._refs[number] = names[int(self._refs[number])]

    def find(self, number: int) -> tuple[Layout, int] | None:
        """Where a series stands, if it does anywhere."""
        layouts = self._layouts
        which = bisect_right(layouts, number, key=_first) - 1
        if which < 0:
            return None
        layout = layouts[which]
        place = number - layout.first
        return (layout, place) if place < len(layout) else None

    def owes(self, work: int, series: int) -> bool:
        """Whether, with this work, as much was done series by series as a layout of so many series costs."""
        self._debt += work
        return work > 0 and series <= self._debt and self._layout_bytes_max > 0

    def arrange(self, numbers: NDArray[np.int64], zero: NDArray[np.bool_]) -> None:
        """Makes a layout of these series, in place of what there was. Where there are too many, all others are forgotten.

        They keep their numbers where these are consecutive, and get new ones otherwise.
        """
        _, places = np.unique(numbers, return_index=True)
        places.sort()
        numbers, zero = numbers[places], zero[places]
        with self._lock:
            self._debt = 0
            blocks = [self._blocks[number] for number in numbers.tolist()]
            kept = bool((np.diff(numbers) == 1).all())
            layout = Layout.of(int(numbers[0]) if kept else len(self._blocks), blocks, zero)
            if layout.size > self._layout_bytes_max:
                return
            if not kept:
                self._number(blocks, self._refs[numbers])
            self._put(layout)

    def put(self, layout: Layout) -> None:
        """Has a layout in place of what there was of its series."""
        with self._lock:
            self._put(layout)

    def _put(self, layout: Layout) -> None:
        first, last = layout.first, layout.first + len(layout)
        begin = max(0, bisect_right(self._layouts, first, key=_first) - 1)
        end = bisect_left(self._layouts, last, key=_first)
        old = self._layouts[begin:end]
        new = [part for each in old for part in each.outside(first, last)]
        insort(new, layout, key=_first)
        self._layout_bytes += sum(each.size for each in new) - sum(each.size for each in old)
        if self._layout_bytes > self._layout_bytes_max:
            self._layouts, self._layout_bytes = [layout], layout.size
        else:
            self._layouts = [*self._layouts[:begin], *new, *self._layouts[end:]]

    def _number(self, blocks: Sequence[bytes], refs: RefArray) -> None:
        first, last = len(self._blocks), len(self._blocks) + len(blocks)
        if last > len(self._refs):
            self._refs = np.concatenate((self._refs, np.empty(last, np.int64)))
        self._refs[first:last] = refs
        self._blocks.extend(blocks)
        # Other threads read without the lock: a number is not to be found before all that it stands for.
        self.numbers.update(zip(blocks, range(first, last), strict=True))


def _blank_message(block: bytes, has_value: bool) -> bytes:
    return bytes_field(1, block + (_BLANK if has_value else _BLANK_ZERO))


def _message_bytes(message: bytearray, at: int, most: int) -> list[int]:
    """How long the messages of series from `at` on are, at most so many; less where something else comes."""
    sizes = []
    begin, last = at, len(message) - SAMPLE_BYTES
    for _ in repeat(None, most):
        if begin >= last or message[begin] != _SERIES_TAG:
            break
        size = message[begin + 1] + 2
        if size >= 2 + 0x80:
            size += 1 + ((message[begin + 2] - 1) << 7)
        begin += size
        sizes.append(size)
    return sizes


def _first(layout: Layout) -> int:
    return layout.first


def _at(data: bytearray, kind: np.dtype[_Item]) -> NDArray[_Item]:
    """An item from every offset on; they overlap."""
    return np.ndarray((len(data) - kind.itemsize + 1,), kind, data, strides=(1,))
