"""Writing samples: what ingestion asks of a store.

A writer is bound to one tenant and is thread-safe. Samples are visible to readers as soon as `append`
returns, and acknowledged only when its `durable` future is done.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from meterhall.model.labels import Labels
from meterhall.model.samples import RefArray, Rejection, Row


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one append.

    `durable` is done once the write-ahead log holds the accepted samples on disk, or
    fails with StoreUnavailable. `forgotten` are refs that the store has dropped since they were interned:
    their samples were not taken; intern again and append those.
    """

    accepted: int
    rejections: Sequence[Rejection]
    forgotten: Sequence[int]
    durable: Future[None]


class SampleWriter(Protocol):
    """One tenant's way in."""

    def intern(
        self, clock: str, series: Sequence[Labels], series_max: int | None = None
    ) -> RefArray:
        """A ref for each label set, made where new. Refs are never reused.

        A new series that would be one more than `series_max` of the tenant's is not made; its ref is REFUSED,
        and no row may hold it.

        `clock` names what the series arrive with (a target, or job and instance of a push); the store may
        lay series of one clock together. A series that exists keeps its ref whatever the clock.
        """
        ...

    def append(self, rows: Sequence[Row], *, any_age: bool = False) -> Appended:
        """Takes rows as one unit: after a crash either all accepted samples are there or none.

        Refused, one by one, as contract 5.7 and 6.2 say: duplicate timestamp with another value, out of
        order beyond the window, too old, too far ahead. A sample repeated bit by bit is accepted and stored
        once. STALE is a value like any other; ordinary NaNs come canonical (NAN_BITS).

        `any_age` is the back-fill right: the window does not bind, so that samples of any age inside
        retention are taken although their series have newer ones. For those who have kept them for us
        (an agent after an outage); all other rules hold.
        Raises StoreUnavailable when the log cannot take it, or so much late data waits for blocks that
        back-fill must wait too.
        """
        ...
