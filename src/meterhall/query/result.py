"""What a query answers, as arrays; `web` turns it into JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meterhall.model.labels import Labels
from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.ports.series import HeldSeries


@dataclass(frozen=True, slots=True)
class ScalarResult:
    """A scalar at one instant."""

    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class StringResult:
    """A string at one instant."""

    time_ms: int
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class VectorResult:
    """An instant vector: `values[S]` at one time. Order is meaningful after sort and topk."""

    time_ms: int
    labels: Sequence[Labels]
    values: ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class GridResult:
    """A range query's answer, sorted by labels: `values[S, T]` over the step grid `times[T]`.

    `present[S, T]` is False where a series has no point; None promises that all are there. Every series
    has at least one point.
    """

    labels: Sequence[Labels]
    times: TimestampArray
    values: ValueArray
    present: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, eq=False)
class RaggedResult:
    """An instant query of a range vector, sorted by labels: raw samples with their own times."""

    labels: Sequence[Labels]
    times: Sequence[TimestampArray]
    values: Sequence[ValueArray]


@dataclass(frozen=True, slots=True, eq=False)
class HeldRange:
    """A range query of a few series that is answered while it is written: samples in memory, sorted by labels.

    Step n of `count` is at `start_ms + n * step_ms` and shows the last sample in (look - lookback, look], where look is
    `look_ms + n * stride_ms`, unless that is STALE. There may be series without a point.
    """

    series: Sequence[HeldSeries]
    start_ms: int
    step_ms: int
    count: int
    look_ms: int
    stride_ms: int
    lookback_ms: int


QueryValue = ScalarResult | StringResult | VectorResult | GridResult | RaggedResult


@dataclass(frozen=True, slots=True)
class QueryResult:
    """An answer with its annotations, each already in Prometheus' words and with its position."""

    value: QueryValue
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()
    samples_read: int = 0
    samples_peak: int = 0
    timings_s: dict[str, float] = field(default_factory=dict)
