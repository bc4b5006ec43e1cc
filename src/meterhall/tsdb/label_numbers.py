"""Label sets as numbers, so that they are sorted and indexed by array operations.

Pairs are numbered in their own order. So label sets compare as their numbers do, place by place, a prefix first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import METRIC_NAME, Labels
from meterhall.model.ordering import in_order
from meterhall.tsdb.series_table import Positions, spread

# From so many on it pays to tell objects apart before their values.
_MANY = 500

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class LabelNumbers:
    """Label set s is `widths[s]` pairs, of which `flat` has the numbers, one label set after the other; every pair is in use."""

    pairs: Sequence[Pair]
    widths: Positions
    flat: NDArray[np.int32]

    @classmethod
    def of(cls, runs: Iterable[Sequence[Labels]]) -> Self:
        """Numbers label sets, some of them at a time; each is sorted."""
        known: dict[Pair, int] = {}
        parts, sizes = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for run in runs:
            parts.append(_appearing(known, [*chain.from_iterable(run)]))
            sizes.append(np.fromiter(map(len, run), np.int64, len(run)))
        pairs = in_order(known)
        number_of = np.empty(len(pairs), np.int32)
        number_of[[known[pair] for pair in pairs]] = np.arange(len(pairs))
        return cls(pairs, np.concatenate(sizes), number_of[np.concatenate(parts)])

    def some(self, places: Positions) -> "LabelNumbers":
        """Some of the label sets, each once, in that order."""
        widths = self.widths[places]
        flat = self.flat[spread(self._begins()[places], widths)]
        if len(places) == len(self.widths):
            return LabelNumbers(self.pairs, widths, flat)
        used = np.bincount(flat, minlength=len(self.pairs)) > 0
        number_of = np.cumsum(used, dtype=np.int32) - 1
        pairs = [self.pairs[number] for number in np.flatnonzero(used).tolist()]
        return LabelNumbers(pairs, widths, number_of[flat])

    def metrics(self) -> Positions:
        """The pair with the metric's name, of each label set; -1 where it has none."""
        first = bisect_left(self.pairs, METRIC_NAME, key=itemgetter(0))
        end = bisect_right(self.pairs, METRIC_NAME, key=itemgetter(0))
        named = (self.flat >= first) & (self.flat < end)
        metrics = np.full(len(self.widths), -1)
        metrics[np.repeat(np.arange(len(self.widths)), self.widths)[named]] = self.flat[named]
        return metrics

    def order(self) -> Positions:
        """The places of the label sets, sorted: by their last pairs first, and by their first ones last."""
        begins = self._begins()
        order = np.arange(len(self.widths))
        for column in range(int(self.widths.max(initial=0)) - 1, -1, -1):
            pairs = self.flat.take(begins + column, mode="clip")
            key = np.where(self.widths > column, pairs, -1)
            order = order[key[order].argsort(kind="stable")]
        return order

    def _begins(self) -> Positions:
        return self.widths.cumsum() - self.widths


def _appearing(known: dict[Pair, int], pairs: Sequence[Pair]) -> NDArray[np.int32]:
    """Numbers in order of appearance. Series mostly share the very objects; of many, each is hashed once."""
    if len(pairs) < _MANY:
        return np.array([known.setdefault(pair, len(known)) for pair in pairs], np.int32)
    objects = np.fromiter(map(id, pairs), np.int64, len(pairs))
    _, first, which = np.unique(objects, return_index=True, return_inverse=True)
    numbers = [known.setdefault(pairs[place], len(known)) for place in first.tolist()]
    return np.array(numbers, np.int32)[which]
