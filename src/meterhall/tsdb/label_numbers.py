"""Label sets as numbers, so that they are sorted and indexed by array operations.

Pairs are numbered in their own order. So label sets compare as their numbers do, place by place, a prefix first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import METRIC_NAME, Labels
from meterhall.model.ordering import in_order, runs_of
from meterhall.tsdb.series_table import Positions, edges, spread

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class LabelNumbers:
    """Label set s is the pairs with the numbers `flat[bounds[s] : bounds[s + 1]]`; every pair is in use."""

    pairs: Sequence[Pair]
    bounds: Positions
    flat: NDArray[np.int32]

    @classmethod
    def of(cls, series: Sequence[Labels]) -> Self:
        """Numbers label sets; each of them is sorted."""
        known: dict[Pair, int] = {}
        parts = [_appearing(known, [*chain.from_iterable(run)]) for run in runs_of(series)]
        pairs = in_order(known)
        number_of = np.empty(len(pairs), np.int32)
        number_of[[known[pair] for pair in pairs]] = np.arange(len(pairs))
        flat = number_of[np.concatenate([np.empty(0, np.int32), *parts])]
        return cls(pairs, edges(np.fromiter(map(len, series), np.int64, len(series))), flat)

    @property
    def widths(self) -> Positions:
        """How many pairs each label set has."""
        return np.diff(self.bounds)

    def some(self, places: Positions) -> "LabelNumbers":
        """Some of the label sets, in that order."""
        widths = self.widths[places]
        flat = self.flat[spread(self.bounds[places], widths)]
        used = np.bincount(flat, minlength=len(self.pairs)) > 0
        number_of = np.cumsum(used, dtype=np.int32) - 1
        pairs = [self.pairs[number] for number in np.flatnonzero(used).tolist()]
        return LabelNumbers(pairs, edges(widths), number_of[flat])

    def metrics(self) -> Positions:
        """The pair with the metric's name, of each label set; -1 where it has none."""
        first = bisect_left(self.pairs, METRIC_NAME, key=itemgetter(0))
        end = bisect_right(self.pairs, METRIC_NAME, key=itemgetter(0))
        at = np.flatnonzero((self.flat >= first) & (self.flat < end))
        metrics = np.full(len(self.bounds) - 1, -1)
        metrics[np.searchsorted(self.bounds, at, "right") - 1] = self.flat[at]
        return metrics

    def order(self) -> Positions:
        """The places of the label sets, sorted: by their last pairs first, and by their first ones last."""
        widths = self.widths
        order = np.arange(len(widths))
        for column in range(int(widths.max(initial=0)) - 1, -1, -1):
            has = np.flatnonzero(widths > column)
            key = np.full(len(widths), -1, np.int32)
            key[has] = self.flat[self.bounds[has] + column]
            order = order[np.argsort(key[order], kind="stable")]
        return order


def _appearing(known: dict[Pair, int], pairs: Sequence[Pair]) -> NDArray[np.int32]:
    """Numbers in order of appearance. Series mostly share the very objects, each of which is hashed once."""
    objects = np.fromiter(map(id, pairs), np.int64, len(pairs))
    _, first, which = np.unique(objects, return_index=True, return_inverse=True)
    numbers = [known.setdefault(pairs[place], len(known)) for place in first.tolist()]
    return np.array(numbers, np.int32)[which]
