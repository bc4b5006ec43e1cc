"""kill -9 at random moments: everything acknowledged is there exactly once, nothing is invented, what was deleted stays away.

METERHALL_CRASH_ROUNDS is how often; `make torture` asks for 200 and prints the tally.
"""

import os
import random
import signal
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from tests.tsdb.crash_writer import (
    BACK_MS,
    BRIEF_MS,
    RETENTION_MS,
    SHORT_MS,
    STEP_MS,
    TENANTS,
    WIDTH,
    FastClock,
    open_busy,
    value_of,
    vanished,
)
from tests.tsdb.stores import NOW, dump

from meterhall.model.samples import STALE_BITS
from meterhall.tsdb import verify
from meterhall.tsdb.filenames import block_paths

ROUNDS = int(os.environ.get("METERHALL_CRASH_ROUNDS", "6"))
ROOT = Path(__file__).parents[2]
# Every so often the process dies while it starts.
EARLY = 9
# Steps between what a process promised last and what the next one begins with.
AHEAD = 100
# How long samples are kept, by kind; of those whose retention is by size, nobody can say.
KEPT_MS = {"scrape": RETENTION_MS, "short": SHORT_MS, "brief": BRIEF_MS, "small": 0}


def run_and_kill(directory, first, moments, turn):
    """Kills the writer after some lines, or at any moment of its start; returns the events that it told."""
    # Every other one has a process of its own for blocks, which lives a moment longer.
    where = "apart" if turn % 2 else "here"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tsdb.crash_writer", str(directory), str(first), where],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
    )
    printed = []
    if turn % EARLY == EARLY - 1:
        time.sleep(moments.random() * 2)
        process.send_signal(signal.SIGKILL)
    lines = moments.randrange(1, 1200)
    for line in process.stdout:
        printed.append(line.decode())
        if len(printed) == lines:
            time.sleep(moments.random() * 0.01)
            process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    words = [line.split() for line in printed if line.endswith("\n")]
    return [
        (word, kind, int(number), int(first), int(last))
        for word, kind, number, first, last in words
    ]


class Fate(Enum):
    """What must be true of a sample."""

    THERE = "it was acknowledged, or seen after a start"
    OPEN = "the process died over it"
    GONE = "it was deleted, and that was acknowledged; or retention has dropped it"


