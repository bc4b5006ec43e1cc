"""What is written into a checkpoint's file: definitions, the matrices' rows as pages, late samples as pages or rows.

Whoever has the open file does it, as with a block's (`block_works`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, ABSENT_BITS, ValueArray
from meterhall.tsdb.disk import SYNCED_BYTES, Disk
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.merging import Piece, merge
from meterhall.tsdb.sealed import SEALED_ROWS_MAX
from meterhall.tsdb.side import SideRow, Slots, read_rows
from meterhall.tsdb.wal_format import (
    Definition,
    GroupRow,
    Kind,
    SealedRows,
    definition_frames,
    encode_samples,
    encode_sealed,
    frame,
    segment_header,
)

# Pieces of a group are joined up to so many cells, which bounds what that takes beside them.
_JOINED_CELLS_MAX = 1 << 20
# Late rows are sealed together while one cell in eight is filled on average.
_SPARSE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a group holds that is in no block, and the column of each slot."""

    group: int
    view: GroupView
    columns: Slots


# A group's definitions come before what it holds.
Item = Definition | Kept


def write_checkpoint(
    handle: int, number: int, items: Iterable[Item], disk: Disk, check: Callable[[], None]
) -> int:
    """Writes log segment `number` into an empty file and returns its bytes, which are durable. Raises OSError.

    `check` is called now and then and may raise to stop the work.
    """
    size = 0
    for piece in _pieces(_frames(number, items)):
        check()
        size += disk.write(handle, piece)
        disk.sync(handle)
    return size


def _frames(number: int, items: Iterable[Item]) -> Iterator[bytes]:
    yield segment_header(number)
    yield frame(Kind.CHECKPOINT, b"")
    for item in items:
        if isinstance(item, Definition):
            yield from definition_frames(item)
        else:
            yield from _kept_frames(item)
    yield frame(Kind.CHECKPOINT, b"")


def _kept_frames(kept: Kept) -> Iterator[bytes]:
    for times, values in _joined(_matrix(kept.view)):
        rows = SealedRows(kept.group, times, kept.columns, values)
        yield frame(Kind.SEALED, encode_sealed(rows))
    late = [row for side in kept.view.sides for row in side]
    if late:
        yield _late(kept.group, late, kept.columns)


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
        if size >= SYNCED_BYTES:
            yield piece
            piece, size = [], 0
    yield piece
