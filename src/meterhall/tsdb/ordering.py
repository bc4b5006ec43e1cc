"""Sorting and counting in the background without holding everybody up.

One call into C, be it of `sorted`, `set` or `numpy.fromiter`, keeps the interpreter's lock until it is done: sorting 50,000
series stopped the event loop and every query for 100 ms. So long ones are done in runs, and the lock is free in between.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# A run takes a millisecond or two.
RUN = 2048


def _itself(item: Any) -> Any:
    return item


def in_order(items: Iterable[T], key: Callable[[T], Any] = _itself) -> list[T]:
    """What `sorted` gives."""
    waiting = list(items)
    if len(waiting) <= RUN:
        return sorted(waiting, key=key)
    return list(heapq.merge(*(sorted(run, key=key) for run in runs_of(waiting)), key=key))


def runs_of(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    for first in range(0, len(items), RUN):
        yield items[first : first + RUN]
