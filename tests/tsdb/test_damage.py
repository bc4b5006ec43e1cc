"""Bytes of a small log, checkpoint, block and manifest flipped, zeroed, and cut off: the store opens, names it, goes on.

With METERHALL_TORTURE=1 (`make torture`) at every position, otherwise at every few.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import structlog
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import STALE, Row
from meterhall.model.tenant import Tenant
from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb import verify
from meterhall.tsdb.block_format import decode_footer
from meterhall.tsdb.filenames import block_paths, segment_paths
from meterhall.tsdb.wal_format import (
    DEFINITIONS,
    FRAME_HEADER_BYTES,
    Kind,
    decode_definition,
    decode_samples,
    decode_sealed,
    frames,
)

SPAN = 1000
STEPS = 3
TENANTS = (TENANT, Tenant("kr", "p2"))
TORTURE = bool(os.environ.get("METERHALL_TORTURE"))
# Otherwise so many positions of a file, by each kind of damage.
POSITIONS = None if TORTURE else 30
# After every so many positions the store must also go on.
AGAIN = 4


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


def sound(directory, checkpointed=False, deleted=False):
    """One block; behind it a log of two segments, of which the first is not the newest, or one checkpoint of both.

    With `deleted` the block still holds something that nobody may see.
    """
    store = open_store(directory, block_span_ms=SPAN, merged_span_ms=SPAN)
    fill(store, NOW)
    store.flush(NOW + SPAN)
    if deleted:
        store.delete(TENANT, [Matcher(MatchOp.EQUAL, "x", "1")], NOW, NOW + SPAN)
    fill(store, NOW + SPAN)
    store.close()
    store = open_store(directory)
    fill(store, NOW + 2 * SPAN)
    if checkpointed:
        store.flush(0)
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
    """Damages the file at each position; yields it, the bytes, what is answered then, what `verify` says, what is counted.

    Whatever the damage: the start does not fail, nothing is invented, `verify` finds what costs a sample,
    and the store takes and flushes new samples.
    """
    whole = it.files[path]
    stride = len(whole) // (POSITIONS or len(whole))
    some = range(KINDS.index(kind) % stride, len(whole), stride)
    for turn, at in enumerate(sorted({0, *some})):
        data = kind(whole, at)
        if data == whole:
            continue
        it.restore()
        path.write_bytes(data)
        faults = verify.verify(it.directory).faults
        before = QUARANTINED._value.get()
        store = open_store(it.directory, block_span_ms=SPAN, merged_span_ms=SPAN)
        found = read(store)
        assert found <= it.answers or path.name == "TOMBSTONES", at
        assert {fault.file for fault in faults} <= {path.name}, at
        yield at, data, found, faults, QUARANTINED._value.get() - before
        if turn % AGAIN == 0:
            goes_on(store)
        store.close()


def goes_on(store):
    later = NOW + 3 * SPAN
    append(store.writer(TENANT), series("later"), (later, 1.0))
    store.flush(later + SPAN)
    assert dump(store)[series("later")] == {later: 0x3FF0000000000000}


def told_before(it, whole, first):
    """The samples in frames of a segment that end before a byte."""
    tenant_of, times = {}, set()
    for path in it.files:
        for piece in frames(memoryview(it.files[path])) if path.suffix == ".wal" else ():
            if piece.kind in DEFINITIONS:
                told = decode_definition(piece.kind, piece.payload)
                tenant_of[told.group] = Tenant(*told.tenant)
    for piece in frames(memoryview(whole)):
        if piece.offset + FRAME_HEADER_BYTES + len(piece.payload) > first:
            break
        if piece.kind == Kind.SAMPLES:
            times |= {(row.group, row.time_ms) for row in decode_samples(piece.payload)}
        elif piece.kind == Kind.SEALED:
            sealed = decode_sealed(piece.payload)
            times |= {(sealed.group, time_ms) for time_ms in sealed.times.tolist()}
    places = {(tenant_of[group], time_ms) for group, time_ms in times}
    return {each for each in it.answers if (each[0], each[2]) in places}


def first_damaged(whole, data):
    pairs = zip(whole, data, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(data))


def check_named_and_kept(directory, events, path, data, counted):
    """Every piece that the service's log names is counted, and in quarantine as it was found, be it a part or the whole file."""
    named = [event for event in events if event["event"] == "piece.quarantined"]
    assert counted == len(named) + sum(event.get("rows", 0) for event in events)
    for event in events:
        assert event.get("file", path.name) == path.name
        if event["event"] == "piece.quarantined" and event["bytes"]:
            at, size = event["offset"], event["bytes"]
            part = directory / "quarantine" / f"{path.name}.{at}"
            kept = part if part.exists() else directory / "quarantine" / path.name
            assert kept.read_bytes() == data[at : at + size], event
    events.clear()


ONE_BYTE = (flipped, one_bit, zeroed)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@every_kind
@pytest.mark.parametrize("which", ["older", "newest", "checkpoint"])
def test_the_log(tmp_path, events, kind, which):
    it = sound(tmp_path, checkpointed=which == "checkpoint")
    path = segment_paths(tmp_path)[-2 if which == "older" else -1][1]
    blocks = {each for each in it.answers if each[2] < NOW + SPAN}
    for at, data, found, faults, counted in damaged(it, path, kind):
        told = told_before(it, it.files[path], first_damaged(it.files[path], data))
        assert found >= blocks | told, at
        if kind in ONE_BYTE:
            # One append or one sealed group of one tenant at most; definitions are there twice.
            lost = it.answers - found
            assert len(lost) <= (2 if which != "checkpoint" else 4 * STEPS), at
            assert len({tenant for tenant, *_ in lost}) <= 1, at
        # What a crash may have left of the last write is cut away without more ado.
        may_be_torn = which == "newest" and kind in (zeros_behind, cut)
        assert may_be_torn or (faults and events), at
        assert bool(faults) <= bool(events), at
        check_named_and_kept(tmp_path, events, path, data, counted)


@every_kind
def test_a_block(tmp_path, events, kind):
    it = sound(tmp_path)
    ((_, path),) = block_paths(tmp_path)
    ends = decode_footer(it.files[path]).first_copy
    for at, data, found, faults, counted in damaged(it, path, kind):
        lost = it.answers - found
        assert faults, at
        assert events, at
        assert all(time < NOW + SPAN for _, _, time, _ in lost), at
        if kind in ONE_BYTE:
            # A page is all of a tenant here; everything else is there twice.
            assert len({tenant for tenant, *_ in lost}) <= (at < ends), at
        check_named_and_kept(tmp_path, events, path, data, counted)


@every_kind
def test_the_manifest(tmp_path, events, kind):
    it = sound(tmp_path)
    path = tmp_path / "MANIFEST"
    for at, data, found, faults, counted in damaged(it, path, kind):
        assert found == it.answers, at
        assert faults, at
        assert events, at
        check_named_and_kept(tmp_path, events, path, data, counted)


@every_kind
def test_what_was_deleted(tmp_path, events, kind):
    """Of two copies one is left by any damage to one spot. Cut in the middle, the deletion is lost, and that is told."""
    it = sound(tmp_path, deleted=True)
    path = tmp_path / "TOMBSTONES"
    for at, data, found, faults, counted in damaged(it, path, kind):
        half = len(it.files[path]) // 2
        assert found == it.answers or (kind not in ONE_BYTE and at < half), at
        assert faults, at
        assert events, at
        check_named_and_kept(tmp_path, events, path, data, counted)
