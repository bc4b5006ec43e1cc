"""What the store's tests share: a clock that stands still, and a store read back as a plain dict."""

import os

import numpy as np

from meterhall.model.labels import make_labels
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import ABSENT_BITS, rows_of
from meterhall.model.stack import PAD_MS
from meterhall.model.tenant import Tenant
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

NOW = 1_800_000_000_000
TENANT = Tenant("kr", "p1")
EVER = (-(2**63), 2**63 - 1)
NAME = Matcher(MatchOp.NOT_EQUAL, "__name__", "")


class StandingClock:
    """A clock that moves when told to."""

    def __init__(self, now_ms=NOW):
        self.time_ms = now_ms

    def now_ms(self):
        return self.time_ms

    def monotonic(self):
        return self.time_ms / 1000


class Unsynced(Disk):
    """Syncs nothing, for tests in which no power is cut."""

    def sync(self, handle):
        pass

    def sync_directory(self, path):
        pass

    def cut(self, path, size):
        os.truncate(path, size)


def settings(**changes):
    """Small sizes, so that a few samples already seal, rotate and flush."""
    return StoreSettings(
        **{"raw_rows_max": 6, "seal_rows": 4, "maintain_interval_s": 3600.0} | changes
    )


def open_store(directory, clock=None, disk=None, awaits_rules=False, **changes):
    """On a disk that syncs nothing, unless another is given."""
    return EmbeddedStore(
        directory,
        settings(**changes),
        clock or StandingClock(),
        disk or Unsynced(),
        awaits_rules=awaits_rules,
    )


def series(name, **labels):
    return make_labels({"__name__": name, **labels})


def append(writer, labels, *samples, clock="c", wait=True, any_age=False):
    """Appends (time, value) pairs of one series; returns what the last append said."""
    result = None
    for time_ms, value in samples:
        (ref,) = writer.intern(clock, [labels])
        result = writer.append([rows_of(time_ms, [ref], [value])], any_age=any_age)
        if wait:
            result.durable.result(timeout=10)
    return result


def dump(store, tenant=TENANT, matchers=(NAME,), start_ms=EVER[0], end_ms=EVER[1]):
    """Every sample as {labels: {time: bits}}; fails where the port's promises are broken."""
    selection = store.reader(tenant).select(list(matchers), start_ms, end_ms)
    assert len(set(selection.labels)) == len(selection.labels)
    found = {}
    cells = 0
    for group in selection.groups():
        times = group.times.tolist()
        assert times == sorted(set(times))
        assert not times or (times[0] >= start_ms and times[-1] <= end_ms)
        assert group.values.shape == (len(group.rows), len(times))
        bits = group.values.view("u8").tolist()
        for row, line in zip(group.rows.tolist(), bits, strict=True):
            labels = selection.labels[row]
            assert labels not in found, "a series is in two groups"
            found[labels] = {
                time: cell for time, cell in zip(times, line, strict=True) if cell != ABSENT_BITS
            }
            cells += len(found[labels])
            assert not group.full or len(found[labels]) == len(times)
    assert cells <= selection.samples_max
    return {labels: samples for labels, samples in found.items() if samples}


def dump_stacks(store, tenant=TENANT, start_ms=EVER[0], end_ms=EVER[1], newest=False):
    """The same out of stacks."""
    selection = store.reader(tenant).select([NAME], start_ms, end_ms)
    found = {}
    for stack in selection.stacks(newest=newest):
        assert (np.diff(stack.clock_of) >= 0).all()
        for index, row in enumerate(stack.rows.tolist()):
            labels = selection.labels[row]
            assert labels not in found, "a series is in two stacks"
            clock = int(stack.clock_of[index])
            length = int(stack.lengths[clock])
            times = stack.times[clock].tolist()
            assert set(times[length:]) <= {PAD_MS}
            assert not np.isnan(stack.values[index, length:]).any()
            times = times[:length]
            assert times == sorted(set(times))
            assert not times or (times[0] >= start_ms and times[-1] <= end_ms)
            bits = stack.values[index, :length].copy().view("u8").tolist()
            cells = zip(times, bits, strict=True)
            found[labels] = {time: cell for time, cell in cells if cell != ABSENT_BITS}
            assert not stack.full or len(found[labels]) == length
    return {labels: samples for labels, samples in found.items() if samples}
