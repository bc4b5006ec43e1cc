"""What the series of one host have in common: its scrapes, its load, its reboots, its disks and processors.

Everything is float64 or int64 of shape [hosts, scrapes], for all hosts at once.
"""

from functools import cached_property
from math import erf, log, sqrt

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
