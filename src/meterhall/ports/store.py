"""A store of samples: embedded in this process, or a distributed engine behind the same port."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meterhall.model.matcher import Matcher
from meterhall.model.tenant import Tenant
from meterhall.ports.append import SampleWriter
from meterhall.ports.changes import Changes
from meterhall.ports.series import SeriesReader


@dataclass(frozen=True, slots=True)
class HeadStats:
    """What `/api/v1/status/tsdb` tells about one tenant's recent series.

    Each list holds (name, count), largest first.
    """

    series: int
    label_pairs: int
    chunks: int
    min_time_ms: int
    max_time_ms: int
    series_by_metric: Sequence[tuple[str, int]]
    values_by_label: Sequence[tuple[str, int]]
    bytes_by_label: Sequence[tuple[str, int]]
    series_by_pair: Sequence[tuple[str, int]]


class Store(Protocol):
    """Hands out readers and writers that are bound to one tenant. Thread-safe."""

    def reader(self, tenant: Tenant) -> SeriesReader: ...

    def writer(self, tenant: Tenant) -> SampleWriter: ...

    def changes(self, tenant: Tenant) -> Changes: ...

    def head_stats(self, tenant: Tenant, limit: int) -> HeadStats: ...

    def active_series(self, tenant: Tenant) -> int:
        """How many series the tenant has in memory; costs next to nothing."""
        ...

    def delete(
        self, tenant: Tenant, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> None:
        """Deletes samples, both ends included. On disk, and out of every later answer, when it returns.

        What is appended afterwards stays, whatever its time. Raises StoreUnavailable, or LimitExceeded where too
        many deletions of the tenant wait for their space; then nothing is gone.
        """
        ...

    def clean(self, tenant: Tenant) -> None:
        """Gives the space of the tenant's deleted samples back now. Raises StoreUnavailable."""
        ...

    def close(self) -> None:
        """Waits for appends in hand, makes everything durable, releases the directory."""
        ...
