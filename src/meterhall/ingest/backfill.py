"""The back-fill right: a writer whose samples may be of any age inside retention."""

from collections.abc import Sequence

from meterhall.model.labels import Labels
from meterhall.model.samples import RefArray, Row
from meterhall.ports.append import Appended, SampleWriter


class BackfillWriter:
    """A SampleWriter for what was collected in time and comes late: an agent's spool after an outage."""

    def __init__(self, writer: SampleWriter) -> None:
        self._writer = writer

    def intern(self, clock: str, series: Sequence[Labels]) -> RefArray:
        """As any writer."""
        return self._writer.intern(clock, series)

    def append(self, rows: Sequence[Row], *, any_age: bool = True) -> Appended:
        """The window for late samples does not bind."""
        return self._writer.append(rows, any_age=any_age)
