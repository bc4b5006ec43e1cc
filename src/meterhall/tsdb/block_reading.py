"""Reading many clocks of one block: every page is decoded once, and copied run by run.

In a block a metric's series lie clock by clock, so that what a selection of one metric wants of a page is
most often all of it, or a stretch.
"""

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.tsdb.merging import runs
from meterhall.tsdb.stacking import Numbers


class Pages(Protocol):
    """Where series lie in the pages of a block."""

    def places(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Page, and beginning in its flat array, of each series."""
        ...

    def page(self, page: int) -> ValueArray | None:
        """All values of a page, or None where it is damaged."""
        ...


class BlockReading:
    """Implements `stacking.Reading`: series of several clocks, `numbers[c]` on the clock `clocks[c]`."""

    def __init__(
        self,
        pages: Pages,
        numbers: Sequence[Numbers],
        clocks: Sequence[TimestampArray],
        start_ms: int,
        end_ms: int,
    ) -> None:
        self._pages = pages
        self._numbers = numbers
        begin = [int(times.searchsorted(start_ms, "left")) for times in clocks]
        end = [int(times.searchsorted(end_ms, "right")) for times in clocks]
        self.times: list[TimestampArray] = [
            times[first:last] for times, first, last in zip(clocks, begin, end, strict=True)
        ]
        self._begin = np.array(begin, np.int64)
        self._lengths = np.array([len(times) for times in clocks], np.int64)

    def ends_complete(self, clock: int) -> bool:
        """Not known without decoding."""
        return False

    def drop(self, clock: int) -> None:
        """Leaves a clock's pages alone."""
        self.times[clock] = self.times[clock][:0]

    def write(self, out: ValueArray, bounds: Numbers, first: Numbers) -> None:
        """Page by page, and in a page run by run of series that are cut alike."""
        counts = np.array([len(times) for times in self.times], np.int64)
        used = np.flatnonzero(counts)
        if not len(used):
            return
        sizes = np.diff(bounds)[used]
        clock = np.repeat(used, sizes)
        rows = np.concatenate([np.arange(bounds[each], bounds[each + 1]) for each in used.tolist()])
        numbers = np.concatenate([self._numbers[each] for each in used.tolist()])
        page_of, begins = self._pages.places(numbers)
        cut = np.stack([self._begin, counts, first, self._lengths])[:, clock]
        order = np.argsort(page_of, kind="stable")
        for low, high in runs(page_of[order]):
            chosen = order[low:high]
            flat = self._pages.page(int(page_of[chosen[0]]))
            if flat is not None:
                _copy(out, rows[chosen], flat, begins[chosen], cut[:, chosen])


def _copy(
    out: ValueArray, rows: Numbers, flat: ValueArray, begins: Numbers, cut: np.ndarray
) -> None:
    """Series at `begins` of a page to `rows`; `cut` is begin, count, column and length of each."""
    together = np.diff(rows) == 1
    together &= np.diff(begins) == cut[3, :-1]
    together &= (cut[:, 1:] == cut[:, :-1]).all(axis=0)
    edges = [0, *(np.flatnonzero(~together) + 1).tolist(), len(rows)]
    if len(edges) - 1 > len(rows) // 4 + 1:
        _scatter(out, rows, flat, begins, cut)
        return
    for low, high in itertools.pairwise(edges):
        begin, count, column, length = cut[:, low].tolist()
        size = high - low
        base = int(begins[low])
        lines = flat[base : base + size * length].reshape(size, length)
        row = int(rows[low])
        out[row : row + size, column : column + count] = lines[:, begin : begin + count]


def _scatter(
    out: ValueArray, rows: Numbers, flat: ValueArray, begins: Numbers, cut: np.ndarray
) -> None:
    """Series that do not lie together, all that are equally long at a time."""
    begins = begins + cut[0]
    key = cut[1] * (int(cut[2].max()) + 1) + cut[2]
    for each in np.unique(key).tolist():
        some = np.flatnonzero(key == each)
        count, column = int(cut[1, some[0]]), int(cut[2, some[0]])
        along = np.arange(count)
        out[rows[some][:, None], column + along] = flat[begins[some][:, None] + along]
