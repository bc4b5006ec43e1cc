"""Which elements topk keeps, and in which order, against the loop that Prometheus runs at an instant."""

import math

import numpy as np
import pytest

from meterhall.query.kernels import groupwise, ties


class GoHeap:
    """container/heap over (value, index) with the worst at the root: vectorByValueHeap, or its reverse."""

    def __init__(self, *, greatest):
        self.items = []
        self.greatest = greatest

    def less(self, left, right):
        left, right = self.items[left][0], self.items[right][0]
        if math.isnan(left):
            return True
        return left < right if self.greatest else left > right

    def swap(self, left, right):
        self.items[left], self.items[right] = self.items[right], self.items[left]

    def push(self, item):
        self.items.append(item)
        at = len(self.items) - 1
        while at and self.less(at, (at - 1) // 2):
            self.swap(at, (at - 1) // 2)
            at = (at - 1) // 2

    def fix_root(self):
        at = 0
        while 2 * at + 1 < len(self.items):
            child = 2 * at + 1
            if child + 1 < len(self.items) and self.less(child + 1, child):
                child += 1
            if not self.less(child, at):
                break
            self.swap(child, at)
            at = child

    def sorted(self):
        """sort.Sort(sort.Reverse(heap)), an insertion sort for so few."""
        for end in range(1, len(self.items)):
            at = end
            while at and self.less(at - 1, at):
                self.swap(at, at - 1)
                at -= 1
        return [index for _, index in self.items]


def kept_by_prometheus(values, size, *, greatest):
    heap = GoHeap(greatest=greatest)
    for index, value in enumerate(values):
        if len(heap.items) < size:
            heap.push((value, index))
            continue
        worst = heap.items[0][0]
        better = worst < value if greatest else worst > value
        if better or (math.isnan(worst) and not math.isnan(value)):
            heap.items[0] = (value, index)
            heap.fix_root()
    return heap.sorted()


@pytest.mark.parametrize("greatest", [True, False])
@pytest.mark.parametrize("distinct", [3, 8, 1000])
def test_kept_at_an_instant(distinct, greatest):
    rng = np.random.default_rng(distinct)
    for _ in range(300):
        values = rng.integers(0, distinct, rng.integers(1, 30)).astype(float)
        values[rng.random(len(values)) < rng.choice([0.0, 0.1])] = math.nan
        values[rng.random(len(values)) < 0.05] = -0.0
        present = rng.random(len(values)) >= rng.choice([0.0, 0.2])
        if not present.any():
            continue
        size = int(rng.integers(1, 13))
        together = np.zeros(len(values), np.int64)
        (part,) = groupwise.grouped(values[:, None], present[:, None], together, 1).parts()
        place = groupwise.ranks(part.members, greatest=greatest)
        wanted = np.array([float(size)])
        ties.settle(part.members, place, wanted, greatest=greatest, ordered=True)
        here = np.flatnonzero(present)
        kept = here[place[here, 0] < size]
        expected = here[kept_by_prometheus(values[here].tolist(), size, greatest=greatest)]
        assert kept[np.argsort(place[kept, 0])].tolist() == expected.tolist()
