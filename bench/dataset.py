"""The data set: hosts with the 500 series of a node_exporter page each, 15 s apart, as a fleet really looks.

`node_series.tsv` names the series and how each behaves; here is what the behaviours mean. Everything of one
host hangs together: its load moves processors, packets, interrupts and latencies, a reboot resets its
counters, and all series of a host share their scrapes' times. Half of the series are constant, four fifths of
the values are whole numbers. The same size gives the same data, on any machine.

A behaviour is a function of the fleet and of the arguments in the table; it returns float64[hosts, scrapes].
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import erf, log, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Times = NDArray[np.int64]

START_MS = 1_795_305_600_000  # 2026-11-22T00:00:00Z; a multiple of two hours, where Prometheus cuts its blocks.
STEP_MS = 15_000
SEED = 20_261_122

BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
PROCESSORS = ("0", "1", "2", "3")
FILESYSTEMS = (
    ("/dev/vda1", "ext4", "/"),
    ("/dev/vda15", "vfat", "/boot/efi"),
    ("/dev/vdb", "ext4", "/var"),
    ("/dev/vdc", "xfs", "/var/lib/docker"),
    ("/dev/vdd", "xfs", "/data"),
    ("/dev/vde", "ext4", "/home"),
    ("tmpfs", "tmpfs", "/run"),
    ("tmpfs", "tmpfs", "/run/lock"),
    ("tmpfs", "tmpfs", "/tmp"),
    ("/dev/vdf", "ext4", "/srv/backup"),
)
LIVE_MOUNTS = {"/", "/var", "/var/lib/docker", "/data", "/home", "/srv/backup"}
BUSY_MOUNTS = {"/var", "/var/lib/docker", "/data"}


@dataclass(frozen=True)
class DataSet:
    """`values[h, s, t]` is series `s` of host `h` at its scrape `t`, at `times_ms[h, t]`."""

    times_ms: Times
    values: Values
    templates: tuple["Template", ...]

    @property
    def hosts(self) -> int:
        return len(self.values)

    @property
    def samples(self) -> int:
        return self.values.size

    def labels(self, host: int, series: int) -> dict[str, str]:
        """Of one series, in the order that senders must keep: by name."""
        template = self.templates[series]
        labels = {"__name__": template.name, "job": "node", "instance": instance(host)}
        labels |= template.labels
        if template.name == "node_uname_info":
            labels["nodename"] = f"host-{host:03d}"
        if template.name == "node_network_info":
            labels["address"] = f"02:fc:00:00:{host >> 8:02x}:{host & 255:02x}"
        return dict(sorted(labels.items()))


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


def instance(host: int) -> str:
    return f"host-{host:03d}:9100"


def make(hosts: int, hours: float) -> DataSet:
    """The data set of that size; 72 million samples are 580 MB."""
    scrapes = int(hours * 3_600_000 / STEP_MS)
    templates = tuple(_templates())
    fleet = Fleet(hosts, scrapes)
    values = np.empty((hosts, len(templates), scrapes))
    for index, template in enumerate(templates):
        behave = _BEHAVIOURS[template.behaviour]
        values[:, index, :] = behave(fleet, template, *template.arguments)
    return DataSet(fleet.times_ms, values, templates)


def _templates() -> list[Template]:
    templates: list[Template] = []
    for line in (Path(__file__).parent / "node_series.tsv").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        series, behaviour = line.split("\t")
        name, _, inside = series.partition("{")
        pairs = [pair.split('="') for pair in inside.removesuffix('"}').split('",') if pair]
        kind, *arguments = behaviour.split()
        templates += [
            Template(name, labels, kind, tuple(arguments)) for labels in _expanded(dict(pairs))
        ]
    return templates


def _expanded(labels: dict[str, str]) -> list[dict[str, str]]:
    if labels.get("cpu") == "*":
        return [labels | {"cpu": processor} for processor in PROCESSORS]
    if "filesystem" in labels:
        names = ("device", "fstype", "mountpoint")
        return [dict(zip(names, place, strict=True)) for place in FILESYSTEMS]
    return [labels]


class Fleet:
    """What the series of a host have in common: its scrapes, its load, its reboots, its sizes."""

    def __init__(self, hosts: int, scrapes: int) -> None:
        self.hosts, self.scrapes = hosts, scrapes
        self.shape = (hosts, scrapes)
        random = np.random.default_rng([SEED, 1])
        offsets = random.integers(0, STEP_MS, (hosts, 1))
        # Most scrapes are on the millisecond; the others some milliseconds late.
        late = np.minimum(random.exponential(3.0, self.shape), 60).astype(np.int64)
        late[random.random(self.shape) < 0.7] = 0
        self.times_ms: Times = START_MS + offsets + np.arange(scrapes) * STEP_MS + late
        first = self.times_ms[:, :1] - STEP_MS
        self.seconds: Values = np.diff(self.times_ms, axis=1, prepend=first) / 1000.0
        self.load = self._load(random)
        self.busy = np.clip(self.load * 0.12, 0.01, 0.93)
        self.reboots = self._moments(random, 0.12)
        self.restarts = np.where(
            random.random(hosts) < 0.05, self._moments(random, 1), self.reboots
        )
        self.memory = random.choice([8, 16, 32, 64], hosts) * 1024.0**3
        self.memory -= random.integers(100, 500, hosts) * 65_536.0

    def _load(self, random: np.random.Generator) -> Values:
        """Around 1: a slow wave, noise that remembers, some bursts; hosts differ in size."""
        seconds = np.arange(self.scrapes) * STEP_MS / 1000.0
        phase = random.uniform(0, 2 * np.pi, (self.hosts, 1))
        load = 1 + 0.35 * np.sin(2 * np.pi * seconds / 21_600 + phase)
        load += remembering(random, self.shape, 0.95, 0.06)
        for row in load:
            for _ in range(random.integers(1, 6)):
                begin = random.integers(0, self.scrapes)
                row[begin : begin + random.integers(4, 60)] += random.uniform(0.5, 2.5)
        return np.maximum(load, 0.05) * random.lognormal(0, 0.5, (self.hosts, 1))

    def _moments(self, random: np.random.Generator, share: float) -> Times:
        """A scrape for that share of the hosts; for the others one that never comes."""
        moments = random.integers(self.scrapes // 10, self.scrapes, self.hosts)
        return np.where(random.random(self.hosts) < share, moments, self.scrapes)

    def random(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([SEED, *key])

    def counter(self, increments: Values, start: Values | float, resets: Times) -> Values:
        total = np.cumsum(increments, axis=1)
        counter: Values = total + np.broadcast_to(start, (self.hosts, 1))
        for host in np.flatnonzero(resets < self.scrapes):
            at = resets[host]
            counter[host, at:] = total[host, at:] - (total[host, at - 1] if at else 0)
        return counter

    @cached_property
    def modes(self) -> dict[str, dict[str, Values]]:
        """Seconds of each processor in each mode, between scrapes."""
        return {cpu: self._modes_of(self.random(11, int(cpu))) for cpu in PROCESSORS}

    def _modes_of(self, random: np.random.Generator) -> dict[str, Values]:
        skew = random.uniform(0.6, 1.4, (self.hosts, 1))
        busy = np.clip(self.busy * skew + random.normal(0, 0.02, self.shape), 0.003, 0.97)
        modes = {
            "user": busy * 0.62,
            "system": busy * 0.27,
            "softirq": busy * 0.02,
            "iowait": np.maximum(random.normal(0.004, 0.004, self.shape), 0),
            "steal": np.where(random.random(self.shape) < 0.15, 0.0007, 0),
            "nice": np.where(random.random(self.shape) < 0.02, 0.0007, 0),
            "irq": np.zeros(self.shape),
        }
        modes["idle"] = np.maximum(1 - sum(modes.values()), 0)
        return {mode: np.round(share * self.seconds, 2) for mode, share in modes.items()}

    @cached_property
    def requests(self) -> tuple[Values, Values, Values]:
        """Of the histogram: requests by scrape and bucket, those before, and seconds by scrape."""
        random = self.random(13)
        counts = random.poisson(self.load * 600)
        increments = np.empty((*self.shape, len(BUCKETS)))
        before = np.empty((self.hosts, len(BUCKETS)))
        seconds = np.empty(self.shape)
        for host in range(self.hosts):
            middle, spread = log(random.uniform(0.02, 0.2)), random.uniform(0.6, 1.2)
            below = [
                (1 + erf((log(float(bound)) - middle) / (spread * sqrt(2)))) / 2
                for bound in BUCKETS[:-1]
            ]
            shares = np.diff([0, *below, 1])
            increments[host] = random.multinomial(counts[host], shares).cumsum(axis=1)
            before[host] = random.multinomial(random.integers(10**5, 10**7), shares).cumsum()
            mean = np.exp(middle + spread**2 / 2)
            noise = random.normal(1, 0.05, self.scrapes)
            seconds[host] = np.maximum(np.round(counts[host] * mean * noise, 9), 0)
        return increments, before, seconds

    @cached_property
    def filesystems(self) -> dict[str, tuple[Values, Values]]:
        """Of each mount point: size and free bytes."""
        return {
            mount: self._filesystem(self.random(17, index), mount)
            for index, (_, _, mount) in enumerate(FILESYSTEMS)
        }

    def _filesystem(self, random: np.random.Generator, mount: str) -> tuple[Values, Values]:
        if mount in LIVE_MOUNTS:
            size = random.integers(5, 500, (self.hosts, 1)) * 1024.0**3
            often = random.random(self.shape) < (0.9 if mount in BUSY_MOUNTS else 0.25)
            pages = np.floor(random.normal(-300, 1500, self.shape) * often)
        else:
            size = random.integers(50, 800, (self.hosts, 1)) * 1024.0**2
            often = random.random(self.shape) < 0.01
            pages = random.integers(-5, 6, self.shape) * often
        first = np.floor(size * random.uniform(0.2, 0.8, (self.hosts, 1)) / 4096)
        free = np.clip(first + np.cumsum(pages, axis=1), 100, size / 4096) * 4096
        return np.broadcast_to(size, self.shape), free


def remembering(
    random: np.random.Generator, shape: tuple[int, int], memory: float, spread: float
) -> Values:
    """An autoregressive process of the first order, started at zero."""
    noise = random.normal(0, spread, shape)
    for at in range(1, shape[1]):
        noise[:, at] += memory * noise[:, at - 1]
    return noise


Behaviour = Callable[..., Values]
_BEHAVIOURS: dict[str, Behaviour] = {}


def _behaviour(behave: Behaviour) -> Behaviour:
    _BEHAVIOURS[behave.__name__.strip("_")] = behave
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
