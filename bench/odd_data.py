"""Small data with every oddity, for the random queries of `promql_fuzz`.

Counters with resets, gaps, stale markers, NaN, infinities, tiny and huge values, series that end or begin
in the middle, targets with clocks of their own, and histograms that are not quite whole.
"""

from collections.abc import Iterator

import numpy as np

from bench.promlabs_data import Entry, Sample
from meterhall.model.labels import make_labels
from meterhall.model.samples import NAN, STALE

COUNT = 200
_KINDS = ("c_total", "g", "odd", "huge", "tiny", "state")


def odd_series(end_ms: int, rng: np.random.Generator) -> Iterator[Entry]:
    """All series; the newest samples are within 30 s before `end_ms`."""
    for index in range(36):
        interval = (5_000, 15_000, 30_000)[(index // 6 + index) % 3]
        times = end_ms - interval * np.arange(COUNT, 0, -1) + int(rng.integers(0, interval))
        name = _KINDS[index % len(_KINDS)]
        labels = {"__name__": name, "i": str(index // 12), "j": "xyz"[index // 6 % 3]}
        if index % 5 == 0:
            labels["k"] = "only"
        kept = rng.random(COUNT) > 0.1
        yield make_labels(labels), _samples(times[kept], _values(name, rng)[kept], rng)
    yield from _sparse(end_ms, rng)
    yield from _histograms(end_ms, rng)


def _values(name: str, rng: np.random.Generator) -> np.ndarray:
    if name == "c_total":
        values = np.cumsum(rng.integers(0, 10, COUNT)).astype(float)
        for reset in rng.integers(0, COUNT, 3):
            values[reset:] -= values[reset]
        return values
    if name == "g":
        return rng.normal(0, 10, COUNT).round(2)
    if name == "odd":
        choices = [0.0, -0.0, 1.0, -1.0, 2.0, NAN, np.inf, -np.inf, 0.1]
        return rng.choice(choices, COUNT, p=[0.2, 0.05, 0.3, 0.1, 0.2, 0.03, 0.02, 0.02, 0.08])
    if name == "tiny":
        return rng.choice([5e-324, -5e-324, 2.3e-308, 1e-310, 1e-300, 0.0], COUNT)
    if name == "state":
        return rng.integers(0, 3, COUNT).astype(float)
    # No two alike: sums that cancel depend on the order in the store.
    return rng.choice([1e300, -1e300, 9.9e307, -9.9e307], COUNT) * rng.uniform(0.5, 1, COUNT)


def _samples(
    times: np.ndarray, values: np.ndarray, rng: np.random.Generator | None
) -> list[Sample]:
    found = list(zip(times.tolist(), values.tolist(), strict=True))
    if rng is not None:
        for index in rng.integers(0, len(found), 4).tolist():
            found[index] = (found[index][0], STALE)
    return found


def _sparse(end_ms: int, rng: np.random.Generator) -> Iterator[Entry]:
    """Gaps about as long as the lookback, ends and beginnings in the middle, single samples."""
    shapes = {
        "gaps": end_ms - np.array([1_500_000, 1_200_000, 899_999, 600_000, 299_999, 0]),
        "first": end_ms - 900_000 + 10_000 * np.arange(30),
        "second": end_ms - 500_000 + 10_000 * np.arange(50),
        "single": end_ms - np.array([300_000]),
        "jitter": np.sort(end_ms - rng.choice(900_000, 120, replace=False)),
    }
    for number, (kind, times) in enumerate(shapes.items()):
        labels = {"__name__": "sparse", "kind": kind, "i": str(number % 3)}
        values = np.cumsum(rng.integers(0, 5, len(times))).astype(float)
        yield make_labels(labels), _samples(times, values, None)


def _histograms(end_ms: int, rng: np.random.Generator) -> Iterator[Entry]:
    for index in range(2):
        times = end_ms - 15_000 * np.arange(COUNT, 0, -1) + index * 1_000
        counts = np.cumsum(rng.integers(0, 4, (COUNT, 5)), axis=0).cumsum(axis=1).astype(float)
        if index:
            counts[COUNT // 2 :] -= counts[COUNT // 2]
            counts[::7, 2] -= 5
        for column, bound in enumerate(("0.1", "0.5", "1", "5", "+Inf")):
            labels = {"__name__": "h_bucket", "le": bound, "i": str(index)}
            yield make_labels(labels), _samples(times, counts[:, column], None)
    shapes = {
        "endless": ("1", "2", "4"),
        "twice": ("1", "1.0", "2", "+Inf"),
        "below": ("-2", "-1", "0", "3", "+Inf"),
        "alone": ("+Inf",),
        "worded": ("1", "one", "+Inf", ""),
        "holes": ("1", "2", "4", "+Inf"),
        "nan": ("1", "2", "+Inf"),
        "empty": ("1", "+Inf"),
        "hex": ("0x1p-2", "1e0", "Inf"),
    }
    times = end_ms - 15_000 * np.arange(COUNT, 0, -1)
    for kind, bounds in shapes.items():
        counts = rng.integers(0, 4, (COUNT, len(bounds))).cumsum(axis=0).cumsum(axis=1) * 1.0
        if kind == "nan":
            counts[rng.random(counts.shape) < 0.05] = NAN
        if kind == "empty":
            counts[:] = 0
        for column, bound in enumerate(bounds):
            labels = {"__name__": "x_bucket", "le": bound, "i": kind}
            kept = rng.random(COUNT) > (0.3 if kind == "holes" else 0)
            source = rng if kind == "holes" else None
            yield make_labels(labels), _samples(times[kept], counts[kept, column], source)
