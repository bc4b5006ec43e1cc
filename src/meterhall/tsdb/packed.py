"""A matrix in memory, each series in as few bytes as can be read again at once.

Rows that leave a group's raw matrix wait here, to be read by queries and written to a block some minutes later. So
packing and reading must cost next to nothing; to find the last byte is what `pages` are for.

    kind        what is kept of a series
    CONSTANT    its one value
    1, 2, 3     whole numbers: the least of them, and how far above it each is, in one, two or four bytes;
                the two highest codes are STALE and ABSENT
    PLAIN       the values as they are

Bits survive exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, ABSENT_BITS, STALE, STALE_BITS, ValueArray

_CONSTANT, _PLAIN = 0, 4
_CODES = {1: np.uint8, 2: np.uint16, 3: np.uint32}
# The highest code of each kind is ABSENT, the one below it STALE.
_ABSENT_CODE = {1: 2**8 - 1, 2: 2**16 - 1, 3: 2**32 - 1}
# How far a series' values may lie apart for a kind.
_SPANS = np.array([absent - 2 for absent in _ABSENT_CODE.values()], np.float64)
# So many series are packed at a time, which bounds what that takes beside the matrix.
_SLAB_SERIES = 1024

Codes = NDArray[np.uint8 | np.uint16 | np.uint32 | np.float64]
Series = slice | NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Series s is line `lines[s]` of `codes[kinds[s]]`, above `bases[s]`; a constant one has no line.

    `holed` are the kinds of codes that hold STALE or ABSENT.
    """

    rows: int
    kinds: NDArray[np.uint8]
    bases: ValueArray
    lines: NDArray[np.int32]
    codes: Mapping[int, Codes]
    holed: frozenset[int]

    @classmethod
    def of(cls, matrix: ValueArray) -> Self:
        """Packs a matrix, series by times, of whatever layout in memory."""
        slabs = [
            _pack(matrix[first : first + _SLAB_SERIES])
            for first in range(0, len(matrix), _SLAB_SERIES)
        ]
        kinds = np.concatenate([slab.kinds for slab in slabs] or [np.empty(0, np.uint8)])
        bases = np.concatenate([slab.bases for slab in slabs] or [np.empty(0)])
        lines = np.zeros(len(kinds), np.int32)
        codes: dict[int, Codes] = {}
        for kind in (*_CODES, _PLAIN):
            here = np.flatnonzero(kinds == kind)
            if len(here):
                lines[here] = np.arange(len(here))
                codes[kind] = np.concatenate(
                    [slab.codes[kind] for slab in slabs if kind in slab.codes]
                )
        holed = frozenset(kind for slab in slabs for kind in slab.holed)
        return cls(matrix.shape[1], kinds, bases, lines, codes, holed)

    def read(self, series: Series) -> ValueArray:
        """Some of the series again, series by times; the caller's to keep."""
        kinds, lines, bases = self.kinds[series], self.lines[series], self.bases[series, None]
        values = np.empty((len(kinds), self.rows))
        values[:] = bases
        for kind, codes in self.codes.items():
            here = np.flatnonzero(kinds == kind)
            if len(here) == 0:
                continue
            found = codes[lines[here]]
            if kind == _PLAIN:
                values[here] = found
                continue
            # Exact: the sum is a double, so rounding has nothing to do.
            sums = found + bases[here]
            if kind in self.holed:
                sums[found == _ABSENT_CODE[kind]] = ABSENT
                sums[found == _ABSENT_CODE[kind] - 1] = STALE
            values[here] = sums
        return values


@dataclass(frozen=True, slots=True)
class _Slab:
    """Some neighbouring series, packed."""

    kinds: NDArray[np.uint8]
    bases: ValueArray
    codes: Mapping[int, Codes]
    holed: frozenset[int]


def _pack(matrix: ValueArray) -> _Slab:
    bits = matrix.view(np.uint64)
    kinds = np.zeros(len(matrix), np.uint8)
    bases = matrix[:, 0].copy()
    varied = np.flatnonzero((bits != bits[:, :1]).any(axis=1))
    cells = matrix[varied]
    holes = _holes(cells)
    # Casts of NaNs and infinities mean nothing here; such cells are told by their bits.
    with np.errstate(invalid="ignore", over="ignore"):
        kinds[varied], bases[varied] = _kinds_and_least(cells, holes)
        codes = {
            kind: _coded(kind, matrix[here], bases[here])
            for kind in (*_CODES, _PLAIN)
            if len(here := np.flatnonzero(kinds == kind))
        }
    holed: set[int] = set() if holes is None else set(kinds[varied][holes.any(axis=1)].tolist())
    return _Slab(kinds, bases, codes, frozenset(holed))


def _holes(cells: ValueArray) -> NDArray[np.bool_] | None:
    """Which cells are STALE or ABSENT; None where none is."""
    if not np.isnan(cells).any():
        return None
    bits = cells.view(np.uint64)
    holes: NDArray[np.bool_] = (bits == STALE_BITS) | (bits == ABSENT_BITS)
    return holes


def _kinds_and_least(
    cells: ValueArray, holes: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], ValueArray]:
    """Of each series its kind and its least value, holes apart."""
    whole = cells.astype(np.int64).astype(np.float64).view(np.uint64) == cells.view(np.uint64)
    if holes is None:
        least, most = cells.min(axis=1), cells.max(axis=1)
    else:
        # Not `fmin`: for it a signalling NaN, which STALE is, hides what came before.
        least = np.where(holes, np.inf, cells).min(axis=1)
        most = np.where(holes, -np.inf, cells).max(axis=1)
        whole |= holes
    # What is no number lies apart by NaN, which is beyond all spans.
    kinds = np.searchsorted(_SPANS, most - least) + 1
    kinds[~whole.all(axis=1)] = _PLAIN
    return kinds, least


def _coded(kind: int, cells: ValueArray, bases: ValueArray) -> Codes:
    if kind == _PLAIN:
        return np.ascontiguousarray(cells)
    codes: Codes = np.ascontiguousarray((cells - bases[:, None]).astype(_CODES[kind]))
    bits = cells.view(np.uint64)
    codes[bits == ABSENT_BITS] = _ABSENT_CODE[kind]
    codes[bits == STALE_BITS] = _ABSENT_CODE[kind] - 1
    return codes
