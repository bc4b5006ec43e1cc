"""The head's index of one tenant: series numbers, their labels, and postings for each label pair.

Not thread-safe: the tenant's lock guards it. Pairs are interned, so that a label that a thousand series
share is held once.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import cast

from pyroaring import BitMap

from meterhall.model.labels import Labels

_Pair = tuple[str, str]


class HeadIndex:
    """Implements `matching.Postings`. Series numbers are small and given out again after removal."""

    def __init__(self) -> None:
        self._labels: list[Labels | None] = []
        self._numbers: dict[Labels, int] = {}
        self._free: list[int] = []
        self._pairs: dict[str, dict[str, tuple[_Pair, BitMap]]] = {}
        self._every = BitMap()
        # Grows with every change, so that what was found can be told from what would be found now.
        self.generation = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, labels: Labels) -> int | None:
        """The number of a label set, or None."""
        return self._numbers.get(labels)

    def labels(self, numbers: Iterable[int]) -> list[Labels]:
        """The label sets of numbers that are in use."""
        known = self._labels
        labels = [known[number] for number in numbers]
        assert None not in labels, "a series was removed and a reference outlived it: a bug"
        return cast("list[Labels]", labels)

    def all_labels(self) -> Iterable[Labels]:
        """Label sets of all series, in no order."""
        return self._numbers

    def add(self, labels: Labels) -> int:
        """A number for a label set that has none."""
        number = self._free.pop() if self._free else len(self._labels)
        interned = self._add_pairs(labels, number)
        if number == len(self._labels):
            self._labels.append(interned)
        else:
            self._labels[number] = interned
        self._numbers[interned] = number
        self._every.add(number)
        self.generation += 1
        return number

    def remove(self, numbers: Sequence[int]) -> None:
        """Forgets series; their numbers may be used again."""
        for number, labels in zip(numbers, self.labels(numbers), strict=True):
            for name, value in labels:
                values = self._pairs[name]
                bitmap = values[value][1]
                bitmap.discard(number)
                if not bitmap:
                    del values[value]
                    if not values:
                        del self._pairs[name]
            del self._numbers[labels]
            self._labels[number] = None
            self._every.discard(number)
        self._free.extend(numbers)
        self.generation += 1

    def every(self) -> BitMap:
        """All series."""
        return self._every

    def names(self) -> Collection[str]:
        """Label names, in no order."""
        return self._pairs

    def values(self, name: str) -> Collection[str]:
        """Values of a label, in no order."""
        return self._pairs.get(name, ())

    def series(self, name: str, value: str) -> BitMap | None:
        """Series that carry the pair."""
        found = self._pairs.get(name, {}).get(value)
        return None if found is None else found[1]

    def _add_pairs(self, labels: Labels, number: int) -> Labels:
        """The same label set, of the very pairs that other series have."""
        pairs = self._pairs
        shared: list[_Pair] = []
        for pair in labels:
            name, value = pair
            values = pairs.get(name)
            if values is None:
                values = pairs[name] = {}
            known = values.get(value)
            if known is None:
                known = values[value] = (pair, BitMap())
            known[1].add(number)
            shared.append(known[0])
        return tuple(shared)
