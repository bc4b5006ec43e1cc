"""Samples that do not fit on top of a group's matrix: late ones, and rows too sparse for it.

Kept by time. A row that fills a fair share of the group is an array with a cell for each slot, so that the
back-fill of an outage costs eight bytes a sample; a sparser one is a dict. Guarded by the tenant's lock.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, ABSENT_BITS, ValueArray
from meterhall.tsdb.merging import Piece

Slots = NDArray[np.int64]
# By slot: a dict, or an array that is ABSENT where there is no sample.
Cells = dict[int, float] | ValueArray
SideRow = tuple[int, Cells]

# Roughly what a sample in a dict takes, and a row besides its samples.
_SPARSE_BYTES = 100
_ROW_BYTES = 200
# A row becomes an array when at least one slot in eight has a sample.
_SPARSE = 8
# What `may_hold` looks at: it runs on the event loop.
_LOOKED_AT_MAX = 64


class SideRows:
    """Rows by time, in no order."""

    def __init__(self) -> None:
        self.samples = 0
        self.bytes = 0
        self._rows: dict[int, Cells] = {}

    @property
    def times(self) -> Sequence[int]:
        """The times at which there are samples, in no order."""
        return list(self._rows)

    def put(self, time_ms: int, slots: Slots, values: ValueArray, width: int) -> None:
        """Adds samples that are not there yet; `width` is the group's number of slots."""
        cells = self._rows.get(time_ms)
        self.samples += len(slots)
        self.bytes -= _bytes(cells)
        if isinstance(cells, np.ndarray):
            if len(cells) < width:
                cells = self._rows[time_ms] = _dense(cells, width)
            cells[slots] = values
        elif (len(cells or ()) + len(slots)) * _SPARSE >= width:
            dense = self._rows[time_ms] = _dense(cells or {}, width)
            dense[slots] = values
        else:
            sparse = self._rows[time_ms] = cells or {}
            sparse.update(zip(slots.tolist(), values.tolist(), strict=True))
        self.bytes += _bytes(self._rows[time_ms])

    def overlay(self, time_ms: int, slots: Slots, values: ValueArray) -> None:
        """Writes the samples of one instant over `values`, which go with `slots`."""
        cells = self._rows.get(time_ms)
        if cells is not None:
            held = _pick(cells, slots)
            present = held.view(np.uint64) != ABSENT_BITS
            values[present] = held[present]

    def pop(self, time_ms: int) -> tuple[Slots, ValueArray] | None:
        """Takes one instant out: its slots and values, or None."""
        cells = self._rows.pop(time_ms, None)
        if cells is None:
            return None
        slots, values = _listed(cells)
        self.samples -= len(slots)
        self.bytes -= _bytes(cells)
        return slots, values

    def split_before(self, end_ms: int) -> "SideRows":
        """Moves everything before `end_ms` to a buffer of its own."""
        taken = SideRows()
        for time_ms in [each for each in self._rows if each < end_ms]:
            cells = self._rows.pop(time_ms)
            count = len(_listed(cells)[0])
            taken._rows[time_ms] = cells
            taken.samples += count
            self.samples -= count
            taken.bytes += _bytes(cells)
            self.bytes -= _bytes(cells)
        return taken

    def absorb(self, other: "SideRows", width: int) -> None:
        """Takes in another buffer's samples, except where there is one already."""
        for time_ms in other.times:
            found = other.pop(time_ms)
            assert found is not None
            slots, values = found
            held = np.full(len(slots), ABSENT)
            self.overlay(time_ms, slots, held)
            missing = held.view(np.uint64) == ABSENT_BITS
            if missing.any():
                self.put(time_ms, slots[missing], values[missing], width)

    def between(self, start_ms: int, end_ms: int) -> list[SideRow]:
        """Rows of a range in order of time, safe to read without the lock."""
        if not self._rows:
            return []
        return [
            (time_ms, dict(cells) if isinstance(cells, dict) else cells)
            for time_ms, cells in sorted(self._rows.items(), key=lambda item: item[0])
            if start_ms <= time_ms <= end_ms
        ]

    def may_hold(self, after_ms: int, end_ms: int) -> bool:
        """Whether there may be a sample in (after, end]; says yes unseen where there are many rows."""
        if not self._rows:
            return False
        if len(self._rows) > _LOOKED_AT_MAX:
            return True
        return any(after_ms < time_ms <= end_ms for time_ms in self._rows)

    def mark_used(self, used: NDArray[np.bool_]) -> None:
        """Sets the flag of every slot that has a sample here."""
        for cells in self._rows.values():
            used[_listed(cells)[0]] = True

    def renumber(self, kept: Slots) -> None:
        """New slot i was `kept[i]`; no other slot has a sample."""
        for time_ms, cells in self._rows.items():
            moved = _pick(cells, kept)
            present = np.flatnonzero(moved.view(np.uint64) != ABSENT_BITS)
            if isinstance(cells, dict):
                values = moved[present].tolist()
                self._rows[time_ms] = dict(zip(present.tolist(), values, strict=True))
            else:
                self._rows[time_ms] = moved
        self.bytes = sum(map(_bytes, self._rows.values()))


def read_rows(rows: Sequence[SideRow], slots: Slots) -> Piece:
    """Rows in order of time as a piece: series by times."""
    values = np.empty((len(rows), len(slots)), np.float64)
    for index, (_, cells) in enumerate(rows):
        values[index] = _pick(cells, slots)
    return np.array([time_ms for time_ms, _ in rows], np.int64), values.T


def _bytes(cells: Cells | None) -> int:
    """Memory of a row, roughly."""
    if cells is None:
        return 0
    return _ROW_BYTES + (len(cells) * _SPARSE_BYTES if isinstance(cells, dict) else cells.nbytes)


def _pick(cells: Cells, slots: Slots) -> ValueArray:
    """The cells of some slots, ABSENT where there is no sample."""
    if isinstance(cells, dict):
        return np.array([cells.get(slot, ABSENT) for slot in slots.tolist()], np.float64)
    if len(slots) == 0 or int(slots.max()) < len(cells):
        return cells[slots]
    values = np.full(len(slots), ABSENT)
    inside = slots < len(cells)
    values[inside] = cells[slots[inside]]
    return values


def _listed(cells: Cells) -> tuple[Slots, ValueArray]:
    """Slots that have a sample, and their values."""
    if isinstance(cells, dict):
        slots = np.fromiter(cells, np.int64, len(cells))
        return slots, np.fromiter(cells.values(), np.float64, len(cells))
    slots = np.flatnonzero(cells.view(np.uint64) != ABSENT_BITS)
    return slots, cells[slots]


def _dense(cells: Cells, width: int) -> ValueArray:
    """The same cells as an array of `width` slots."""
    values = np.full(width, ABSENT)
    slots, held = _listed(cells)
    values[slots] = held
    return values
