"""Pieces of one clock's samples from several places, merged into one matrix.

Pure array work. A piece is times (strictly ascending) and values (series by times, ABSENT where there is
no sample); all pieces have the same series in the same order.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import (
    ABSENT,
    ABSENT_BITS,
    STALE_BITS,
    TimestampArray,
    ValueArray,
)

Piece = tuple[TimestampArray, ValueArray]


def merge(pieces: Sequence[Piece], width: int) -> Piece:
    """One piece with all samples of `width` series.

    Where pieces overlap, a sample that two of them hold is kept once (the later piece's), and an
    absent cell never hides a sample.
    """
    pieces = [piece for piece in pieces if len(piece[0])]
    if not pieces:
        return np.empty(0, np.int64), np.empty((width, 0), np.float64)
    if len(pieces) == 1:
        return pieces[0]
    pieces.sort(key=lambda piece: int(piece[0][0]))
    if all(before[0][-1] < after[0][0] for before, after in pairwise(pieces)):
        times = np.concatenate([piece[0] for piece in pieces])
        return times, np.concatenate([piece[1] for piece in pieces], axis=1)
    times = np.unique(np.concatenate([piece[0] for piece in pieces]))
    values = np.full((width, len(times)), ABSENT)
    for piece_times, piece_values in pieces:
        columns = np.searchsorted(times, piece_times)
        present = piece_values.view(np.uint64) != ABSENT_BITS
        values[:, columns] = np.where(present, piece_values, values[:, columns])
    return times, values


def clip(piece: Piece, start_ms: int, end_ms: int) -> Piece:
    """The part of a piece inside a range, both ends included. A view."""
    times, values = piece
    if len(times) and times[0] >= start_ms and times[-1] <= end_ms:
        return piece
    first = int(np.searchsorted(times, start_ms, "left"))
    last = int(np.searchsorted(times, end_ms, "right"))
    return times[first:last], values[:, first:last]


def drop_empty_times(piece: Piece) -> Piece:
    """The piece without the times at which no series has a sample."""
    times, values = piece
    used = (values.view(np.uint64) != ABSENT_BITS).any(axis=0)
    return piece if used.all() else (times[used], values[:, used])


def is_full(values: ValueArray) -> bool:
    """Whether no cell is absent or a staleness marker."""
    # Both are NaNs: a matrix without any is full, and that test is cheap.
    if not np.isnan(values).any():
        return True
    bits = np.ascontiguousarray(values).view(np.uint64)
    return not bool(((bits == ABSENT_BITS) | (bits == STALE_BITS)).any())


def runs(keys: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of equal neighbours."""
    if len(keys):
        starts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        yield from pairwise([0, *starts.tolist(), len(keys)])
