"""A selection in the order of a block, some series at a time: by metric, then clock, then labels.

Sources keep a clock's series together, blocks a metric's. So a slab of metrics is read at a time, as stacks of clocks,
and its series are told by arrays that say where in the stacks they lie.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.model.stack import SeriesStack
from meterhall.tsdb.label_numbers import LabelNumbers
from meterhall.tsdb.merging import runs
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.series_table import Positions

# How many values are in hand at a time, as float64.
_SLAB_VALUES = 4 << 20
# A series that fills less than half of its clock gets a clock of its own.
_CLOCK_FILL = 2


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """Series with samples, in the block's order.

    Series s is number `rows[s]` of the selection, of a metric. It has `lengths[s]` values at the times
    `clocks[clock_of[s]]`; `samples[s]` of them are not ABSENT. They were read as `cells[s]` cells, of which those of a
    sparse series are more than what is kept of it, from row `lines[s]` of matrix `matrix_of[s]`.
    """

    rows: Positions
    metrics: Positions
    clocks: Sequence[TimestampArray]
    clock_of: Positions
    lengths: Positions
    samples: Positions
    cells: Positions
    matrices: Sequence[ValueArray]
    matrix_of: Positions
    lines: Positions

    def values(self, first: int, end: int) -> Iterator[ValueArray]:
        """The values of neighbours, one series after the other, in one piece or several."""
        for low, high in runs(self.matrix_of[first:end]):
            some = slice(first + low, first + high)
            values = self.matrices[int(self.matrix_of[some.start])][self.lines[some]]
            lengths, cells = self.lengths[some, None], self.cells[some, None]
            if (lengths == values.shape[1]).all():
                yield values.ravel()
            else:
                kept = np.arange(values.shape[1]) < cells
                kept &= (lengths == cells) | (values.view(np.uint64) != ABSENT_BITS)
                yield values[kept]


def slabs(selection: StoredSelection, labels: LabelNumbers) -> Iterator[Slab]:
    """All series with samples. `labels` are those of the selection."""
    metrics = labels.metrics()
    order = _order(metrics, selection.clock_keys(), labels)
    slab_series = max(1, _SLAB_VALUES * len(order) // max(1, selection.samples_max))
    for first in range(0, len(order), slab_series):
        rows = order[first : first + slab_series]
        yield _read(selection, rows, metrics[rows])


def _order(metrics: Positions, clocks: Positions, labels: LabelNumbers) -> Positions:
    """Places of all series."""
    order = labels.order()
    return order[np.lexsort((clocks[order], metrics[order]))]


def _read(selection: StoredSelection, rows: Positions, metrics: Positions) -> Slab:
    """Those of the series that have a sample."""
    place_of = np.empty(len(selection.labels), np.int64)
    place_of[rows] = np.arange(len(rows))
    clocks: list[TimestampArray] = []
    matrices: list[ValueArray] = []
    # Where nothing is read of a series, it has no samples.
    clock_of, samples, cells, matrix_of, lines = numbers = np.zeros((5, len(rows)), np.int64)
    for stack in selection.some(rows):
        here = place_of[stack.rows]
        clock_of[here] = len(clocks) + stack.clock_of
        cells[here] = stack.lengths[stack.clock_of]
        samples[here] = _samples(stack)
        matrix_of[here] = len(matrices)
        lines[here] = np.arange(len(here))
        clocks += [times[:length] for times, length in zip(stack.times, stack.lengths, strict=True)]
        matrices.append(stack.values)
    found = np.flatnonzero(samples)
    clock_of, samples, cells, matrix_of, lines = numbers[:, found]
    lengths = cells.copy()
    for sparse in np.flatnonzero(samples * _CLOCK_FILL < cells).tolist():
        times = clocks[clock_of[sparse]]
        values = matrices[matrix_of[sparse]][lines[sparse], : len(times)]
        clock_of[sparse] = len(clocks)
        clocks.append(times[values.view(np.uint64) != ABSENT_BITS])
        lengths[sparse] = samples[sparse]
    return Slab(
        rows[found],
        metrics[found],
        clocks,
        clock_of,
        lengths,
        samples,
        cells,
        matrices,
        matrix_of,
        lines,
    )


def _samples(stack: SeriesStack) -> Positions:
    """How many cells of each series hold a sample."""
    lengths = stack.lengths[stack.clock_of]
    if stack.full:
        return lengths
    absent = (stack.values.view(np.uint64) == ABSENT_BITS).sum(axis=1)
    return np.asarray(lengths - absent, np.int64)
