"""Rows of points to JSON, `[1795445635.413,"1.5"],[…`, each row after the text that goes before it, its head.

Two ways write the same bytes. The plain one lets orjson spell all values of a block in one call, cuts that text at its
commas and joins it with a template of timestamps that all rows share; the interpreter's lock is held for the whole
block. Kernels (`compiled.points`) write a block byte by byte without the lock, in a sixth of the time.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from meterhall.compiled.loading import LOADER
from meterhall.model.samples import STALE_BITS, TimestampArray, ValueArray
from meterhall.query.result import HeldRange
from meterhall.web.spelling import spell_seconds, spell_values

Heads = Sequence[bytes]
# `present[S, T]`, or None where every point is there.
Present = NDArray[np.bool_] | None
# A head, and the times and values of its row.
Row = tuple[bytes, TimestampArray, ValueArray]

# Fewer are written before a kernel's arguments are made.
_KERNEL_POINTS_MIN = 64
# So many take the plain way some milliseconds; a service that is never asked for as many does not load kernels.
_WORTH_LOADING_POINTS = 20_000
# So few times are spelled sooner one by one.
_FEW = 4


class Points(Protocol):
    """One answer's way of writing points."""

    def grid(self, times: TimestampArray) -> Callable[[Heads, ValueArray, Present], bytes]:
        """A writer of rows that have their points at these times: heads, `values[S, T]`, present."""
        ...

    def samples(self, rows: Sequence[Row]) -> bytes:
        """Rows with times of their own; none is empty."""
        ...


def held_rows(heads: Heads, held: HeldRange) -> bytes | None:
    """The rows of a range, each its head, its points and `]},`; None where there is no kernel for it.

    Series without a point are left out.
    """
    kernels = LOADER.kernels("points")
    if kernels is None:
        return None
    room = held.count * kernels.POINT_ROOM + kernels.SPARE_ROOM
    text = np.empty(sum(map(len, heads)) + len(heads) * room, np.uint8)
    looks = np.array(
        [
            held.start_ms,
            held.step_ms,
            held.count,
            held.look_ms,
            held.stride_ms,
            held.lookback_ms,
            STALE_BITS,
        ],
        np.int64,
    )
    end = 0
    for head, (_, times, values) in zip(heads, held.series, strict=True):
        arrays = np.ascontiguousarray(times), np.ascontiguousarray(values)
        own = np.frombuffer(head, np.uint8)
        end = kernels.write_held(text, end, own, *arrays, looks)
    return text[:end].tobytes()


def points_for(count: int) -> Points:
    """The fastest way there is for an answer of so many points."""
    if count < _KERNEL_POINTS_MIN:
        return PlainPoints()
    kernels = LOADER.kernels("points", worth_loading=count >= _WORTH_LOADING_POINTS)
    return PlainPoints() if kernels is None else CompiledPoints(kernels)


class CompiledPoints:
    """By the kernels of `compiled.points`."""

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels
        self._text = np.empty(0, np.uint8)

    def grid(self, times: TimestampArray) -> Callable[[Heads, ValueArray, Present], bytes]:
        """See Points."""
        words = np.empty((len(times), 4), np.uint64)
        self._kernels.openings(
            np.ascontiguousarray(times, np.int64),
            words,
            np.empty(self._kernels.POINT_ROOM, np.uint8),
        )
        everywhere = np.empty((0, len(times)), np.bool_)

        def write(heads: Heads, values: ValueArray, present: Present) -> bytes:
            text, ends = _joined(heads)
            return self._written(
                self._kernels.write_grid,
                (
                    np.ascontiguousarray(values),
                    everywhere if present is None else np.ascontiguousarray(present),
                    words,
                ),
                (text, ends),
                values.size,
            )

        return write

    def samples(self, rows: Sequence[Row]) -> bytes:
        """See Points."""
        times = np.concatenate([times for _, times, _ in rows])
        return self._written(
            self._kernels.write_samples,
            (
                times,
                np.concatenate([values for _, _, values in rows]),
                np.cumsum([len(times) for _, times, _ in rows]),
            ),
            _joined([head for head, _, _ in rows]),
            len(times),
        )

    def _written(
        self,
        kernel: Callable[..., int],
        arrays: tuple[NDArray[Any], ...],
        heads: tuple[NDArray[np.uint8], NDArray[np.int64]],
        points: int,
    ) -> bytes:
        room = points * self._kernels.POINT_ROOM + len(heads[0]) + self._kernels.SPARE_ROOM
        if len(self._text) < room:
            self._text = np.empty(room, np.uint8)
        return self._text[: kernel(*arrays, *heads, self._text)].tobytes()


