"""One tenant's samples in blocks: what reading and the head's rules ask of them."""

from collections.abc import Iterable, Sequence

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, TimestampArray, ValueArray
from meterhall.tsdb.matching import Postings
from meterhall.tsdb.selection import Source
from meterhall.tsdb.wal import NO_TIME


class History:
    """Implements `head.Past`, and the reader's way to blocks."""

    def newest_ms(self) -> int:
        """No block has a sample of the tenant after this."""
        return NO_TIME

    def last_times(self, series: Sequence[Labels]) -> TimestampArray:
        """Each series' newest sample in blocks."""
        return np.full(len(series), NO_TIME)

    def values_at(self, series: Sequence[Labels], time_ms: int) -> ValueArray:
        """Each series' value at one instant."""
        return np.full(len(series), ABSENT)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterable[Source]:
        """One source for each block that may hold samples of the range."""
        return ()

    def indexes(self, start_ms: int, end_ms: int) -> Iterable[Postings]:
        """The tenant's index in each block that may hold samples of the range."""
        return ()
