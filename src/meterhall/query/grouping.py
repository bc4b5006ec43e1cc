"""Labels by which series come together: `by`/`without` of aggregations, `on`/`ignoring` of operators.

Most frames hold series of one metric, whose label names stand at the same places. Then the pairs
wanted are picked by position for all series at once; otherwise series by series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from meterhall.model.labels import METRIC_NAME, Labels
from meterhall.query.frame import IndexArray


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which labels make the key: the names themselves, or with `without` all others but the name."""

    names: frozenset[str]
    without: bool

    def key(self, labels: Labels) -> Labels:
        """The part of `labels` that identifies the group."""
        if self.without:
            return tuple(
                [pair for pair in labels if pair[0] not in self.names and pair[0] != METRIC_NAME]
            )
        return tuple([pair for pair in labels if pair[0] in self.names])

    def keys(self, series: Sequence[Labels]) -> list[Labels]:
        """The key of each series."""
        if not self.without and not self.names:
            return [()] * len(series)
        picked = None if len(series) < 2 else self._picked(series)
        if picked is not None:
            return picked
        if not self.without and len(self.names) == 1:
            return _keys_by_one(series, *self.names)
        return [self.key(labels) for labels in series]

    def _picked(self, series: Sequence[Labels]) -> list[Labels] | None:
        """Keys by position, or None where the series are not all shaped like the first."""
        first = series[0]
        if self.without:
            # The names of all pairs matter, so only the exact layout of the first is safe.
            layout = tuple([pair[0] for pair in first])
            if any(tuple([pair[0] for pair in labels]) != layout for labels in series):
                return None
        wanted = self.key(first)
        places = [first.index(pair) for pair in wanted]
        if not self.without and (len(places) != len(self.names)):
            return None
        if not places:
            return [()] * len(series)
        try:
            if len(places) == 1:
                only = places[0]
                keys: list[Labels] = [(labels[only],) for labels in series]
            else:
                keys = list(map(itemgetter(*places), series))
        except IndexError:
            return None
        names = tuple([pair[0] for pair in wanted])
        if any(tuple([pair[0] for pair in key]) != names for key in set(keys)):
            return None
        return keys


def _keys_by_one(series: Sequence[Labels], name: str) -> list[Labels]:
    """Keys of one label, looked for first where the series before had it."""
    keys: list[Labels] = []
    place = 0
    for labels in series:
        if place < len(labels) and labels[place][0] == name:
            keys.append((labels[place],))
            continue
        for index, pair in enumerate(labels):
            if pair[0] == name:
                place = index
                keys.append((pair,))
                break
        else:
            keys.append(())
    return keys


def numbered(keys: Sequence[Labels]) -> tuple[IndexArray, list[Labels]]:
    """A number for each distinct key in order of appearance: per element, and the keys by number."""
    ids: dict[Labels, int] = {}
    numbers = np.fromiter(
        (ids.setdefault(key, len(ids)) for key in keys), np.int64, count=len(keys)
    )
    return numbers, list(ids)
