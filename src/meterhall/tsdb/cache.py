"""What was decoded lately, bounded in bytes: pages, indexes and directories of blocks."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# What a flush or a merge keeps at a time: the pages that the series in hand share.
_ONCE_BYTES = 16 << 20


class NotAtHand(Exception):
    """What is asked for would have to be read, decoded, or waited for."""


class ByteCache:
    """Least recently used goes first. Thread-safe; two threads may decode the same piece at once."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pieces: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], tuple[Any, int]]) -> Any:
        """The piece; `load` makes it and says how many bytes it takes. Failures are not kept."""
        with self._lock:
            known = self._pieces.get(key)
            if known is not None:
                self._pieces.move_to_end(key)
                return known[0]
        once = _once.get()
        if once is not None and once is not self:
            return once.get((id(self), key), load)
        piece, size = load()
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = (piece, size)
                self._bytes += size
            # One piece stays however large it is: without it every query would decode it again.
            while self._bytes > self._bytes_max and len(self._pieces) > 1:
                _, (_, gone) = self._pieces.popitem(last=False)
                self._bytes -= gone
        return piece

    def at_hand(self, key: Hashable) -> Any:
        """The piece, where it is there and nobody is changing the cache. Raises NotAtHand."""
        if not self._lock.acquire(blocking=False):
            raise NotAtHand
        try:
            known = self._pieces.get(key)
            if known is None:
                raise NotAtHand
            self._pieces.move_to_end(key)
            return known[0]
        finally:
            self._lock.release()

    def drop(self, owner: Hashable) -> None:
        """Forgets all pieces whose key is a tuple that begins with `owner`."""
        with self._lock:
            keys = [key for key in self._pieces if isinstance(key, tuple) and key[0] == owner]
            for key in keys:
                self._bytes -= self._pieces.pop(key)[1]


_once: ContextVar[ByteCache | None] = ContextVar("once", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """What is loaded in here is kept apart, and for a short time: a merge reads whole blocks once.

    In the caches it would push out what queries ask for again and again, and fill them where nobody asks.
    """
    token = _once.set(ByteCache(_ONCE_BYTES))
    try:
        yield
    finally:
        _once.reset(token)
