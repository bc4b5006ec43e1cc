"""Rows that left a group's raw matrix for compressed pages, and stay there until a flush or a checkpoint takes them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.tsdb.cache import ByteCache
from meterhall.tsdb.pages import PAGE_COLUMNS, decode_page
from meterhall.tsdb.side import Slots

# What one bad spot of a checkpoint may cost, and what folding pieces may take at a time.
SEALED_ROWS_MAX = 512

# Dashboards ask for the same recent hours again and again. One for the process: a piece is found by a number that no
# other rows have ever had, of whatever store or tenant.
_decoded_lately = ByteCache(64 << 20)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """Rows that left the raw matrix, as pages of `PAGE_COLUMNS` columns each.

    `places[slot]` is the column in the pages, or -1; None is the identity. Equal numbers mean the same pages.
    """

    times: TimestampArray
    pages: Sequence[bytes]
    width: int
    places: NDArray[np.int32] | None = None
    number: int = field(default_factory=_numbers.__next__)
    first_ms: int = field(init=False)
    last_ms: int = field(init=False)

    def __post_init__(self) -> None:
        # A frozen class' own way to fill a field; every query compares them, a hundred times and more.
        object.__setattr__(self, "first_ms", int(self.times[0]))
        object.__setattr__(self, "last_ms", int(self.times[-1]))

    def reaches(self, start_ms: int, end_ms: int) -> bool:
        """Whether the rows may lie in a range."""
        return self.last_ms >= start_ms and self.first_ms <= end_ms

    def read(self, slots: Slots) -> ValueArray:
        """Values of the slots, series by times; absent where a slot is younger than the rows."""
        places = slots
        if self.places is not None:
            known = slots < len(self.places)
            places = np.where(known, self.places[np.where(known, slots, 0)], -1)
        out = np.full((len(slots), len(self.times)), ABSENT)
        page_of = places // PAGE_COLUMNS
        inside = (places >= 0) & (places < self.width)
        for page in np.unique(page_of[inside]).tolist():
            where = np.flatnonzero(inside & (page_of == page))
            out[where] = self._decoded(page)[places[where] - page * PAGE_COLUMNS]
        return out

    def read_between(self, slots: Slots, lowest: int, highest: int) -> ValueArray:
        """The same of slots from the lowest to the highest: most often neighbours, which lie in a page or two."""
        if self.places is not None or highest >= self.width:
            return self.read(slots)
        page, last_page = lowest // PAGE_COLUMNS, highest // PAGE_COLUMNS
        if lowest == highest:
            place = lowest - page * PAGE_COLUMNS
            return self._decoded(page)[place : place + 1]
        if page == last_page:
            return self._decoded(page)[slots - page * PAGE_COLUMNS]
        out = np.empty((len(slots), len(self.times)))
        page_of = slots // PAGE_COLUMNS
        for each in range(page, last_page + 1):
            where = np.flatnonzero(page_of == each)
            if len(where):
                out[where] = self._decoded(each)[slots[where] - each * PAGE_COLUMNS]
        return out

    def moved(self, kept: Slots) -> "Sealed":
        """The same rows after slots were renumbered: new slot i was `kept[i]`."""
        places = kept
        if self.places is not None:
            inside = kept < len(self.places)
            places = np.where(inside, self.places[np.where(inside, kept, 0)], -1)
        places = np.where(places < self.width, places, -1)
        return Sealed(self.times, self.pages, self.width, places.astype(np.int32), self.number)

    def in_pages(self, columns: Slots) -> Slots:
        """What belongs to each place in the pages, out of what belongs to each slot; -1 for no slot."""
        if self.places is None:
            return columns[: self.width]
        found = np.full(self.width, -1, np.int64)
        slots = np.flatnonzero(self.places >= 0)
        found[self.places[slots]] = columns[slots]
        return found

    def _decoded(self, page: int) -> ValueArray:
        """Columns by times. Read-only: others read it too."""

        def load() -> tuple[ValueArray, int]:
            rows = len(self.times)
            columns = min(PAGE_COLUMNS, self.width - page * PAGE_COLUMNS)
            values = decode_page(self.pages[page], np.full(columns, rows, np.int64))
            values.flags.writeable = False
            return values.reshape(-1, rows), values.nbytes

        found: ValueArray = _decoded_lately.get((self.number, page), load)
        return found
