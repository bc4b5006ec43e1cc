"""A query's tiles worked on by two threads, where there is enough to do.

Kernels and array operations let go of the interpreter's lock. The helpers are few and shared by all queries: one that
comes late finds nothing left, and a query without a helper does all of its work itself.
"""

import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

# Handing work over takes some tens of microseconds.
_WORTH_SHARING = 500_000
_HELPERS_MAX = 8
_helpers = ThreadPoolExecutor(
    min(_HELPERS_MAX, max(1, (os.cpu_count() or 1) - 1)), thread_name_prefix="query-helper"
)


class _Queue(Generic[T]):
    """Items one by one, to whoever asks first; none after `close`."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items: Iterator[T] = iter(items)
        self._lock = threading.Lock()
        self._closed = False

    def each(self, work: Callable[[T], None]) -> None:
        """Works on items as long as there are any. What `work` raises closes the queue."""
        try:
            while True:
                with self._lock:
                    if self._closed:
                        return
                    item = next(self._items, self)
                if isinstance(item, _Queue):
                    return
                work(item)
        except BaseException:
            self._closed = True
            raise


def shared(items: Iterable[T], work: Callable[[T], None], cells: int) -> None:
    """Does `work` on every item, of all `cells` many; raises what it or `items` raises.

    An item is taken by one thread at a time, so that making the items needs no lock of its own.
    """
    queue = _Queue(items)
    if cells < _WORTH_SHARING:
        queue.each(work)
        return
    # NumPy's error state goes with the context.
    helper = _helpers.submit(contextvars.copy_context().run, queue.each, work)
    try:
        queue.each(work)
    finally:
        if not helper.cancel():
            helper.result()