class Ledger:
    """The fate of every sample, as (kind, number, place, time), and the tally."""

    def __init__(self):
        self.fates = {}
        self.newest_ms = NOW
        self.oldest_ms = dict.fromkeys(KEPT_MS, NOW)
        self.rounds = self.samples = self.deleted = self.blocks = 0
        self.lost = self.returned = self.halved = self.invented = 0

    def add(self, events):
        """Takes what one process told before it died."""
        self.rounds += 1
        self.undone = set()
        times = {}
        for kind, number, _, time_ms in self.fates:
            times.setdefault((kind, number), set()).add(time_ms)
        for word, kind, number, first_ms, last_ms in events:
            known = times.setdefault((kind, number), set())
            if word == "sent":
                self.newest_ms = max(self.newest_ms, last_ms)
                known.add(last_ms)
            meant = [time_ms for time_ms in known if first_ms <= time_ms <= last_ms]
            self._take(word, [each for at in meant for each in samples_of(kind, number, at)])

    def _take(self, word, meant):
        if word == "sent":
            self.samples += len(meant)
            self.fates.update(dict.fromkeys(meant, Fate.THERE))
        elif word == "sending":
            self.fates.update(dict.fromkeys(meant, Fate.OPEN))
        elif word == "erasing":
            self.undone = {each for each in meant if self.fates.get(each) is Fate.THERE}
            self.fates.update(dict.fromkeys(self.undone, Fate.OPEN))
        else:
            self.deleted += len(self.undone)
            self.undone = set()
            self.fates.update(dict.fromkeys(meant, Fate.GONE))

    def compare(self, found):
        """Counts what is missing, what came back, and what nobody sent. `dump` has seen that each is there once.

        From here on what was seen must stay, and what was not must stay away.
        """
        oldest_ms = {}
        for kind, _, _, time_ms in found:
            oldest_ms[kind] = min(time_ms, oldest_ms.get(kind, time_ms))
        gone = {each for each, fate in self.fates.items() if fate is Fate.GONE}
        there = {each for each, fate in self.fates.items() if fate is Fate.THERE}
        returned = gone & found.keys()
        lost = {
            each for each in there - found.keys() if each[3] >= self._kept_ms(each[0], oldest_ms)
        }
        self.returned += len(returned)
        self.lost += len(lost)
        self.culprits = sorted(returned | lost)[:20]
        # A deletion happened as a whole or not at all; what it meant may be past retention meanwhile.
        left = {each for each in self.undone if each[3] >= self._kept_ms(each[0], oldest_ms)}
        self.halved += bool(left & found.keys()) and bool(left - found.keys())
        self.invented += sum(not was_sent(*sample, bits) for sample, bits in found.items())
        self.oldest_ms |= oldest_ms
        for sample in found.keys() | self.fates.keys():
            self.fates[sample] = Fate.THERE if sample in found else Fate.GONE

    def _kept_ms(self, kind, oldest_ms):
        """No sample of the kind from here on may be dropped. By size it is a cut, wherever: nothing behind it."""
        if kind == "small":
            return oldest_ms.get(kind, NOW)
        # The writer was ahead of what it had promised when it died.
        return self.newest_ms + AHEAD * STEP_MS - KEPT_MS.get(kind, RETENTION_MS)

    @property
    def faults(self):
        return self.lost, self.returned, self.halved, self.invented

    def __str__(self):
        dropped = ", ".join(
            f"{kind} {(oldest_ms - NOW) / 1000:.0f}" for kind, oldest_ms in self.oldest_ms.items()
        )
        return (
            f"kill -9: {self.rounds} rounds, {self.samples:,} samples acknowledged, "
            f"{self.deleted:,} deleted; {self.lost} lost, {self.returned} came back, "
            f"{self.halved} deletions half done, {self.invented} invented; "
            f"{self.blocks} blocks written; of {(self.newest_ms - NOW) / 1000:.0f} s "
            f"dropped by retention: {dropped}"
        )


def samples_of(kind, number, time_ms):
    """The samples that were sent together."""
    return [
        (kind, number, place, time_ms)
        for place in range(WIDTH)
        if kind != "scrape" or not vanished(time_ms, place)
    ]


def was_sent(kind, number, place, time_ms, bits):
    """Whether a sample is one that the writer may have sent, acknowledged or not."""
    if bits == STALE_BITS:
        return kind == "scrape"
    on_grid = (time_ms - NOW) % STEP_MS in (0, STEP_MS - BACK_MS % STEP_MS)
    here = kind != "scrape" or not vanished(time_ms, place)
    return on_grid and here and float(np.uint64(bits).view("f8")) == value_of(time_ms, place)


def read(store):
    """Every sample of the writer's as {(kind, number, place, time): bits}."""
    found = {}
    for tenant in TENANTS:
        for labels, samples in dump(store, tenant).items():
            known = dict(labels)
            if known["__name__"] != "m":
                continue
            key = known["kind"], int(known["number"]), int(known["place"])
            found.update({(*key, time_ms): bits for time_ms, bits in samples.items()})
    return found


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_nothing_acknowledged_is_lost(tmp_path):
    moments = random.Random(20261125)
    ledger = Ledger()
    first = 0
    for turn in range(ROUNDS):
        ledger.add(run_and_kill(tmp_path, first, moments, turn))
        first = (ledger.newest_ms - NOW) // STEP_MS + AHEAD
        assert verify.verify(tmp_path).faults == ()
        store = open_busy(tmp_path, FastClock(first), maintain_interval_s=3600)
        ledger.compare(read(store))
        store.close()
        ledger.blocks = max([ledger.blocks, *(n for n, _ in block_paths(tmp_path))])
        assert ledger.faults == (0, 0, 0, 0), f"{ledger}: {ledger.culprits}"
    sys.stdout.write(f"\n{ledger}\n")
    store = open_busy(tmp_path, FastClock(first), maintain_interval_s=3600)
    store.maintain()
    store.close()
    # Flush, merge, deletion and every retention really happened.
    assert ledger.blocks > 2 * len(block_paths(tmp_path))
    assert ledger.deleted > 0
    assert min(ledger.oldest_ms.values()) > NOW + STEP_MS
