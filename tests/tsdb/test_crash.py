"""kill -9 at random moments: everything acknowledged is there exactly once, nothing is invented.

METERHALL_CRASH_ROUNDS is how often; `make torture` asks for 200 and prints the tally.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.tsdb.crash_writer import (
    BACK_MS,
    RETENTION_MS,
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


def run_and_kill(directory, first, moments, early):
    """Kills the writer after some lines, or at any moment of its start; returns all that it promised."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tsdb.crash_writer", str(directory), str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
    )
    printed = []
    if early:
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
    return {(kind, int(number), int(time_ms)) for kind, number, time_ms in words}


class Ledger:
    """Every promise that is still inside retention, and the tally."""

    def __init__(self):
        self.promised = set()
        self.newest_ms = self.oldest_ms = NOW
        self.rounds = self.samples = self.lost = self.invented = self.blocks = 0

    def add(self, promises):
        self.rounds += 1
        self.samples += sum(map(len, map(self.samples_of, promises)))
        self.newest_ms = max([self.newest_ms, *(time_ms for _, _, time_ms in promises)])
        # The writer was ahead of what it had promised when it died.
        kept_ms = self.newest_ms + 100 * STEP_MS - RETENTION_MS
        self.promised = {each for each in self.promised | promises if each[2] >= kept_ms}

    @staticmethod
    def samples_of(promise):
        """A promise as (kind, number, place, time) of each of its samples."""
        kind, number, time_ms = promise
        return {
            (kind, number, place, time_ms)
            for place in range(WIDTH)
            if kind != "scrape" or not vanished(time_ms, place)
        }

    def compare(self, found):
        """Counts what is missing and what nobody sent. `dump` has seen that each is there once."""
        promised = set().union(*map(self.samples_of, self.promised))
        self.lost += len(promised - found.keys())
        self.oldest_ms = min((time_ms for *_, time_ms in found), default=NOW)
        self.invented += sum(not was_sent(*sample, bits) for sample, bits in found.items())

    def __str__(self):
        return (
            f"kill -9: {self.rounds} rounds, {self.samples:,} samples acknowledged, "
            f"{self.lost} lost, {self.invented} invented, {self.blocks} blocks written, "
            f"{(self.oldest_ms - NOW) / 1000:.0f} of {(self.newest_ms - NOW) / 1000:.0f} s dropped by retention"
        )


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
        ledger.add(run_and_kill(tmp_path, first, moments, early=turn % EARLY == EARLY - 1))
        first = (ledger.newest_ms - NOW) // STEP_MS + 100
        assert verify.verify(tmp_path).faults == ()
        store = open_busy(tmp_path, FastClock(first), maintain_interval_s=3600)
        ledger.compare(read(store))
        store.close()
        ledger.blocks = max([ledger.blocks, *(n for n, _ in block_paths(tmp_path))])
        assert (ledger.lost, ledger.invented) == (0, 0), ledger
    sys.stdout.write(f"\n{ledger}\n")
    # Flush, merge and retention really happened.
    assert ledger.blocks > 2 * len(block_paths(tmp_path))
    assert ledger.oldest_ms > NOW + STEP_MS
