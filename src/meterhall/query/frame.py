"""The currency of evaluation: a step grid, and vectors over it as matrices series by steps.

Presence is apart from the value, because a NaN that an exporter sent is a result. `present` None says
that every cell holds a value; it is the common case and costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meterhall.model.errors import QueryError
from meterhall.model.labels import METRIC_NAME, Labels
from meterhall.model.samples import TimestampArray, ValueArray

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.int64]

SAME_LABELSET = "vector cannot contain metrics with the same labelset"

# The labels that describe a metric rather than a series (schema.IsMetadataLabel): an operation that
# makes a new metric drops them all.
_METADATA = frozenset((METRIC_NAME, "__type__", "__unit__"))


@dataclass(frozen=True, slots=True)
class Steps:
    """Evaluation times: `count` of them, `step_ms` apart, from `start_ms`."""

    start_ms: int
    step_ms: int
    count: int

    @property
    def end_ms(self) -> int:
        """The last evaluation time."""
        return self.start_ms + (self.count - 1) * self.step_ms

    def times(self) -> TimestampArray:
        """All evaluation times, int64[count]."""
        end_ms = self.start_ms + self.count * self.step_ms
        return np.arange(self.start_ms, end_ms, self.step_ms, dtype=np.int64)

    def seconds(self) -> ValueArray:
        """All evaluation times as time() gives them."""
        return self.times() / 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An instant vector over a grid: `values[S, T]`, `present[S, T]` or None where all are there.

    Arrays may be shared or broadcast: never write into them.
    """

    labels: Sequence[Labels]
    values: ValueArray
    present: BoolArray | None

    @property
    def cells(self) -> int:
        """How many samples it holds."""
        return self.values.size if self.present is None else int(np.count_nonzero(self.present))

    def mask(self) -> BoolArray:
        """Presence as a full matrix."""
        if self.present is None:
            return np.broadcast_to(np.True_, self.values.shape)
        return self.present

    def rows(self, index: IndexArray) -> "Frame":
        """Some series, in the order of `index`."""
        present = None if self.present is None else self.present[index]
        return Frame([self.labels[i] for i in index.tolist()], self.values[index], present)

    def masked(self, keep: BoolArray) -> "Frame":
        """The same series with points only where `keep` holds too."""
        present = keep if self.present is None else self.present & keep
        return Frame(self.labels, self.values, present)


Scalar = ValueArray
Value = Frame | ValueArray | str


def empty_frame(steps: int) -> Frame:
    """A vector without series."""
    return Frame([], np.empty((0, steps)), None)


def compact(frame: Frame) -> Frame:
    """The frame without the series that have no point, and without a mask that says nothing."""
    if frame.present is None:
        return frame
    if frame.cells == frame.values.size:
        return Frame(frame.labels, frame.values, None)
    kept = frame.present.any(axis=1)
    return frame if kept.all() else frame.rows(np.flatnonzero(kept))


def drop_metric(labels: Labels) -> Labels:
    """`labels` without name, type and unit."""
    if labels and labels[0][0] == METRIC_NAME and (len(labels) == 1 or labels[1][0] > "__unit__"):
        return labels[1:]
    return tuple([pair for pair in labels if pair[0] not in _METADATA])


def unnamed(frame: Frame) -> Frame:
    """The frame under labels without metric names; its label sets may collide."""
    return Frame([drop_metric(labels) for labels in frame.labels], frame.values, frame.present)


def has_duplicates(labels: Sequence[Labels]) -> bool:
    """Whether a label set occurs twice."""
    return len(set(labels)) != len(labels)


def merged(frame: Frame) -> Frame:
    """Series of equal labels made one. Raises QueryError where two have a point at the same step."""
    if not has_duplicates(frame.labels):
        return frame
    ids: dict[Labels, int] = {}
    target = np.fromiter(
        (ids.setdefault(labels, len(ids)) for labels in frame.labels), np.int64, len(frame.labels)
    )
    steps = frame.values.shape[1]
    values = np.empty((len(ids), steps))
    present = np.zeros((len(ids), steps), np.bool_)
    for row, (into, here) in enumerate(zip(target.tolist(), frame.mask(), strict=True)):
        if (present[into] & here).any():
            raise QueryError(SAME_LABELSET)
        np.copyto(values[into], frame.values[row], where=here)
        present[into] |= here
    return Frame(list(ids), values, present)
