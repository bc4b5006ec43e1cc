"""Writing what the head alone holds to one log segment, so that all segments below it can go.

    1. the log turns to a new segment and leaves number N free below it
    2. group by group, what is in no block is written aside: definitions, the matrix' rows as pages, late
       samples as pages or rows
    3. the file is synced and gets its name, segment N, and the directory is synced
    4. segments below N are removed

Everything submitted before 1 is in the head when 2 looks at it; what is appended meanwhile may be in N and
above N, and counts once. A crash before 3 leaves worthless bytes (*.tmp) beside a whole log; after it, replay
begins at N, because N says that it is a checkpoint, whatever of 4 was done.
"""

from collections.abc import Callable, Iterator, Sequence

import structlog

from meterhall.tsdb.aside import Aside
from meterhall.tsdb.checkpoint_works import Item, Kept
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.wal import Log
from meterhall.tsdb.wal_format import Segment
from meterhall.tsdb.workshop import Workshop

_log = structlog.get_logger()

# A log that has stopped to grow is worth a checkpoint from these bytes on, and from an eighth of the last one.
_QUIET_BYTES = 1 << 20
_QUIET_PART = 8


class Checkpoint:
    """Runs on the background thread, and never beside a flush."""

    def __init__(self, log: Log, settings: StoreSettings, disk: Disk, workshop: Workshop) -> None:
        self._log = log
        self._settings = settings
        self._disk = disk
        self._workshop = workshop
        self._written = 0
        self._seen = 0

    def is_due(self) -> bool:
        """Once the log has grown by as much as a checkpoint would write, or by less and then has paused.

        So checkpoints write no more than twice what appends did. Ask once in a turn.
        """
        size = self._log.size
        grown, paused = size - self._written, size == self._seen
        self._seen = size
        if paused:
            return grown >= max(_QUIET_BYTES, self._written // _QUIET_PART)
        return grown >= max(self._settings.log_checkpoint_bytes, self._written)

    def run(self, heads: Callable[[], Sequence[TenantHead]]) -> None:
        """Raises OSError or StoreUnavailable; the log is whole then."""
        number = self._log.reserve()
        with Aside(self._log.path(number), self._disk) as file:
            size = self._workshop.checkpoint(file.handle, number, lambda: _held(heads))
            file.keep()
        self._log.replace_before(Segment(number, size))
        self._written = self._seen = self._log.size
        _log.info("checkpoint.done", segment=number, bytes=size)


def _held(heads: Callable[[], Sequence[TenantHead]]) -> Iterator[Item]:
    for head in heads():
        with head.lock:
            definitions = list(head.definitions())
            kept = [Kept(group.number, *group.kept()) for group in head.groups.values()]
        yield from definitions
        yield from kept
