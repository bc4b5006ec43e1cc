"""How a series behaves: the second column of `node_series.tsv`, each word a function of that name.

A behaviour takes the fleet, the series and the arguments in the table, and returns float64[hosts, scrapes].
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.fleet import BUCKETS, LIVE_MOUNTS, START_MS, Fleet, Times, Values, remembering


@dataclass(frozen=True)
class Template:
    """A series of every host."""

    name: str
    labels: dict[str, str]
    behaviour: str
    arguments: tuple[str, ...]

    @property
    def seed(self) -> int:
        return zlib.crc32(repr((self.name, sorted(self.labels.items()))).encode())


Behaviour = Callable[..., Values]
BEHAVIOURS: dict[str, Behaviour] = {}


def _behaviour(behave: Behaviour) -> Behaviour:
    BEHAVIOURS[behave.__name__.strip("_")] = behave
    return behave


def _draw(fleet: Fleet, template: Template) -> tuple[np.random.Generator, Values]:
    """Randomness of one series, and how far each host is from the ordinary in it."""
    random = fleet.random(template.seed)
    return random, random.lognormal(0, 0.4, (fleet.hosts, 1))


@_behaviour
def _constant(fleet: Fleet, _: Template, value: str) -> Values:
    return np.full(fleet.shape, float(value))


@_behaviour
def _first(fleet: Fleet, _: Template, value: str) -> Values:
    values = np.zeros(fleet.shape)
    values[:, 0] = float(value)
    return values


@_behaviour
def _cpu(fleet: Fleet, template: Template, mode: str, start: str) -> Values:
    _, scale = _draw(fleet, template)
    seconds = fleet.modes[template.labels["cpu"]][mode]
    return np.round(fleet.counter(seconds, np.round(float(start) * scale, 2), fleet.reboots), 2)


@_behaviour
def _histogram_bucket(fleet: Fleet, __: Template, bound: str) -> Values:
    increments, before, _ = fleet.requests
    at = BUCKETS.index(bound)
    return fleet.counter(increments[:, :, at], before[:, at : at + 1], fleet.restarts)


@_behaviour
def _histogram_count(fleet: Fleet, template: Template) -> Values:
    return _histogram_bucket(fleet, template, "+Inf")


@_behaviour
def _histogram_sum(fleet: Fleet, __: Template) -> Values:
    _, before, seconds = fleet.requests
    return fleet.counter(seconds, before[:, -1:] * 0.09, fleet.restarts)


def _whole(random: np.random.Generator, low: int, high: int, shape: tuple[int, int]) -> Values:
    return random.integers(low, high, shape).astype(np.float64)


def _events(fleet: Fleet, random: np.random.Generator, mean: Values, rate: float) -> Values:
    """Whole numbers of a mean; what happens often comes in bunches."""
    bunches = random.gamma(6, 1 / 6, fleet.shape) if rate > 100 else 1.0
    return random.poisson(mean * bunches).astype(np.float64)


@_behaviour
def _count(fleet: Fleet, template: Template, rate: str, start: str, unit: str = "1") -> Values:
    random, scale = _draw(fleet, template)
    mean = fleet.load * float(rate) * scale * 15
    increments = _events(fleet, random, mean, float(rate)) * float(unit)
    return fleet.counter(increments, np.floor(float(start) * scale), fleet.reboots)


@_behaviour
def _exporter_count(fleet: Fleet, template: Template, rate: str) -> Values:
    random, scale = _draw(fleet, template)
    mean = fleet.load * float(rate) * scale * 15
    start = _whole(random, 10, 10**6, (fleet.hosts, 1))
    return fleet.counter(_events(fleet, random, mean, float(rate)), start, fleet.restarts)


@_behaviour
def _scrape_count(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    start = _whole(random, 10, 10**6, (fleet.hosts, 1))
    return fleet.counter(np.ones(fleet.shape), start, fleet.restarts)


@_behaviour
def _disk_bytes(fleet: Fleet, template: Template, rate: str) -> Values:
    random, scale = _draw(fleet, template)
    pages: Values = random.poisson(fleet.load * float(rate) * scale * 15).astype(np.float64)
    start = _whole(random, 10**6, 10**8, (fleet.hosts, 1)) * 512
    return fleet.counter(pages * 4096, start, fleet.reboots)


@_behaviour
def _network_bytes(fleet: Fleet, template: Template, rate: str) -> Values:
    random, scale = _draw(fleet, template)
    bunches = random.gamma(8, 1 / 8, fleet.shape)
    start = _whole(random, 10**8, 10**12, (fleet.hosts, 1))
    bytes_: Values = np.floor(fleet.load * float(rate) * scale * 15 * bunches)
    return fleet.counter(bytes_, start, fleet.reboots)


@_behaviour
def _rare(fleet: Fleet, template: Template) -> Values:
    """An error counter: nearly all of them stay where they are."""
    random, _ = _draw(fleet, template)
    seldom = random.random((fleet.hosts, 1)) < 0.05
    increments = random.poisson(0.01, fleet.shape) * seldom
    start = _whole(random, 0, 50, (fleet.hosts, 1)) * (random.random((fleet.hosts, 1)) < 0.3)
    return fleet.counter(increments.astype(np.float64), start, fleet.reboots)


@_behaviour
def _busy_seconds(
    fleet: Fleet, template: Template, share: str, decimals: str, start: str
) -> Values:
    random, scale = _draw(fleet, template)
    bunches = random.gamma(3, 1 / 3, fleet.shape)
    seconds = np.round(fleet.load * float(share) * scale * 15 * bunches, int(decimals))
    return np.round(fleet.counter(seconds, float(start), fleet.reboots), int(decimals))


@_behaviour
def _process_seconds(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    seconds: Values = random.poisson(2.5, fleet.shape) / 100.0
    return np.round(fleet.counter(seconds, 0, fleet.restarts), 2)


@_behaviour
def _allocated(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    start = _whole(random, 10**7, 10**11, (fleet.hosts, 1))
    increments = np.floor(random.normal(900_000, 30_000, fleet.shape))
    return fleet.counter(increments, start, fleet.restarts)


@_behaviour
def _sawtooth(
    fleet: Fleet, template: Template, floor: str, rise: str, spread: str, fall: str
) -> Values:
    # go_memstats_alloc_bytes and go_memstats_heap_alloc_bytes always agree in a real exporter.
    name = template.name.replace("heap_alloc", "alloc")
    random = fleet.random(zlib.crc32(name.encode()))
    total = np.cumsum(random.normal(float(rise), float(spread), fleet.shape), axis=1)
    return np.floor(float(floor) + np.mod(total, float(fall)))


@_behaviour
def _drift(
    fleet: Fleet, template: Template, middle: str, memory: str, spread: str, unit: str
) -> Values:
    random, _ = _draw(fleet, template)
    moves = np.round(remembering(random, fleet.shape, float(memory), float(spread)))
    return float(middle) + moves * float(unit)


@_behaviour
def _level(
    fleet: Fleet, template: Template, mean: str, spread: str, unit: str, factor: str = "1"
) -> Values:
    random, scale = _draw(fleet, template)
    moves = remembering(random, fleet.shape, 0.85, float(spread))
    levels = np.round((float(mean) * scale + moves) / float(unit)) * float(unit)
    return np.maximum(levels, 0) * float(factor)


@_behaviour
def _held(fleet: Fleet, template: Template, scrapes: str) -> Values:
    random, _ = _draw(fleet, template)
    draws = np.round(random.lognormal(-9, 0.7, (fleet.hosts, fleet.scrapes // int(scrapes) + 1)), 9)
    return np.repeat(draws, int(scrapes), axis=1)[:, : fleet.scrapes]


@_behaviour
def _held_sum(fleet: Fleet, template: Template, scrapes: str) -> Values:
    random, _ = _draw(fleet, template)
    draws = random.lognormal(-9, 0.7, (fleet.hosts, fleet.scrapes // int(scrapes) + 1))
    sums: Values = np.cumsum(draws, axis=1).round(9)
    return np.repeat(sums, int(scrapes), axis=1)[:, : fleet.scrapes]


@_behaviour
def _last_collection(fleet: Fleet, template: Template) -> Values:
    """A collection every two minutes, told as seconds since 1970 with seven decimals."""
    random, _ = _draw(fleet, template)
    fraction = 0.123456 + random.random((fleet.hosts, 1))
    return np.round((fleet.times_ms - fleet.times_ms % 120_000) / 1000 + fraction, 7)


@_behaviour
def _duration(fleet: Fleet, template: Template, middle: str, spread: str) -> Values:
    random, _ = _draw(fleet, template)
    return np.round(float(middle) * np.exp(random.normal(0, float(spread), fleet.shape)), 9)


@_behaviour
def _now(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    return np.round(fleet.times_ms / 1000 + random.uniform(0.001, 0.012, fleet.shape), 7)


def _since(fleet: Fleet, before: Values, moments: Times) -> Values:
    """A moment that holds until the next one begins."""
    values = np.broadcast_to(before, fleet.shape).copy()
    for host in np.flatnonzero(moments < fleet.scrapes):
        values[host, moments[host] :] = fleet.times_ms[host, moments[host]] // 1000
    return values


@_behaviour
def _boot(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    before = START_MS // 1000 - random.integers(10**5, 10**7, (fleet.hosts, 1))
    return _since(fleet, before.astype(np.float64), fleet.reboots)


@_behaviour
def _exporter_start(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    before = START_MS / 1000 - random.uniform(10**5, 10**6, (fleet.hosts, 1))
    return _since(fleet, np.round(before, 2), fleet.restarts)


@_behaviour
def _load(fleet: Fleet, _: Template, weight: str) -> Values:
    source = fleet.busy * 4 + np.abs(fleet.random(19).normal(0, 0.4, fleet.shape))
    values = source.copy()
    for at in range(1, fleet.scrapes):
        step = float(weight) * (source[:, at] - values[:, at - 1])
        values[:, at] = values[:, at - 1] + step
    return np.round(values, 2)


@_behaviour
def _noise(fleet: Fleet, template: Template, mean: str, spread: str, decimals: str) -> Values:
    random, _ = _draw(fleet, template)
    return np.round(random.normal(float(mean), float(spread), fleet.shape), int(decimals))


@_behaviour
def _clock_error(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    growth = np.arange(fleet.scrapes) * 0.0075 + random.random((fleet.hosts, 1)) * 0.5
    return np.round(0.005 + np.mod(growth, 0.512), 6)


@_behaviour
def _clock_rate(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    moves = remembering(random, (fleet.hosts, fleet.scrapes // 20 + 1), 0.9, 1e-7)
    return np.round(1 + 1e-5 + np.repeat(moves, 20, axis=1)[:, : fleet.scrapes], 12)


@_behaviour
def _memory_total(fleet: Fleet, _: Template) -> Values:
    return np.broadcast_to(fleet.memory[:, None], fleet.shape)


@_behaviour
def _memory(fleet: Fleet, template: Template, share: str) -> Values:
    random, _ = _draw(fleet, template)
    part, total = float(share), fleet.memory[:, None]
    noise = remembering(random, fleet.shape, 0.97, max(part * 0.004, 2e-7))
    pull = 0.02 * (fleet.load - fleet.load.mean(axis=1, keepdims=True)) * part
    shares: Values = np.clip(part + noise - pull, 1e-6, 0.99)
    return np.floor(total * shares / 4096) * 4096


@_behaviour
def _writeback(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    pages = _whole(random, 1, 400, fleet.shape)
    return np.where(random.random(fleet.shape) < 0.04, pages * 4096, 0.0)


@_behaviour
def _page_steps(fleet: Fleet, template: Template, start: str) -> Values:
    random, _ = _draw(fleet, template)
    steps = _whole(random, -3, 5, fleet.shape) * (random.random(fleet.shape) < 0.01)
    return np.maximum(float(start) + np.cumsum(steps, axis=1) * 4096, 0)


@_behaviour
def _disk_size(fleet: Fleet, template: Template) -> Values:
    return fleet.filesystems[template.labels["mountpoint"]][0]


@_behaviour
def _disk_free(fleet: Fleet, template: Template) -> Values:
    return fleet.filesystems[template.labels["mountpoint"]][1]


@_behaviour
def _disk_available(fleet: Fleet, template: Template) -> Values:
    mount = template.labels["mountpoint"]
    size, free = fleet.filesystems[mount]
    kept = np.floor(size * 0.05 / 4096) * 4096 if mount in LIVE_MOUNTS else 0.0
    return np.maximum(free - kept, 0)


@_behaviour
def _disk_files(fleet: Fleet, template: Template) -> Values:
    return np.floor(_disk_size(fleet, template) / 16_384)


@_behaviour
def _disk_files_free(fleet: Fleet, template: Template) -> Values:
    random, _ = _draw(fleet, template)
    used: Values = np.zeros(fleet.shape)
    if template.labels["mountpoint"] in LIVE_MOUNTS:
        used += random.poisson(0.8, fleet.shape)
        used -= random.poisson(0.78, fleet.shape)
    return np.floor(_disk_files(fleet, template) * 0.9) - np.cumsum(used, axis=1)
