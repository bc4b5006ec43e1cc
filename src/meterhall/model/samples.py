"""Samples as columns: times int64 milliseconds, values float64, and the two special NaNs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TimestampArray = NDArray[np.int64]
ValueArray = NDArray[np.float64]
RefArray = NDArray[np.int64]

# Prometheus' staleness marker and its one ordinary NaN (model/value in prometheus/prometheus).
# Compare bits, never isnan: a NaN that an exporter sent is a value, a marker is the end of a series.
STALE_BITS = 0x7FF0000000000002
NAN_BITS = 0x7FF8000000000001
# What `SampleWriter.intern` gives a series that the project has no room for.
REFUSED = -1
# A cell of a group's matrix that no sample ever filled. It never leaves the reader and the evaluator.
ABSENT_BITS = 0x7FF0000000000003

STALE = float(np.array([STALE_BITS], np.uint64).view(np.float64)[0])
ABSENT = float(np.array([ABSENT_BITS], np.uint64).view(np.float64)[0])
NAN = float(np.array([NAN_BITS], np.uint64).view(np.float64)[0])


def is_stale(values: ValueArray) -> NDArray[np.bool_]:
    """Where the array holds staleness markers."""
    return np.equal(values.view(np.uint64), STALE_BITS)


def is_absent(values: ValueArray) -> NDArray[np.bool_]:
    """Where the array holds no sample."""
    return np.equal(values.view(np.uint64), ABSENT_BITS)


@dataclass(frozen=True, slots=True, eq=False)
class SeriesGroup:
    """Series that share one clock, as a matrix; a series on its own is a group of one.

    `rows[i]` is the index of matrix row i in the Selection's labels. `times` is strictly
    ascending. `values[i, k]` is the sample of that series at `times[k]`: a value, STALE, or ABSENT
    where it has none. `full` promises that no cell is STALE or ABSENT. Arrays are read-only and may
    be views of a mapped file.
    """

    rows: NDArray[np.int64]
    times: TimestampArray
    values: ValueArray
    full: bool


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Samples of one instant. `refs` come from SampleWriter.intern, without repetition."""

    time_ms: int
    refs: RefArray
    values: ValueArray


@dataclass(frozen=True, slots=True)
class Rejection:
    """One sample that was refused; `reason` is Prometheus' text for it."""

    ref: int
    time_ms: int
    value: float
    reason: str


OUT_OF_ORDER = "out of order sample"
OUT_OF_BOUNDS = "out of bounds"
TOO_FAR_AHEAD = "out of bounds: timestamp is too far in the future"


def rows_of(time_ms: int, refs: Sequence[int], values: Sequence[float]) -> Row:
    """A Row from plain sequences, for tests and small callers."""
    return Row(time_ms, np.asarray(refs, np.int64), np.asarray(values, np.float64))
