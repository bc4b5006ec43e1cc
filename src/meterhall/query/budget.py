"""What one query may spend: samples, series, bytes of arrays, and time.

Every evaluator step calls `check` between tiles, so that a timeout or a departed caller stops the work
within a tile. Samples are counted as Prometheus counts them: those that are held at one moment, not
those that were ever read.
"""

import threading
from dataclasses import dataclass

from meterhall.model.errors import Overloaded, QueryCanceled, QueryError, QueryTimeout
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
    # What 50 million samples take in Prometheus; ours may be mostly holes.
    array_bytes_max: int = 800_000_000


class SharedMemory:
    """Bytes that the largest matrices of all running queries may take together. Thread-safe.

    A query holds a few arrays of its largest size at once, so memory is bounded by a multiple of this.
    """

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises Overloaded where running queries have left too little."""
        with self._lock:
            if size > self._left:
                raise Overloaded("running queries hold too much memory; try again later")
            self._left -= size

    def give(self, size: int) -> None:
        """Gives back what was taken."""
        with self._lock:
            self._left += size


class Budget:
    """One query's account. `cancel` may be called from any thread; all else from the query's own."""

    def __init__(
        self,
        limits: QueryLimits,
        clock: Clock,
        timeout_s: float,
        memory: "SharedMemory | None" = None,
    ) -> None:
        self.limits = limits
        self._memory = memory
        self._largest = 0
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
        """Refuse a matrix of float64 before it is allocated. Raises QueryError, Overloaded."""
        limits = self.limits
        size = series * steps * 8
        if steps > limits.steps_max or series > limits.series_max:
            raise QueryError(TOO_MANY_SAMPLES)
        if size > limits.array_bytes_max:
            raise QueryError(TOO_MANY_SAMPLES)
        if self._memory is not None and size > self._largest:
            self._memory.take(size - self._largest)
            self._largest = size
        self.check()

    def close(self) -> None:
        """The query is over: what it took of the shared memory is given back."""
        if self._memory is not None:
            self._memory.give(self._largest)
        self._largest = 0

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
