"""Which of equal elements topk and bottomk keep: those that are left in Prometheus' heap.

It keeps `size` elements in a binary heap whose root is the worst, and overwrites the root when a better
element comes. Among equals the heap's shape then decides which goes (container/heap of Go, and
vectorByValueHeap of promql/value.go). Sorting ranks equals by arrival, which is the same unless a better
element comes after the heap is full of those that stay: only such cells are run through the heap here.
"""

from collections.abc import Callable

import numpy as np

from meterhall.model.samples import ValueArray
from meterhall.query.kernels.groupwise import Members
from meterhall.query.kernels.windows import BoolArray, IndexArray

# Go's sort is an insertion sort, which its order of equals can be told of, up to this length.
_INSERTION_MAX = 12

_Less = Callable[[float, float], bool]


def settle(
    rows: Members, place: IndexArray, size: ValueArray, *, greatest: bool, ordered: bool
) -> None:
    """Corrects `place`, the ranks of all cells, for `size[T]` elements wanted of each group.

    With `ordered` the order among the elements kept matters too, as it does at an instant.
    """
    for _, part in rows.slices():
        if part.stop - part.start < 2:
            continue
        block = rows.values[part]
        here = np.ones(block.shape, np.bool_) if rows.present is None else rows.present[part]
        ranks = place[part]
        unsettled = _unsettled(-block if greatest else block, here, ranks, np.trunc(size))
        if ordered and 1 < size[0] <= _INSERTION_MAX:
            kept = block[ranks < np.trunc(size[0])]
            # Where all are different, one NaN at most among them, there is one order.
            unsettled |= len(np.unique(kept)) < len(kept)
        for step in np.flatnonzero(unsettled).tolist():
            left_out = here[:, step].copy()
            members = np.flatnonzero(left_out)
            kept = members[_heap(block[members, step].tolist(), int(size[step]), greatest=greatest)]
            left_out[kept] = False
            ranks[kept, step] = np.arange(len(kept))
            ranks[left_out, step] = np.arange(len(kept), len(members))


def _unsettled(key: ValueArray, here: BoolArray, ranks: IndexArray, size: ValueArray) -> BoolArray:
    """Steps at which the last element kept equals the first one left out, and the heap decides."""
    last = np.where(ranks == size - 1, key, 0.0).sum(axis=0)
    beyond = np.where(ranks == size, key, 0.0).sum(axis=0)
    crowded = (np.count_nonzero(here, axis=0) > size) & (size >= 2)
    none = np.isnan(last)
    tied: BoolArray = crowded & ((last == beyond) | (none & np.isnan(beyond)))
    if not tied.any():
        return np.asarray(tied)
    numbers = ~np.isnan(key)
    staying = here & ((key <= last) | none)
    full = np.cumsum(staying, axis=0) - staying >= size
    better = here & np.where(none, numbers, key < last)
    return np.asarray(tied & (full & better).any(axis=0))


def _heap(values: list[float], size: int, *, greatest: bool) -> list[int]:
    """Positions of the elements kept, the best first."""

    def less(left: float, right: float) -> bool:
        return left != left or (left < right if greatest else left > right)

    heap: list[int] = []
    for index, value in enumerate(values):
        if len(heap) < size:
            heap.append(index)
            _up(heap, values, less)
            continue
        root = values[heap[0]]
        if (root < value if greatest else root > value) or (root != root and value == value):
            heap[0] = index
            _down(heap, values, less)
    _insertion_sort(heap, values, less)
    return heap


def _up(heap: list[int], values: list[float], less: _Less) -> None:
    child = len(heap) - 1
    while child:
        parent = (child - 1) // 2
        if not less(values[heap[child]], values[heap[parent]]):
            return
        heap[child], heap[parent] = heap[parent], heap[child]
        child = parent


def _down(heap: list[int], values: list[float], less: _Less) -> None:
    parent = 0
    while (child := 2 * parent + 1) < len(heap):
        if child + 1 < len(heap) and less(values[heap[child + 1]], values[heap[child]]):
            child += 1
        if not less(values[heap[child]], values[heap[parent]]):
            return
        heap[child], heap[parent] = heap[parent], heap[child]
        parent = child


def _insertion_sort(heap: list[int], values: list[float], less: _Less) -> None:
    """sort.Sort(sort.Reverse(heap)). Longer heaps are sorted by value alone, equals as they lie."""
    if len(heap) > _INSERTION_MAX:
        heap.sort(key=lambda index: _sort_key(values[index], less))
        return
    for end in range(1, len(heap)):
        at = end
        while at and less(values[heap[at - 1]], values[heap[at]]):
            heap[at], heap[at - 1] = heap[at - 1], heap[at]
            at -= 1


def _sort_key(value: float, less: _Less) -> tuple[bool, float]:
    return value != value, value if less(1.0, 0.0) else -value
