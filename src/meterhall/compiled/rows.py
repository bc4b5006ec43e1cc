"""Pieces of one array to rows of a matrix. Timestamps and samples are both eight bytes, and copied as such."""

import numpy as np
from numpy.typing import NDArray

from meterhall.compiled.jit import kernel, reading, types

Words = NDArray[np.int64]

_WORDS = reading(types.int64, 1)


@kernel(types.void, types.int64[:, ::1], _WORDS, _WORDS, _WORDS, _WORDS, _WORDS)
def copied(
    out: Words, rows: Words, columns: Words, flat: Words, begins: Words, counts: Words
) -> None:
    """Of each n, `flat[begins[n] : begins[n] + counts[n]]` to row `rows[n]`, from column `columns[n]` on."""
    for number in range(len(rows)):
        row, column, begin = rows[number], columns[number], begins[number]
        for place in range(counts[number]):
            out[row, column + place] = flat[begin + place]
