"""The demo service that the PromLabs compliance queries assume, as samples: 3 instances, 5 s apart.

Shapes only: counters that grow and reset, a sawtooth, random walks, classic histograms with outages, and
a metric that comes and goes with staleness markers.
"""

from collections.abc import Iterator

import numpy as np

from meterhall.model.labels import Labels, make_labels
from meterhall.model.samples import STALE

Sample = tuple[int, float]
Entry = tuple[Labels, list[Sample]]

INTERVAL_MS = 5_000
HOURS = 1.4
BOUNDS = [0.0001 * 1.5**power for power in range(25)]
ENDPOINTS = [
    *(
        (method, path, status)
        for method in ("GET", "POST")
        for path in ("/api/foo", "/api/bar")
        for status in ("200", "500")
    ),
    ("GET", "/api/nonexistent", "404"),
]


def demo_series(end_ms: int, rng: np.random.Generator) -> Iterator[Entry]:
    """All series, up to a minute after `end_ms`."""
    count = int(HOURS * 3_600_000 / INTERVAL_MS)
    for port in range(10_000, 10_003):
        phase = int(rng.integers(0, INTERVAL_MS))
        times = end_ms + 60_000 + phase - INTERVAL_MS * np.arange(count, 0, -1)
        jitter = rng.integers(-3, 4, count) * (rng.random(count) < 0.2)
        instance = _Instance(times + jitter, f"demo.promlabs.com:{port}", rng)
        yield from instance.series()


class _Instance:
    def __init__(self, times: np.ndarray, name: str, rng: np.random.Generator) -> None:
        self._times = times
        self._name = name
        self._rng = rng

    def series(self) -> Iterator[Entry]:
        count = len(self._times)
        rng = self._rng
        yield self._entry("up", np.ones(count))
        yield self._entry("demo_num_cpus", np.full(count, 4.0))
        for mode, share in (("user", 0.3), ("system", 0.2), ("idle", 3.5)):
            growth = np.cumsum(share * 5 * (1 + 0.3 * rng.standard_normal(count)).clip(0.1))
            growth[count // 2 :] -= growth[count // 2] * (mode != "idle")
            yield self._entry("demo_cpu_usage_seconds_total", growth, mode=mode)
        yield from self._memory()
        walk = 16e9 + np.cumsum(rng.uniform(0.25e6, 0.75e6, count) * 5) % 2e9
        yield self._entry("demo_disk_usage_bytes", walk)
        yield self._entry("demo_disk_total_bytes", np.full(count, 160e9))
        yield self._entry(
            "demo_api_http_requests_in_progress", rng.integers(0, 4, count).astype(float)
        )
        for method, path, status in ENDPOINTS:
            yield from self._requests(method=method, path=path, status=status)
        yield from self._batch()
        yield from self._shop()

    def _entry(self, metric: str, values: np.ndarray, **labels: str) -> Entry:
        names = {"__name__": metric, "job": "demo", "instance": self._name, **labels}
        return make_labels(names), list(zip(self._times.tolist(), values.tolist(), strict=True))

    def _memory(self) -> Iterator[Entry]:
        count = len(self._times)
        free = np.full(count, 8192.0 * 2**20)
        for kind, base in (("used", 1200), ("cached", 2500), ("buffers", 165)):
            walk = np.cumsum(self._rng.uniform(-30, 30, count))
            level = (base * 2**20 + np.clip(walk, -base / 2, base / 2) * 2**20).round()
            free -= level
            yield self._entry("demo_memory_usage_bytes", level, type=kind)
        yield self._entry("demo_memory_usage_bytes", free, type="free")

    def _requests(self, **labels: str) -> Iterator[Entry]:
        count = len(self._times)
        rate = 50 * (1.2 + np.sin(self._times / 3.6e6 * 2 * np.pi))
        if labels["status"] != "200":
            rate = rate * 0.02
        latency = 0.01 * (1 + 2 * (np.arange(count) // 60 % 10 == 0))
        total, seconds = np.zeros(len(BOUNDS) + 1), 0.0
        rows = np.empty((count, len(BOUNDS) + 1))
        sums = np.empty(count)
        for index in range(count):
            seen = self._rng.gamma(4, latency[index] / 4, int(self._rng.poisson(rate[index])))
            total += np.searchsorted(np.sort(seen), [*BOUNDS, np.inf], side="right")
            seconds += float(seen.sum())
            rows[index], sums[index] = total, seconds
        for column, bound in enumerate([*map(repr, BOUNDS), "+Inf"]):
            metric = "demo_api_request_duration_seconds_bucket"
            yield self._entry(metric, rows[:, column], le=bound, **labels)
        yield self._entry("demo_api_request_duration_seconds_sum", sums, **labels)
        yield self._entry("demo_api_request_duration_seconds_count", rows[:, -1], **labels)

    def _batch(self) -> Iterator[Entry]:
        runs = self._times // 60_000 * 60.0
        failed = self._rng.random(int(runs.max() // 60) + 1) < 0.25
        success = runs.copy()
        for index in range(len(runs)):
            if failed[int(runs[index]) // 60]:
                success[index] = success[index - 1] if index else runs[0] - 60
        yield self._entry("demo_batch_last_run_timestamp_seconds", runs)
        yield self._entry("demo_batch_last_success_timestamp_seconds", success)
        yield self._entry("demo_batch_last_run_duration_seconds", runs % 7 + 3)
        yield self._entry("demo_batch_last_run_processed_bytes", runs % 1013 * 1e3)

    def _shop(self) -> Iterator[Entry]:
        holiday = (self._rng.random(len(self._times)) < 0.2).astype(float)
        yield self._entry("demo_is_holiday", holiday)
        yield self._entry(
            "demo_items_shipped_total", np.cumsum(self._rng.poisson(3, len(holiday))).astype(float)
        )
        labels, samples = self._entry("demo_intermittent_metric", np.ones(len(self._times)))
        kept: list[Sample] = []
        for time_ms, value in samples:
            if time_ms // 60_000 % 2 == 0:
                kept.append((time_ms, value))
            elif kept and kept[-1][1] == value:
                kept.append((time_ms, STALE))
        yield labels, kept
