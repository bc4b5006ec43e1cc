"""The process that test_crash kills: appends without end and prints what it was promised.

Each line is `tenant group time value`, printed only after `durable` is done. Data time runs fast, so that
flush, merge and truncation happen all the time.
"""

import itertools
import sys
import threading
from pathlib import Path

import numpy as np
import structlog
from tests.tsdb.stores import NOW, open_store, series

from meterhall.model.samples import Row
from meterhall.model.tenant import Tenant

WIDTH = 5
THREADS = 3
STEP_MS = 10


def labels_of(group):
    return [series("m", group=str(group), place=str(place)) for place in range(WIDTH)]


def open_busy(directory, **changes):
    return open_store(
        directory,
        **{
            "block_span_ms": 500,
            "merged_span_ms": 2000,
            "log_segment_bytes": 20_000,
            "log_checkpoint_bytes": 10_000,
            "maintain_interval_s": 0.005,
            "ahead_ms_max": 2**50,
        }
        | changes,
    )


def write(store, number, first):
    """One tenant's scrapes, every seventh late, in lock step with the disk."""
    tenant = Tenant("kr", f"t{number % 2}")
    writer = store.writer(tenant)
    clock = f"g{number}"
    held = None
    for step in itertools.count(first):
        time_ms = NOW + STEP_MS * step
        refs = writer.intern(clock, labels_of(number))
        row = Row(time_ms, refs, np.arange(WIDTH) + float(step))
        if step % 7 == 3:
            held = row
            continue
        rows = [row] if held is None else [row, Row(held.time_ms, refs, held.values)]
        held = None
        said = writer.append(rows)
        while said.forgotten:
            refs = writer.intern(clock, labels_of(number))
            rows = [Row(each.time_ms, refs, each.values) for each in rows]
            said = writer.append(rows)
        assert not said.rejections, said.rejections
        said.durable.result()
        for each in rows:
            line = f"{tenant.project} {number} {each.time_ms} {each.values[0]:.0f}\n"
            sys.stdout.write(line)
            sys.stdout.flush()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    opened = open_busy(Path(sys.argv[1]))
    threads = [
        threading.Thread(target=write, args=(opened, number, int(sys.argv[2])))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
