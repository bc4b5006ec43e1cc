"""The page codec: values of several series as one compressed piece, for blocks and checkpoints.

Drawn in docs/formats/page.md. Each series has a class: constant (one number), integral (all values
survive int64) or general. Integral and general values are two pcodec streams, series after series.
Markers of staleness, absent cells and NaNs are kept as positions: one of them inside the values
would double the page (measured). In the streams their place is taken by the value before them. Bits survive
exactly.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, DeltaSpec, standalone

from meterhall.model.samples import ABSENT_BITS, NAN_BITS, STALE_BITS, ValueArray
from meterhall.tsdb.series_table import edges

PAGE_VALUES_MAX = 65_536

# Neighbours in a group are of many metrics: 500 series by 120 rows of node_exporter take 0.92 bytes a value in pages of
# as many, 1.27 in one page; ever smaller ones only cost more time.
_MATRIX_PAGE_VALUES = 4096

_HEADER = struct.Struct("<7I")
_CONSTANT, _INTEGRAL, _GENERAL = 0, 1, 2
# Kinds of cells that are kept as positions, in the order of their streams.
_SPECIALS = (STALE_BITS, ABSENT_BITS, NAN_BITS)
# Level 4 takes 0.69 bytes a sample in the benchmark's blocks, 6 takes 0.65, 8 takes 0.64 and 10 still that. Reading costs the
# same at all of them; writing 36, 36, 42 and 56 ns a sample.
_CONFIG = ChunkConfig(compression_level=8, delta_spec=DeltaSpec.try_consecutive(1))

Lengths = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Classed:
    """Series whose classes are known, to be cut into pages: series s is `flat[bounds[s] : bounds[s + 1]]`.

    `specials` says where they were, kind by kind, if there were any; in `flat` they have been replaced. `whole` is it as int64.
    """

    bounds: Lengths
    classes: NDArray[np.uint8]
    flat: ValueArray
    whole: NDArray[np.int64]
    specials: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, flat: ValueArray, lengths: Lengths) -> Self:
        bits = flat.view(np.uint64)
        specials: list[NDArray[np.int64]] = []
        # All three specials are NaNs, and most pages hold none: look closer only where there is one.
        if np.isnan(flat).any():
            specials = [np.flatnonzero(bits == special) for special in _SPECIALS]
            flat = _filled(flat, lengths, specials)
            bits = flat.view(np.uint64)
        bounds = edges(lengths)
        starts = bounds[:-1]
        unchanged = np.empty(len(flat), np.bool_)
        np.equal(bits[1:], bits[:-1], out=unchanged[1:])
        unchanged[starts] = True
        with np.errstate(invalid="ignore"):
            whole = flat.astype(np.int64)
        integral = np.logical_and.reduceat(whole.astype(np.float64).view(np.uint64) == bits, starts)
        classes = np.where(integral, _INTEGRAL, _GENERAL).astype(np.uint8)
        classes[np.logical_and.reduceat(unchanged, starts)] = _CONSTANT
        return cls(bounds, classes, flat, whole, specials)

    def page(self, first: int, end: int) -> bytes:
        """The page of some neighbours."""
        bounds, classes = self.bounds[first : end + 1], self.classes[first:end]
        begin, stop = int(bounds[0]), int(bounds[-1])
        inside = [where[(where >= begin) & (where < stop)] for where in self.specials]
        streams = [_numbers((where - begin).astype(np.uint32)) for where in inside]
        streams = streams or [b""] * len(_SPECIALS)
        for kind, values in ((_INTEGRAL, self.whole), (_GENERAL, self.flat)):
            chosen = classes == kind
            stream = values[begin:stop] if chosen.any() else values[:0]
            if len(stream) and not chosen.all():
                stream = stream[np.repeat(chosen, np.diff(bounds))]
            streams.append(_numbers(stream))
        return b"".join(
            (
                _HEADER.pack(len(classes), stop - begin, *map(len, streams)),
                classes.tobytes(),
                self.flat[bounds[:-1][classes == _CONSTANT]].tobytes(),
                *streams,
            )
        )


def encode_page(flat: ValueArray, lengths: Lengths) -> bytes:
    """`flat` holds the series one after the other; `lengths` (each > 0) says where they end."""
    return _Classed.of(flat, lengths).page(0, len(lengths))


def decode_page(page: bytes | memoryview, lengths: Lengths) -> ValueArray:
    """The same flat array again; raises ValueError where the page does not fit `lengths`."""
    count, total, *sizes = _HEADER.unpack_from(page)
    if count != len(lengths) or total != int(lengths.sum()):
        raise ValueError(f"page of {count} series, {total} values; {len(lengths)} series expected")
    position = _HEADER.size
    classes = np.frombuffer(page, np.uint8, count, position)
    position += count
    constants = np.frombuffer(page[position:], "<f8", int((classes == _CONSTANT).sum()))
    position += constants.nbytes
    streams: list[bytes] = []
    for size in sizes:
        streams.append(bytes(page[position : position + size]))
        position += size
    flat = _spread(classes, lengths, constants, streams[-2:])
    bits = flat.view(np.uint64)
    for special, stream in zip(_SPECIALS, streams, strict=False):
        if stream:
            bits[standalone.simple_decompress(stream)] = special
    return flat


def encode_matrix(matrix: ValueArray) -> list[bytes]:
    """A matrix, series by times, as pages of a few series each."""
    times = matrix.shape[1]
    count = max(1, _MATRIX_PAGE_VALUES // times)
    pages: list[bytes] = []
    # Many pages' classes are found together: a call of NumPy's for each page costs more than what it does.
    strip = count * (PAGE_VALUES_MAX // _MATRIX_PAGE_VALUES)
    for part in (matrix[first : first + strip] for first in range(0, len(matrix), strip)):
        classed = _Classed.of(part.ravel(), np.full(len(part), times, np.int64))
        firsts = range(0, len(part), count)
        pages += [classed.page(first, min(first + count, len(part))) for first in firsts]
    return pages


def decode_matrix(pages: Sequence[bytes | memoryview], series: int, times: int) -> ValueArray:
    """The matrix again; raises ValueError where the pages do not make one of that size."""
    matrix = np.empty((series, times), np.float64)
    first = 0
    for page in pages:
        count, *_ = _HEADER.unpack_from(page)
        lengths = np.full(count, times, np.int64)
        matrix[first : first + count] = decode_page(page, lengths).reshape(-1, times)
        first += count
    if first != series:
        raise ValueError(f"pages of {first} series, {series} expected")
    return matrix


def _spread(
    classes: NDArray[np.uint8], lengths: Lengths, constants: ValueArray, streams: list[bytes]
) -> ValueArray:
    """Values of all classes, each in its place."""
    integral, general = streams
    if len(constants) == 0 and not integral:
        return np.asarray(standalone.simple_decompress(general), np.float64)
    if len(constants) == 0 and not general:
        return np.asarray(standalone.simple_decompress(integral), np.float64)
    flat = np.empty(int(lengths.sum()), np.float64)
    if (lengths == lengths[0]).all():
        lines = flat.reshape(len(lengths), -1)
        lines[classes == _CONSTANT] = constants[:, None]
        for kind, stream in ((_INTEGRAL, integral), (_GENERAL, general)):
            if stream:
                numbers = standalone.simple_decompress(stream)
                lines[classes == kind] = numbers.reshape(-1, lines.shape[1])
        return flat
    spread = np.repeat(classes, lengths)
    flat[spread == _CONSTANT] = np.repeat(constants, lengths[classes == _CONSTANT])
    if integral:
        flat[spread == _INTEGRAL] = standalone.simple_decompress(integral)
    if general:
        flat[spread == _GENERAL] = standalone.simple_decompress(general)
    return flat


def _numbers(values: NDArray[np.generic]) -> bytes:
    if len(values) == 0:
        return b""
    return bytes(standalone.simple_compress(np.ascontiguousarray(values), _CONFIG))


def _filled(flat: ValueArray, lengths: Lengths, positions: list[NDArray[np.int64]]) -> ValueArray:
    """Special cells replaced by the value before them in their series, else by the first after."""
    valid = np.ones(len(flat), np.bool_)
    for where in positions:
        valid[where] = False
    ends = np.cumsum(lengths)
    starts = ends - lengths
    index = np.where(valid, np.arange(len(flat)), -1)
    np.maximum.accumulate(index, out=index)
    # A cell that found only an earlier series' value takes the first value of its own.
    after = np.where(valid, np.arange(len(flat)), len(flat))
    after = np.minimum.accumulate(after[::-1])[::-1]
    own = np.repeat(starts, lengths)
    index = np.where(index < own, after, index)
    empty = index >= np.repeat(ends, lengths)
    index[empty] = 0
    filled = flat[index]
    filled[empty] = 0.0
    return filled


def encode_numbers(values: NDArray[np.int64] | NDArray[np.uint32]) -> bytes:
    """Whole numbers, compressed: clocks and the index's columns. Empty for none."""
    return _numbers(values)


def decode_numbers(data: bytes | memoryview, count: int) -> NDArray[np.int64]:
    """`count` whole numbers again; raises ValueError where there are not as many."""
    if count == 0:
        return np.empty(0, np.int64)
    values = np.asarray(standalone.simple_decompress(bytes(data)), np.int64)
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers, want {count}")
    return values
