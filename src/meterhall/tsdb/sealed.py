"""Rows that left a group's raw matrix and wait, packed, until a flush takes them."""

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.tsdb.cache import ByteCache
from meterhall.tsdb.packed import Packed
from meterhall.tsdb.side import Slots

# What one bad spot of a checkpoint may cost, and what folding pieces may take at a time.
SEALED_ROWS_MAX = 512

# So many neighbours are read at once and remembered: one series of a host is seldom asked for alone.
_STRIPE = 32
# What reaches over more stripes is read for this once: it would push out what is asked for again and again.
_STRIPES_MAX = 4
# Dashboards ask for the same recent hours again and again. One for the process: a piece is found by a number that no
# other rows have ever had, of whatever store or tenant.
_read_lately = ByteCache(64 << 20)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """Rows that left the raw matrix.

    `places[slot]` is the series in `packed`, or -1; None is the identity. Equal numbers mean the same rows.
    """

    times: TimestampArray
    packed: Packed
    places: NDArray[np.int32] | None = None
    number: int = field(default_factory=_numbers.__next__)
    first_ms: int = field(init=False)
    last_ms: int = field(init=False)

    def __post_init__(self) -> None:
        # A frozen class' own way to fill a field; every query compares them, a hundred times and more.
        object.__setattr__(self, "first_ms", int(self.times[0]))
        object.__setattr__(self, "last_ms", int(self.times[-1]))

    @property
    def width(self) -> int:
        """How many series the group had when the rows were sealed."""
        return len(self.packed.kinds)

    def reaches(self, start_ms: int, end_ms: int) -> bool:
        """Whether the rows may lie in a range."""
        return self.last_ms >= start_ms and self.first_ms <= end_ms

    def read(self, slots: Slots) -> ValueArray:
        """Values of the slots, series by times; absent where a slot is younger than the rows."""
        places = slots
        if self.places is not None:
            known = slots < len(self.places)
            places = np.where(known, self.places[np.where(known, slots, 0)], -1)
        inside = (places >= 0) & (places < self.width)
        if inside.all():
            return self.packed.read(places)
        out = np.full((len(slots), len(self.times)), ABSENT)
        out[inside] = self.packed.read(places[inside])
        return out

    def read_between(self, slots: Slots, lowest: int, highest: int) -> ValueArray:
        """The same of slots from the lowest to the highest: most often neighbours, in a stripe or two."""
        if self.places is not None or highest >= self.width:
            return self.read(slots)
        stripe, last_stripe = lowest // _STRIPE, highest // _STRIPE
        if lowest == highest:
            place = lowest - stripe * _STRIPE
            return self._stripe(stripe)[place : place + 1]
        if stripe == last_stripe:
            return self._stripe(stripe)[slots - stripe * _STRIPE]
        if last_stripe - stripe >= _STRIPES_MAX:
            return self.packed.read(slots)
        out = np.empty((len(slots), len(self.times)))
        stripe_of = slots // _STRIPE
        for each in range(stripe, last_stripe + 1):
            where = np.flatnonzero(stripe_of == each)
            if len(where):
                out[where] = self._stripe(each)[slots[where] - each * _STRIPE]
        return out

    def moved(self, kept: Slots) -> "Sealed":
        """The same rows after slots were renumbered: new slot i was `kept[i]`."""
        places = kept
        if self.places is not None:
            inside = kept < len(self.places)
            places = np.where(inside, self.places[np.where(inside, kept, 0)], -1)
        places = np.where(places < self.width, places, -1)
        return Sealed(self.times, self.packed, places.astype(np.int32), self.number)

    def _stripe(self, stripe: int) -> ValueArray:
        """Series by times. Read-only: others read it too."""

        def load() -> tuple[ValueArray, int]:
            values = self.packed.read(slice(stripe * _STRIPE, (stripe + 1) * _STRIPE))
            values.flags.writeable = False
            return values, values.nbytes

        found: ValueArray = _read_lately.get((self.number, stripe), load)
        return found
