"""The label sets of a tenant's series in a block, decoded when they are first asked for."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.ordering import runs_of
from meterhall.tsdb.block_format import IndexColumns
from meterhall.tsdb.series_table import edges, spread


class BlockLabels:
    """By the series' numbers. Thread-safe."""

    def __init__(self, index: IndexColumns) -> None:
        self.pairs: list[tuple[str, str]] = [
            (index.symbols[name], index.symbols[value])
            for name, value in zip(index.names.tolist(), index.values.tolist(), strict=True)
        ]
        self.index = index
        # By number. Other blocks may have the same.
        self.known: dict[int, Labels] = {}
        self._ends = np.cumsum(index.widths)

    def one(self, number: int) -> Labels:
        """The label set of a series."""
        labels = self.known.get(number)
        if labels is None:
            end = int(self._ends[number])
            begin = end - int(self.index.widths[number])
            labels = tuple([self.pairs[pair] for pair in self.index.pairs[begin:end].tolist()])
            self.known[number] = labels
        return labels

    def all(self, numbers: Iterable[int]) -> list[Labels]:
        """The label sets of many series."""
        wanted = list(numbers)
        # Another thread may share it away meanwhile.
        known = self.known
        for run in runs_of([number for number in wanted if number not in known]):
            unknown = np.array(run, np.int64)
            widths = self.index.widths[unknown]
            flat = self.index.pairs[spread(self._ends[unknown] - widths, widths)]
            pairs = [self.pairs[pair] for pair in flat.tolist()]
            bounds = pairwise(edges(widths).tolist())
            for number, (begin, end) in zip(run, bounds, strict=True):
                known[number] = tuple(pairs[begin:end])
        return [known[number] for number in wanted]

    def share(self, other: "BlockLabels") -> None:
        """What either decodes is known to both from now on, where series of a number are the same."""
        if _same_series(self.index, other.index):
            self.known = other.known


def _same_series(one: IndexColumns, other: IndexColumns) -> bool:
    columns = [(index.widths, index.pairs, index.names, index.values) for index in (one, other)]
    return all(map(np.array_equal, *columns)) and one.symbols == other.symbols
