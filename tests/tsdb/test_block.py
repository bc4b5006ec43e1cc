"""Blocks: reading back, tenants apart, what a query may cost. Damage at every byte is test_damage's."""

import contextlib

import numpy as np
import pytest
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.samples import STALE, Row
from meterhall.model.tenant import Tenant
from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb import verify
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import block_paths

OTHER = Tenant("kr", "p2")
SPAN = 1000


def filled(directory, tenants=(TENANT, OTHER), wide=3, steps=12):
    """A store with one block and nothing in the log, and what it should answer."""
    store = open_store(directory, block_span_ms=SPAN, merged_span_ms=SPAN)
    for number, tenant in enumerate(tenants):
        writer = store.writer(tenant)
        labels = [series(f"m{place}", i=str(place)) for place in range(wide)]
        refs = writer.intern("c", labels)
        for step in range(steps):
            values = np.arange(wide) * 1.5 + step + number
            values[0] = STALE if step == 5 else values[0]
            writer.append([Row(NOW + step, refs, values)])
    store.flush(NOW + SPAN)
    expected = {tenant: dump(store, tenant) for tenant in tenants}
    store.close()
    return expected


def read_all(directory, tenants):
    store = open_store(directory)
    found = {tenant: dump(store, tenant) for tenant in tenants}
    store.close()
    return found


def test_a_block_answers_what_the_head_did(tmp_path):
    expected = filled(tmp_path, steps=200)
    assert {len(samples) for held in expected.values() for samples in held.values()} == {200}
    assert read_all(tmp_path, expected) == expected
    assert verify.verify(tmp_path).faults == ()


def test_what_a_crash_left_is_swept(tmp_path):
    expected = filled(tmp_path)
    ((_, path),) = block_paths(tmp_path)
    orphan = path.with_name("0000000077.block")
    orphan.write_bytes(path.read_bytes())
    half = path.with_name("0000000078.block.tmp")
    half.write_bytes(b"half")
    assert read_all(tmp_path, expected) == expected
    assert not orphan.exists()
    assert not half.exists()


def test_a_missing_block_is_named_and_the_start_goes_on(tmp_path):
    expected = filled(tmp_path)
    ((_, path),) = block_paths(tmp_path)
    path.unlink()
    (fault,) = verify.verify(tmp_path).faults
    assert "missing" in fault.reason
    assert read_all(tmp_path, expected) == {tenant: {} for tenant in expected}


def test_a_block_that_cannot_be_opened_now_is_not_given_up(tmp_path):
    expected = filled(tmp_path)
    ((_, path),) = block_paths(tmp_path)
    away = path.with_name("away")
    path.rename(away)
    path.symlink_to(path.name)
    before = QUARANTINED._value.get()
    store = open_store(tmp_path, block_span_ms=SPAN, merged_span_ms=SPAN)
    assert QUARANTINED._value.get() == before + 1
    late = append(store.writer(TENANT), series("m1", i="1"), (NOW + SPAN, 1.0))
    assert late.accepted == 1
    store.flush(NOW + 2 * SPAN)
    store.close()
    path.unlink()
    away.rename(path)
    found = read_all(tmp_path, expected)
    del found[TENANT][series("m1", i="1")][NOW + SPAN]
    assert found == expected


class CorruptingDisk(Disk):
    """Spoils the end of the n-th block that gets its name."""

    def __init__(self, number):
        self.number = number

    def rename(self, source, target):
        super().rename(source, target)
        if target.name == f"{self.number:010d}.block":
            data = target.read_bytes()
            target.write_bytes(data[:-200] + bytes(200))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_block_that_does_not_read_back_replaces_nothing(tmp_path, number):
    store = open_store(
        tmp_path, disk=CorruptingDisk(number), block_span_ms=SPAN, merged_span_ms=2 * SPAN
    )
    first = NOW // (2 * SPAN) * 2 * SPAN
    append(store.writer(TENANT), series("a"), *((first + 100 * step, step) for step in range(50)))
    expected = dump(store)
    with contextlib.suppress(DamagedError):
        store.maintain()
    assert dump(store) == expected
    store.maintain()
    assert dump(store) == expected
    store.close()
    assert verify.verify(tmp_path).faults == ()
    store = open_store(tmp_path)
    assert dump(store) == expected
    store.close()


def test_series_that_share_a_clock_in_blocks_and_head_come_as_one_matrix(tmp_path):
    store = open_store(tmp_path, block_span_ms=SPAN, merged_span_ms=SPAN)
    writer = store.writer(TENANT)
    labels = [series("m", i=str(place)) for place in range(5)]
    for part in range(3):
        refs = writer.intern("c", labels)
        for step in range(50):
            row = Row(NOW + part * SPAN + step, refs, np.arange(5.0) + step)
            assert not writer.append([row]).forgotten
        if part < 2:
            store.flush(NOW + (part + 1) * SPAN)
    (group,) = store.reader(TENANT).select([], NOW, NOW + 9 * SPAN).groups()
    assert group.values.shape == (5, 150)
    assert group.full
    (group,) = store.reader(TENANT).select([], NOW + 10, NOW + SPAN + 9).groups()
    assert group.times.tolist() == [*range(NOW + 10, NOW + 50), *range(NOW + SPAN, NOW + SPAN + 10)]
    store.close()


def test_a_block_that_left_stays_readable_for_who_began(tmp_path):
    expected = filled(tmp_path)
    store = open_store(tmp_path, retention_ms=SPAN)
    selection = store.reader(TENANT).select([], NOW, NOW + SPAN)
    store._clock.time_ms = NOW + 10 * SPAN
    store.maintain()
    assert block_paths(tmp_path) == []
    assert dump(store) == {}
    found = sum(int((~np.isnan(group.values)).sum()) for group in selection.groups())
    assert found == sum(map(len, expected[TENANT].values())) - 1
    store.close()
