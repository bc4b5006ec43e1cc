"""What the head judges an append by, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from meterhall.model.labels import Labels
from meterhall.model.samples import Rejection, Row, TimestampArray, ValueArray
from meterhall.tsdb.wal_format import GroupRow


class Past(Protocol):
    """What the head asks of a tenant's blocks."""

    def newest_ms(self) -> int:
        """No block has a sample of the tenant after this; NO_TIME where there is none at all."""
        ...

    def last_times(self, series: Sequence[Labels], since_ms: int) -> TimestampArray:
        """Each series' newest sample in blocks, where that is at or after `since_ms`.

        Elsewhere any time before `since_ms`, or NO_TIME.
        """
        ...

    def values_at(self, series: Sequence[Labels], time_ms: int) -> ValueArray:
        """Each series' value at one instant, ABSENT where there is none."""
        ...

    def before_ms(self) -> int:
        """No sample before it is ever seen again, so none is taken."""
        ...


@dataclass(slots=True)
class Batch:
    """What became of one append: verdicts, and the rows that the log must hold.

    `window_ms` is how far behind its series' newest sample a late one may be; no block has a sample after `past_ms`.
    """

    window_ms: int
    past_ms: int
    accepted: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    rows: list[GroupRow] = field(default_factory=list)
    late_bytes: int = 0

    def reject(self, row: Row, reason: str) -> None:
        """Refuses every sample of a row."""
        self.rejections.extend(
            Rejection(ref, row.time_ms, value, reason)
            for ref, value in zip(row.refs.tolist(), row.values.tolist(), strict=True)
        )
