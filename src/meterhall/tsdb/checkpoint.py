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
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, ABSENT_BITS, ValueArray
from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.merging import Piece, merge
from meterhall.tsdb.sealed import SEALED_ROWS_MAX
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.side import SideRow, Slots, read_rows
from meterhall.tsdb.wal import Log
from meterhall.tsdb.wal_format import (
    GroupRow,
    Kind,
    SealedRows,
    Segment,
    definition_frames,
    encode_samples,
    encode_sealed,
    frame,
    segment_header,
)

_log = structlog.get_logger()

# Synced in such pieces, so that no append's own sync waits for the whole.
_PIECE_BYTES = 4 << 20
# A log that has stopped to grow is worth a checkpoint from these bytes on, and from an eighth of the last one.
_QUIET_BYTES = 1 << 20
_QUIET_PART = 8
# Pieces of a group are joined up to so many cells, which bounds what that takes beside them.
_JOINED_CELLS_MAX = 1 << 20
# Late rows are sealed together while one cell in eight is filled on average.
_SPARSE = 8


class Checkpoint:
    """Runs on the background thread, and never beside a flush."""

    def __init__(
        self, log: Log, settings: StoreSettings, disk: Disk, check: Callable[[], None]
    ) -> None:
        """`check` may raise to stop the work; then nothing has changed."""
        self._log = log
        self._settings = settings
        self._disk = disk
        self._check = check
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
        size = self._publish(self._log.path(number), _with_head(number, heads))
        self._log.replace_before(Segment(number, size))
        self._written = self._seen = self._log.size
        _log.info("checkpoint.done", segment=number, bytes=size)

    def _publish(self, path: Path, frames: Iterator[bytes]) -> int:
        temporary = filenames.temporary(path)
        try:
            handle = self._disk.create(temporary)
            try:
                size = 0
                for piece in _pieces(frames):
                    self._check()
                    size += self._disk.write(handle, piece)
                    self._disk.sync(handle)
            finally:
                self._disk.close(handle)
            self._disk.rename(temporary, path)
        except BaseException:
            self._disk.unlink(temporary)
            raise
        self._disk.sync_directory(path.parent)
        return size


def _with_head(number: int, heads: Callable[[], Sequence[TenantHead]]) -> Iterator[bytes]:
    yield segment_header(number)
    yield frame(Kind.CHECKPOINT, b"")
    for head in heads():
        with head.lock:
            definitions = list(head.definitions())
            kept = [(group.number, *group.kept()) for group in head.groups.values()]
        for definition in definitions:
            yield from definition_frames(definition)
        for group, view, columns in kept:
            for times, values in _joined(_matrix(view)):
                rows = SealedRows(group, times, columns, values)
                yield frame(Kind.SEALED, encode_sealed(rows))
            late = [row for side in view.sides for row in side]
            if late:
                yield _late(group, late, columns)
    yield frame(Kind.CHECKPOINT, b"")


def _matrix(view: GroupView) -> Iterator[Piece]:
    """The matrix' rows, oldest first, all slots by times."""
    for sealed in view.sealed:
        # The rows before are in blocks.
        first = int(np.searchsorted(sealed.times, view.start_ms))
        yield sealed.times[first:], sealed.read(view.slots)[:, first:]
    if len(view.raw_times):
        values = np.full((len(view.slots), len(view.raw_times)), ABSENT)
        known = view.raw[:, : len(values)].T
        values[: len(known)] = known
        yield view.raw_times, values


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Neighbours together, as far as that stays small: the longer a series, the fewer bytes a sample takes."""
    waiting: list[Piece] = []
    rows = 0
    for times, values in pieces:
        rows += len(times)
        if waiting and (rows > SEALED_ROWS_MAX or rows * len(values) > _JOINED_CELLS_MAX):
            yield merge(waiting, len(values))
            waiting, rows = [], len(times)
        waiting.append((times, values))
    if waiting:
        yield merge(waiting, len(waiting[0][1]))


def _late(group: int, late: Sequence[SideRow], columns: Slots) -> bytes:
    """Late samples: sealed where they fill a fair share of their rows, as in a back-fill, else listed."""
    filled = sum(_present(cells).sum() if isinstance(cells, np.ndarray) else 0 for _, cells in late)
    if filled * _SPARSE >= len(late) * len(columns):
        times, values = read_rows(late, np.arange(len(columns)))
        rows = SealedRows(group, times, columns, values)
        return frame(Kind.SEALED, encode_sealed(rows))
    return frame(Kind.SAMPLES, encode_samples([_listed(group, row, columns) for row in late]))


def _listed(group: int, row: SideRow, columns: Slots) -> GroupRow:
    (time_ms,), values = read_rows([row], np.arange(len(columns)))
    places = np.flatnonzero(_present(values[:, 0]))
    return GroupRow(group, int(time_ms), 0, columns[places].astype(np.uint32), values[places, 0])


def _present(values: ValueArray) -> NDArray[np.bool_]:
    present: NDArray[np.bool_] = values.view(np.uint64) != ABSENT_BITS
    return present


def _pieces(frames: Iterator[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for each in frames:
        piece.append(each)
        size += len(each)
        if size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    yield piece
