"""kill -9 at random moments: everything acknowledged is there exactly once, nothing is invented."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from tests.tsdb.crash_writer import STEP_MS, THREADS, WIDTH, labels_of, open_busy
from tests.tsdb.stores import NOW, dump

from meterhall.model.tenant import Tenant
from meterhall.tsdb import verify

ROUNDS = int(os.environ.get("METERHALL_CRASH_ROUNDS", "6"))
ROOT = Path(__file__).parents[2]


def run_and_kill(directory, first, lines):
    """Kills the writer after it has printed so many lines; returns all that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tsdb.crash_writer", str(directory), str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        text=True,
    )
    printed = []
    for line in process.stdout:
        printed.append(line)
        if len(printed) == lines:
            process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    if printed and not printed[-1].endswith("\n"):
        printed.pop()
    return [tuple(int(word) for word in line.replace("t", "").split()) for line in printed]


def test_nothing_acknowledged_is_lost(tmp_path):
    moments = random.Random(20261123)
    ledger = set()
    first = 0
    for _ in range(ROUNDS):
        ledger.update(run_and_kill(tmp_path, first, moments.randrange(1, 900)))
        first = 1 + max((time - NOW) // STEP_MS for _, _, time, _ in ledger) + 7
        assert verify.verify(tmp_path).faults == ()
        store = open_busy(tmp_path, maintain_interval_s=3600)
        found = {number: dump(store, Tenant("kr", f"t{number}")) for number in range(2)}
        store.close()
        check(ledger, found)


def check(ledger, found):
    for group in range(THREADS):
        held = found[group % 2]
        acknowledged = {(time, value) for _, number, time, value in ledger if number == group}
        for place, labels in enumerate(labels_of(group)):
            samples = {
                (time, float(np.uint64(bits).view("f8")))
                for time, bits in held.get(labels, {}).items()
            }
            assert {(time, value + place) for time, value in acknowledged} <= samples
            # What was not acknowledged may be there, but only as it was sent.
            assert all(value - place == (time - NOW) // STEP_MS for time, value in samples)
    assert sum(map(len, found.values())) <= THREADS * WIDTH
