"""How far back one tenant's samples have changed: for those who keep what they made of them.

Notes are kept once somebody has asked for a revision, so a tenant whose answers are never kept costs nothing. They are
(revision, time) with both ascending: a note makes every earlier one of the same or a later time superfluous. So the
first note after a revision has the earliest time of all since. When there are too many the oldest is forgotten, and
with it how far back anything has changed since revisions before it.
"""

import threading
from bisect import bisect_right

from meterhall.ports.changes import NEVER

# No sample is before it.
ALL_TIME = -(2**63)

_NOTES_MAX = 256
# Notes of neighbouring times become one. With NOTES_MAX: the last 42 minutes of samples that come in order.
_RESOLUTION_MS = 10_000


class Changes:
    """Implements `ports.changes.Changes`; the store makes the notes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._revision = 0
        self._known_since = 0
        self._revisions: list[int] = []
        self._times: list[int] = []

    def note(self, time_ms: int) -> None:
        """Samples at or after a time have come or gone. To be called when readers can see it, not before."""
        if not self._asked:
            return
        with self._lock:
            self._revision += 1
            while self._times and self._times[-1] >= time_ms:
                self._times.pop()
                self._revisions.pop()
            if self._times and time_ms - self._times[-1] < _RESOLUTION_MS:
                self._revisions[-1] = self._revision
                return
            self._revisions.append(self._revision)
            self._times.append(time_ms)
            if len(self._times) > _NOTES_MAX:
                self._known_since = self._revisions.pop(0)
                self._times.pop(0)

    def revision(self) -> int:
        """A number for what readers see at least."""
        with self._lock:
            self._asked = True
            return self._revision

    def earliest_since(self, revision: int) -> int:
        """Samples before this time are as they were; ALL_TIME where it is forgotten."""
        with self._lock:
            if revision < self._known_since:
                return ALL_TIME
            first = bisect_right(self._revisions, revision)
            return self._times[first] if first < len(self._times) else NEVER
