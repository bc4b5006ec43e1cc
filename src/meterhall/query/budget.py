"""What one query may spend: samples, series, bytes of arrays, and time.

Every evaluator step calls `check` between tiles, so that a timeout or a departed caller stops the work
within a tile. Samples are counted as Prometheus counts them: those that are held at one moment, not
those that were ever read.
"""

import threading
from dataclasses import dataclass

from meterhall.model.errors import QueryCanceled, QueryError, QueryTimeout
from meterhall.ports.clock import Clock

TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Ceilings of one query. `samples_max` is Prometheus' --query.max-samples.

    `steps_max` bounds the grid of a subquery, `series_max` and `array_bytes_max` any one matrix.
    """

    samples_max: int = 50_000_000
    steps_max: int = 10_000_000
    series_max: int = 2_000_000
    array_bytes_max: int = 2 << 30


class Budget:
    """One query's account. `cancel` may be called from any thread; all else from the query's own."""

    def __init__(self, limits: QueryLimits, clock: Clock, timeout_s: float) -> None:
        self.limits = limits
        self.samples_held = 0
        self.samples_peak = 0
        self.samples_read = 0
        self._clock = clock
        self._deadline = clock.monotonic() + timeout_s
        self._canceled = threading.Event()

    def cancel(self) -> None:
        """Stop the query at its next check."""
        self._canceled.set()

    def check(self) -> None:
        """Raise QueryCanceled or QueryTimeout where the query must stop."""
        if self._canceled.is_set():
            raise QueryCanceled("query was canceled in expression evaluation")
        if self._clock.monotonic() >= self._deadline:
            raise QueryTimeout("query timed out in expression evaluation")

    def reserve(self, series: int, steps: int) -> None:
        """Refuse a matrix of float64 before it is allocated."""
        limits = self.limits
        if steps > limits.steps_max or series > limits.series_max:
            raise QueryError(TOO_MANY_SAMPLES)
        if series * steps * 8 > limits.array_bytes_max:
            raise QueryError(TOO_MANY_SAMPLES)
        self.check()

    def read(self, samples: int) -> None:
        """Count samples that came out of the store."""
        self.samples_read += samples

    def hold(self, samples: int) -> None:
        """Count samples that stay in memory until `settle`. Raises QueryError over the limit."""
        self.samples_held += samples
        self.samples_peak = max(self.samples_peak, self.samples_held)
        if self.samples_held > self.limits.samples_max:
            raise QueryError(TOO_MANY_SAMPLES)

    def settle(self, held_before: int, samples: int) -> None:
        """A node is done: its inputs are gone, its result of `samples` remains."""
        self.hold(samples)
        self.samples_held = held_before + samples
