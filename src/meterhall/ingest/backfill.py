"""The back-fill right: a writer whose samples may be of any age inside retention."""

from collections.abc import Sequence

from meterhall.model.labels import Labels
from meterhall.model.samples import RefArray, Row
from meterhall.ports.append import Appended, SampleWriter


class BackfillWriter:
    """A SampleWriter for what was collected in time and comes late: an agent's spool after an outage.

    `appends` bounds how many use the right (None: all do). It costs: a store that has much late data in hand
    makes whoever claims the right wait, even where it turns out not to be needed.
    """

    def __init__(self, writer: SampleWriter, appends: int | None = None) -> None:
        self._writer = writer
        self._left = appends

    def intern(
        self, clock: str, series: Sequence[Labels], series_max: int | None = None
    ) -> RefArray:
        """As any writer."""
        return self._writer.intern(clock, series, series_max)

    def append(self, rows: Sequence[Row], *, any_age: bool = True) -> Appended:
        """The window for late samples does not bind, while the right lasts."""
        appended = self._writer.append(rows, any_age=any_age and self._left != 0)
        if self._left:
            self._left -= 1
        return appended
