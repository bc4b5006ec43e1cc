"""Samples to the JSON of Prometheus: `[1795445635.413,"1.5"],[…`, a row of points for each series.

Before each row its `head` is copied, which is the caller's text. `heads` has them one after the other, `head_ends` says
where each ends. The text must have POINT_ROOM bytes for each point, SPARE_ROOM for each row, and the heads' own.
"""

import numpy as np
from numpy.typing import NDArray

from meterhall.compiled.decimals import VALUE_CHARS_MAX, VALUE_ROOM, write_value, write_whole
from meterhall.compiled.jit import inlined, kernel, reading, types
from meterhall.compiled.words import Text, Word, load, signed, store

_OPENING_WORDS = 3
# `[-9223372036854775.807,"` and `"],`.
POINT_ROOM = 8 * _OPENING_WORDS + VALUE_CHARS_MAX + 3
# What the last value may write beyond its end.
SPARE_ROOM = VALUE_ROOM + 8

_CLOSING = Word(int.from_bytes(b'"],', "little"))
_QUOTE = Word(int.from_bytes(b',"', "little"))
_ROW_END = Word(int.from_bytes(b"]},", "little"))
_BRACKET, _MINUS, _POINT, _ZERO = (ord(sign) for sign in "[-.0")
_0 = Word(0)


@inlined
def _write_opening(text: Text, at: int, time_ms: int) -> int:
    """`[1795445635.413,"`: seconds with none or three decimals."""
    text[at] = _BRACKET
    at += 1
    if time_ms < 0:
        text[at] = _MINUS
        at += 1
    size = abs(time_ms)
    at = write_whole(text, at, Word(size // 1000))
    rest = size % 1000
    if rest:
        text[at] = _POINT
        text[at + 1] = _ZERO + rest // 100
        text[at + 2] = _ZERO + rest // 10 % 10
        text[at + 3] = _ZERO + rest % 10
        at += 4
    store(text, at, _QUOTE)
    return at + 2


@inlined
def _write_head(text: Text, at: int, heads: Text, start: int, end: int) -> int:
    for place in range(start, end):
        text[at + place - start] = heads[place]
    return at + end - start


@inlined
def _write_point(
    text: Text, at: int, value: float, bits: Word, before: tuple[Word, int, int]
) -> tuple[int, tuple[Word, int, int]]:
    """The value of a point and its end: where that is, and the value's bits, place and length for the point after.

    A value that is the same as `before` is copied from where it was first written.
    """
    kept, kept_at, length = before
    if length and bits == kept:
        for place in range(0, 32, 8):
            store(text, at + place, load(text, kept_at + place))
    else:
        kept_at, length = at, write_value(text, at, value, bits) - at
    store(text, at + length, _CLOSING)
    return at + length + 3, (bits, kept_at, length)


@kernel(types.void, reading(types.int64, 1), types.uint64[:, ::1], types.uint8[::1])
def openings(times: NDArray[np.int64], words: NDArray[Word], text: Text) -> None:
    """What comes before the values of a grid: in each row of `words[T, 4]` three of text, and the text's length.

    `text` is for scratch and has POINT_ROOM bytes.
    """
    for step in range(len(times)):
        words[step, _OPENING_WORDS] = Word(_write_opening(text, 0, times[step]))
        for word in range(_OPENING_WORDS):
            words[step, word] = load(text, 8 * word)


@kernel(
    types.int64,
    reading(types.float64, 2),
    reading(types.boolean, 2),
    reading(types.uint64, 2),
    reading(types.uint8, 1),
    reading(types.int64, 1),
    types.uint8[::1],
)
def write_grid(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    words: NDArray[Word],
    heads: Text,
    head_ends: NDArray[np.int64],
    text: Text,
) -> int:
    """Rows of `values[S, T]` at the times of `openings`; returns how many bytes were written.

    `present[0, T]` stands for: all are there.
    """
    bits = values.view(np.uint64)
    everywhere = len(present) == 0
    at = head = 0
    for row in range(len(values)):
        at = _write_head(text, at, heads, head, head_ends[row])
        head = head_ends[row]
        before = (_0, 0, 0)
        for step in range(values.shape[1]):
            if not (everywhere or present[row, step]):
                continue
            for word in range(_OPENING_WORDS):
                store(text, at + 8 * word, words[step, word])
            at += signed(words[step, _OPENING_WORDS])
            at, before = _write_point(text, at, values[row, step], bits[row, step], before)
        # No comma after the last one.
        at -= 1
    return at


@kernel(
    types.int64,
    types.uint8[::1],
    types.int64,
    reading(types.uint8, 1),
    reading(types.int64, 1),
    reading(types.float64, 1),
    reading(types.int64, 1),
)
def write_held(
    text: Text,
    begin: int,
    head: Text,
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    looks: NDArray[np.int64],
) -> int:
    """One series' row from `text[begin]` on: its head, points and `]},`. Returns where it ends, `begin` where it has no point.

    `looks` are a start, a step, a count, a first look, its stride, a look-back and the bits of a marker: point n is at
    start + n * step and has the last sample in (look - look-back, look], look being first + n * stride, unless that is the marker.
    """
    start_ms, step_ms, count = looks[0], looks[1], looks[2]
    look_ms, stride_ms, lookback_ms, marker = looks[3], looks[4], looks[5], Word(looks[6])
    bits = values.view(np.uint64)
    first = at = _write_head(text, begin, head, 0, len(head))
    sample, before = -1, (_0, 0, 0)
    for step in range(count):
        end_ms = look_ms + step * stride_ms
        while sample + 1 < len(times) and times[sample + 1] <= end_ms:
            sample += 1
        if sample < 0 or times[sample] <= end_ms - lookback_ms or bits[sample] == marker:
            continue
        at = _write_opening(text, at, start_ms + step * step_ms)
        at, before = _write_point(text, at, values[sample], bits[sample], before)
    if at == first:
        return begin
    # In place of the last comma.
    store(text, at - 1, _ROW_END)
    return at + 2


@kernel(
    types.int64,
    reading(types.int64, 1),
    reading(types.float64, 1),
    reading(types.int64, 1),
    reading(types.uint8, 1),
    reading(types.int64, 1),
    types.uint8[::1],
)
def write_samples(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    row_ends: NDArray[np.int64],
    heads: Text,
    head_ends: NDArray[np.int64],
    text: Text,
) -> int:
    """Rows of samples with times of their own, none of them empty; `row_ends` says where each ends."""
    bits = values.view(np.uint64)
    at = head = sample = 0
    for row in range(len(row_ends)):
        at = _write_head(text, at, heads, head, head_ends[row])
        head = head_ends[row]
        while sample < row_ends[row]:
            at = _write_opening(text, at, times[sample])
            at = write_value(text, at, values[sample], bits[sample])
            store(text, at, _CLOSING)
            at += 3
            sample += 1
        at -= 1
    return at