def _joined(heads: Heads) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    ends = np.fromiter(itertools.accumulate(map(len, heads)), np.int64, len(heads))
    return np.frombuffer(b"".join(heads), np.uint8), ends


class PlainPoints:
    """By orjson."""

    def grid(self, times: TimestampArray) -> Callable[[Heads, ValueArray, Present], bytes]:
        """See Points."""
        between = _separators(times)

        def write(heads: Heads, values: ValueArray, present: Present) -> bytes:
            if present is None or present.all():
                whose: Iterable[list[bytes]] = [between] * len(heads)
                return _interleaved(heads, whose, spell_values(values.ravel()))
            whose = _present_separators(present, between)
            return _interleaved(heads, whose, spell_values(values[present]))

        return write

    def samples(self, rows: Sequence[Row]) -> bytes:
        """See Points."""
        return b"".join(
            _interleaved([head], [_separators(times)], spell_values(values))
            for head, times, values in rows
        )


def _separators(times: TimestampArray) -> list[bytes]:
    """What stands before each value: the end of the point before it, and its own time."""
    if len(times) <= _FEW or times[0] < 0:
        return [b'"],[%s,"' % spell_seconds(time) for time in times.tolist()]
    seconds, rest = np.divmod(times, 1000)
    if (rest == rest[0]).all():
        decimals = b".%03d" % rest[0] if rest[0] else b""
        text = orjson.dumps(seconds, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        spelled = text.replace(b",", decimals + b',"\n"],[').split(b"\n")
        spelled[0] = b'"],[' + spelled[0]
        spelled[-1] += decimals + b',"'
        return spelled
    return [b'"],[%s,"' % spell_seconds(time) for time in times.tolist()]


_POINT_END = b'"]'
# How long the end of the point before is, which a row's first separator goes without.
_BETWEEN_POINTS = len(b'"],')


def _interleaved(heads: Heads, whose: Iterable[list[bytes]], spelled: list[bytes]) -> bytes:
    """Some rows, joined in one go: separators and values take turns, heads are parts of separators."""
    separators: list[bytes] = []
    end = b""
    for head, mine in zip(heads, whose, strict=True):
        start = len(separators)
        separators += mine
        separators[start] = end + head + mine[0][_BETWEEN_POINTS:]
        end = _POINT_END
    parts = [b""] * (2 * len(spelled))
    parts[0::2] = separators
    parts[1::2] = spelled
    parts.append(end)
    return b"".join(parts)


def _present_separators(present: NDArray[np.bool_], between: list[bytes]) -> Iterator[list[bytes]]:
    """For each row the separators of the steps at which it has a point; it has at least one."""
    first = present.argmax(axis=1)
    end = present.shape[1] - present[:, ::-1].argmax(axis=1)
    unbroken = np.count_nonzero(present, axis=1) == end - first
    edges = zip(first.tolist(), end.tolist(), unbroken.tolist(), strict=True)
    for row, (begin, stop, whole) in enumerate(edges):
        if whole:
            yield between[begin:stop]
        else:
            yield [between[step] for step in np.flatnonzero(present[row]).tolist()]
