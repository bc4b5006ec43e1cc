"""How much memory late samples take until they are in blocks, over all tenants.

They lie in side buffers at eight bytes or more each, where samples in order soon take about one. So a
backlog of `bytes_max` calls for a flush at once, and twice of it refuses those who can wait.
"""

import threading
from collections.abc import Callable

from meterhall.model.errors import StoreUnavailable
from meterhall.telemetry.metrics import LATE_BYTES


class Backlog:
    """An estimate that `measured` puts right. Thread-safe; `due` is set when a flush is called for."""

    def __init__(self, bytes_max: int) -> None:
        self.due = threading.Event()
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()

    def check(self, holds_late: Callable[[], bool]) -> None:
        """Raises StoreUnavailable while so much waits that back-fill must too, where this is some."""
        if self._bytes > 2 * self._bytes_max and holds_late():
            raise StoreUnavailable("late samples wait to be written to blocks")

    def add(self, count: int) -> None:
        """Tells of so many bytes more."""
        if count == 0:
            return
        with self._lock:
            before, self._bytes = self._bytes, self._bytes + count
            # Only who steps over the line calls, so that a disk that refuses is not asked all the time.
            if before < self._bytes_max <= self._bytes:
                self.due.set()

    def measured(self, count: int) -> None:
        """Tells how many bytes there are."""
        with self._lock:
            self._bytes = count
        LATE_BYTES.set(count)
