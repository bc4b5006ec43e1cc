"""Bytes of a small log, block and manifest flipped, zeroed, and cut off: the store opens, names it, goes on.

With METERHALL_TORTURE=1 (`make torture`) at every position, otherwise at every few. `test_wal` and `test_block` have
every position of a log and a block of their own, and ask for less.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import structlog
from tests.tsdb.stores import NOW, TENANT, Unsynced, append, dump, open_store, series

from meterhall.model.samples import STALE, Row
from meterhall.model.tenant import Tenant
from meterhall.tsdb import verify
from meterhall.tsdb.block_format import decode_footer
from meterhall.tsdb.filenames import block_paths, segment_paths
from meterhall.tsdb.wal_format import FRAME_HEADER_BYTES, Frame, Kind, frames

SPAN = 1000
STEPS = 3
TENANTS = (TENANT, Tenant("kr", "p2"))
TORTURE = bool(os.environ.get("METERHALL_TORTURE"))
STRIDE, AGAIN = (1, 1) if TORTURE else (13, 4)


@pytest.fixture
def events():
    """What the service's log says, as dicts; each piece that is named is counted too."""
    said = []

    def keep(_, level, event):
        said.append(event | {"level": level})
        raise structlog.DropEvent

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("warning"), processors=[keep]
    )
    return said


def fill(store, first):
    """Two tenants, two metrics, three times."""
    for number, tenant in enumerate(TENANTS):
        writer = store.writer(tenant)
        refs = writer.intern("c", [series("a", x="1"), series("b", x="2")])
        for step in range(STEPS):
            values = np.array([step + 0.5, STALE if step == 1 else float(number)])
            row = Row(first + 10 * step, refs, values)
            writer.append([row]).durable.result(5)


@dataclass(frozen=True)
class Sound:
    """A directory before the damage, and what it answers."""

    directory: Path
    files: dict
    answers: dict

    def restore(self):
        """Makes the directory as it was."""
        for path in self.directory.rglob("*"):
            if path.is_file() and path not in self.files:
                path.unlink()
        for path, content in self.files.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


def sound(directory):
    """One block; behind it a log of two segments, of which the first is not the newest."""
    store = open_store(directory, block_span_ms=SPAN, merged_span_ms=SPAN)
    fill(store, NOW)
    store.flush(NOW + SPAN)
    fill(store, NOW + SPAN)
    store.close()
    store = open_store(directory)
    fill(store, NOW + 2 * SPAN)
    answers = read(store)
    store.close()
    files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    return Sound(directory, files, answers)


def read(store):
    """Every sample as (tenant, labels, time, bits)."""
    return {
        (tenant, labels, time, bits)
        for tenant in TENANTS
        for labels, samples in dump(store, tenant).items()
        for time, bits in samples.items()
    }


def flipped(whole, at):
    return whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]


def one_bit(whole, at):
    return whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]


def zeroed(whole, at):
    return whole[:at] + b"\0" + whole[at + 1 :]


def zeros_behind(whole, at):
    return whole[:at] + bytes(len(whole) - at)


def cut(whole, at):
    return whole[:at]


KINDS = [flipped, one_bit, zeroed, zeros_behind, cut]


def damaged(it, path, kind):
    """Damages the file at each position; yields the position and what the store answers then.

    Whatever the damage: the start does not fail, nothing is invented, `verify` finds what costs a sample,
    and the store takes and flushes new samples.
    """
    whole = it.files[path]
    for turn, at in enumerate(range(KINDS.index(kind) % STRIDE, len(whole), STRIDE)):
        data = kind(whole, at)
        if data == whole:
            continue
        it.restore()
        path.write_bytes(data)
        faults = verify.verify(it.directory).faults
        store = open_store(it.directory, disk=Unsynced(), block_span_ms=SPAN, merged_span_ms=SPAN)
        found = read(store)
        assert found <= it.answers, at
        assert {fault.file for fault in faults} <= {path.name}, at
        yield at, data, found, faults
        if turn % AGAIN == 0:
            goes_on(store)
        store.close()


def goes_on(store):
    later = NOW + 3 * SPAN
    append(store.writer(TENANT), series("later"), (later, 1.0))
    store.flush(later + SPAN)
    assert dump(store)[series("later")] == {later: 0x3FF0000000000000}


def before_the_damage(it, data, path, newest):
    """What the block holds, and the log before its first damaged byte."""
    whole = it.files[path]
    pairs = zip(whole, data, strict=False)
    first = next((at for at, (one, other) in enumerate(pairs) if one != other), len(data))
    start_ms = NOW + (2 if newest else 1) * SPAN
    order = iter([(tenant, start_ms + 10 * step) for tenant in TENANTS for step in range(STEPS)])
    kept = {each for each in it.answers if each[2] < start_ms}
    for piece in frames(memoryview(whole)):
        if piece.kind == Kind.SAMPLES:
            place = next(order)
            if piece.offset + FRAME_HEADER_BYTES + len(piece.payload) <= first:
                kept |= {each for each in it.answers if (each[0], each[2]) == place}
    assert next(order, None) is None
    return kept


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("newest", [False, True])
def test_the_log(tmp_path, events, kind, newest):
    it = sound(tmp_path)
    paths = [path for _, path in segment_paths(tmp_path)]
    path = paths[-1 if newest else -2]
    for at, data, found, faults in damaged(it, path, kind):
        assert found >= before_the_damage(it, data, path, newest), at
        if kind in (flipped, one_bit, zeroed):
            # One append of one tenant at most; definitions are there twice.
            assert len(it.answers - found) <= 2, at
        assert {event["file"] for event in events if "file" in event} <= {path.name}, at
        assert bool(faults) <= bool(events), at
        aside = [piece.read_bytes() for piece in (tmp_path / "quarantine").iterdir()]
        assert all(piece in data for piece in aside), at
        # What a crash may have left of a last write is cut away; all else that is lost was set aside.
        may_be_torn = kind in (zeros_behind, cut)
        # A segment that ends between two frames looks whole: the format cannot tell.
        looks_whole = kind is cut and all(
            isinstance(each, Frame) for each in frames(memoryview(data))
        )
        unseen = looks_whole or (newest and may_be_torn)
        assert faults or found == it.answers or unseen, at
        assert aside or found == it.answers or may_be_torn, at
        events.clear()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_block(tmp_path, events, kind):
    it = sound(tmp_path)
    ((_, path),) = block_paths(tmp_path)
    ends = decode_footer(it.files[path]).first_copy
    for at, _, found, faults in damaged(it, path, kind):
        lost = it.answers - found
        assert faults, at
        assert all(time < NOW + SPAN for _, _, time, _ in lost), at
        if kind in (flipped, one_bit, zeroed):
            # A page is all of a tenant here; everything else is there twice.
            assert len({tenant for tenant, *_ in lost}) <= (at < ends), at
        if lost:
            assert {event["file"] for event in events} == {path.name}, at
        aside = [event for event in events if event["event"] == "block.quarantined"]
        assert bool(aside) == bool(events), at
        events.clear()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_manifest(tmp_path, events, kind):
    it = sound(tmp_path)
    path = tmp_path / "MANIFEST"
    for at, data, found, faults in damaged(it, path, kind):
        assert found == it.answers, at
        assert faults, at
        assert {event["file"] for event in events} == {"MANIFEST"}, at
        assert (tmp_path / "quarantine" / "MANIFEST").read_bytes() == data
        events.clear()
