"""Reading series: what the query floor asks of a store.

A reader is bound to one tenant when the store hands it out; nothing here can name another. Readers are
thread-safe and see every sample whose append returned before the call.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.samples import SeriesGroup, TimestampArray, ValueArray
from meterhall.model.stack import STACK_CELLS_MAX, SeriesStack

# Several selectors, any of which may match: the union that `match[]` asks for.
MatcherSets = Sequence[Sequence[Matcher]]

# Labels, time in milliseconds, value.
NewestSample = tuple[Labels, int, float]
# Labels; times, ascending, at least one; values, staleness markers among them.
HeldSeries = tuple[Labels, TimestampArray, ValueArray]


class Selection(Protocol):
    """Series that were found, before their samples are read.

    `labels` holds each label set once, in no particular order. `samples_max` bounds the
    samples that `groups` can yield, so that a budget can refuse before anything is decoded.
    """

    @property
    def labels(self) -> Sequence[Labels]: ...

    @property
    def samples_max(self) -> int: ...

    def groups(self) -> Iterator[SeriesGroup]:
        """The samples, clock by clock. Each series is a row of exactly one group.

        A series without a sample in the range may be missing. Reading is lazy: stop iterating to stop
        the work.
        """
        ...

    def stacks(
        self, *, newest: bool = False, cells_max: int = STACK_CELLS_MAX
    ) -> Iterator[SeriesStack]:
        """The same samples, many clocks at a time, in pieces of about `cells_max` at most.

        With `newest`, samples may be missing whose series has a later one in the range.

        A store that can read no more than one clock at once gives `stacked(self.groups())`.
        """
        ...


class SeriesReader(Protocol):
    """One tenant's series. Times are milliseconds, both ends included."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """Series that pass all matchers and may have samples in the range."""
        ...

    def newest(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> Sequence[NewestSample] | None:
        """The newest sample in the range of each series that passes, staleness markers included.

        None where the reader cannot tell at once: where more than `series_max` series may pass, where
        it would have to wait, to read a file or to test a pattern. `select` has the answer then. So the event loop
        may ask.
        """
        ...

    def at_hand(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> Sequence[HeldSeries] | None:
        """All samples in the range of each series that passes and has any.

        None where the reader cannot tell at once, as with `newest`, or where there are many. Arrays are read-only.
        """
        ...

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        """Label sets of the union, sorted, each once."""
        ...

    def label_names(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Sorted label names; of all series where `sets` is empty."""
        ...

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Sorted values of one label; of all series where `sets` is empty."""
        ...

    def label_names_at_hand(self, start_ms: int, end_ms: int) -> list[str] | None:
        """Sorted label names of all series, or None where the reader cannot tell at once, as with `newest`."""
        ...

    def label_values_at_hand(self, name: str, start_ms: int, end_ms: int) -> list[str] | None:
        """Likewise sorted values of one label."""
        ...
