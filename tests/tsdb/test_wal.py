"""The log: a torn end, a disk that refuses, rotation and truncation. Damage at every byte is test_damage's."""

import errno
import threading

import numpy as np
import pytest
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.errors import StoreLocked, StoreUnavailable
from meterhall.model.samples import rows_of
from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import segment_paths
from meterhall.tsdb.verify import verify
from meterhall.tsdb.wal_format import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Damage,
    Frame,
    Kind,
    frame,
    frames,
    is_checkpoint,
)


class FaultyDisk(Disk):
    """Refuses chosen operations while `fault` is set; a refused write leaves half of its bytes."""

    def __init__(self):
        self.fault = None
        self.refused = ()

    def refuse(self, code, *operations):
        self.fault, self.refused = code, operations

    def heal(self):
        self.fault = None

    def _check(self, operation):
        if self.fault is not None and operation in self.refused:
            raise OSError(self.fault, "no")

    def create(self, path):
        self._check("create")
        return super().create(path)

    def write(self, handle, pieces):
        if self.fault is not None and "write" in self.refused:
            whole = b"".join(pieces)
            super().write(handle, [whole[: len(whole) // 2]])
        self._check("write")
        return super().write(handle, pieces)

    def sync(self, handle):
        self._check("sync")
        super().sync(handle)

    def truncate(self, handle, size):
        self._check("truncate")
        super().truncate(handle, size)


def small_log(directory):
    """Three appends of two series; returns what each append stored, and the segment's path."""
    store = open_store(directory)
    writer = store.writer(TENANT)
    left, right = series("a", x="1"), series("b", x="2")
    refs = writer.intern("c", [left, right])
    stored = []
    for step in range(3):
        writer.append([rows_of(NOW + step, refs, [step, 10.5 * step])]).durable.result(5)
        stored.append({(left, NOW + step), (right, NOW + step)})
    store.close()
    ((_, path),) = segment_paths(directory)
    return stored, path


def samples(store):
    return {(labels, time) for labels, cells in dump(store).items() for time in cells}


def frame_of(data, position):
    """The number of the samples record that a byte belongs to; None for anything else."""
    number = 0
    for piece in frames(memoryview(data)):
        assert isinstance(piece, Frame)
        if piece.kind == Kind.SAMPLES:
            end = piece.offset + FRAME_HEADER_BYTES + len(piece.payload)
            if piece.offset <= position < end:
                return number
            number += 1
    return None


def test_a_cut_log_keeps_all_before_the_cut(tmp_path):
    stored, path = small_log(tmp_path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 9):
        path.write_bytes(whole[:size])
        kept = frame_of(whole, size)
        complete = 0 if size < SEGMENT_HEADER_BYTES or kept is None else kept
        before = QUARANTINED._value.get()
        store = open_store(tmp_path)
        assert samples(store) == set().union(*stored[:complete]), size
        store.close()
        assert QUARANTINED._value.get() == before
        store = open_store(tmp_path)
        assert samples(store) == set().union(*stored[:complete]), size
        store.close()


def as_version_1(data, number):
    """The same segment as the first version wrote it."""
    pieces = [piece for piece in frames(memoryview(data)) if piece.kind != Kind.CHECKPOINT]
    marks = [frame(Kind.CHECKPOINT, b"")] if is_checkpoint(memoryview(data)) else []
    old = [data[piece.offset :][: FRAME_HEADER_BYTES + len(piece.payload)] for piece in pieces]
    return b"".join([b"MHWAL\x00\x00\x01", number.to_bytes(8, "little"), *marks, *old])


def test_the_first_version_is_read_and_goes_on(tmp_path):
    store = open_store(tmp_path, log_segment_bytes=400)
    append(store.writer(TENANT), series("a"), *((NOW + step, step) for step in range(9)))
    store.flush(0)
    append(store.writer(TENANT), series("a"), *((NOW + step, step) for step in range(9, 30)))
    expected = dump(store)
    store.close()
    for number, path in segment_paths(tmp_path):
        path.write_bytes(as_version_1(path.read_bytes(), number))
    assert len(segment_paths(tmp_path)) > 2
    before = QUARANTINED._value.get()
    for step in range(30, 33):
        assert verify(tmp_path).faults == ()
        store = open_store(tmp_path)
        assert dump(store) == expected
        append(store.writer(TENANT), series("a"), (NOW + step, step))
        expected = dump(store)
        store.close()
    assert QUARANTINED._value.get() == before


def test_a_segment_that_the_next_one_knows_longer_is_named_until_a_checkpoint(tmp_path):
    store = open_store(tmp_path, log_segment_bytes=400)
    append(store.writer(TENANT), series("a"), *((NOW + step, step) for step in range(30)))
    store.close()
    path = segment_paths(tmp_path)[1][1]
    whole = path.read_bytes()
    last = list(frames(memoryview(whole)))[-1]
    path.write_bytes(whole[: last.offset])
    (fault,) = verify(tmp_path).faults
    assert (fault.file, fault.offset) == (path.name, last.offset)
    assert fault.reason == f"{len(whole) - last.offset} bytes are missing"
    before = QUARANTINED._value.get()
    store = open_store(tmp_path)
    assert QUARANTINED._value.get() == before + 1
    assert len(samples(store)) == 29
    store.flush(0)
    store.close()
    assert verify(tmp_path).faults == ()
    open_store(tmp_path).close()
    assert QUARANTINED._value.get() == before + 1


def test_damage_in_the_middle_is_counted_and_kept_aside(tmp_path):
    _, path = small_log(tmp_path)
    data = bytearray(path.read_bytes())
    middle = [piece for piece in frames(memoryview(bytes(data))) if piece.kind == Kind.SAMPLES][1]
    data[middle.offset + FRAME_HEADER_BYTES] ^= 1
    path.write_bytes(data)
    (found,) = [piece for piece in frames(memoryview(bytes(data))) if isinstance(piece, Damage)]
    before = QUARANTINED._value.get()
    open_store(tmp_path).close()
    assert QUARANTINED._value.get() == before + 1
    (aside,) = (tmp_path / "quarantine").iterdir()
    assert aside.read_bytes() == bytes(data)[found.offset : found.offset + found.length]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    "operations", [("write",), ("sync",), ("write", "truncate"), ("sync", "truncate", "create")]
)
def test_a_disk_that_refuses_and_recovers(tmp_path, code, operations):
    disk = FaultyDisk()
    store = open_store(tmp_path, disk=disk, log_retry_s=0.001)
    writer = store.writer(TENANT)
    label_sets = [series("m", i=str(number)) for number in range(4)]
    refs = writer.intern("c", label_sets)
    writer.append([rows_of(NOW, refs, [1, 2, 3, 4])]).durable.result(5)
    disk.refuse(code, *operations)
    row = rows_of(NOW + 1, refs, [5, 6, 7, 8])
    refused = writer.append([row]).durable
    with pytest.raises(StoreUnavailable):
        refused.result(5)
    with pytest.raises(StoreUnavailable):
        writer.append([row])
    assert len(samples(store)) == 8, "readers go on"
    assert writer.intern("c", label_sets).tolist() == refs.tolist()
    with pytest.raises(StoreUnavailable):
        writer.intern("c", [series("new")])
    disk.heal()
    said = retried(writer, row)
    assert (said.accepted, said.rejections) == (4, [])
    said.durable.result(5)
    writer.append([rows_of(NOW + 2, refs, [9, 9, 9, 9])]).durable.result(5)
    expected = {(labels, NOW + step) for labels in label_sets for step in range(3)}
    assert samples(store) == expected
    store.close()
    store = open_store(tmp_path)
    assert samples(store) == expected
    store.close()


def retried(writer, row):
    """What a sender does: the same again, until the store takes it."""
    pause = threading.Event()
    for _ in range(2000):
        try:
            return writer.append([row])
        except StoreUnavailable:
            pause.wait(0.005)
    raise AssertionError("the store did not recover")


def test_closing_while_the_disk_refuses(tmp_path):
    disk = FaultyDisk()
    store = open_store(tmp_path, disk=disk, log_retry_s=0.001)
    append(store.writer(TENANT), series("a"), (NOW, 1.0))
    disk.refuse(errno.ENOSPC, "write")
    waiting = append(store.writer(TENANT), series("a"), (NOW + 1, 2.0), wait=False).durable
    store.close()
    assert isinstance(waiting.exception(5), StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        append(store.writer(TENANT), series("a"), (NOW + 2, 2.0))
    store = open_store(tmp_path)
    assert samples(store) == {(series("a"), NOW)}
    store.close()


def test_segments_rotate_by_size_and_replay_in_order(tmp_path):
    store = open_store(tmp_path, log_segment_bytes=400)
    append(store.writer(TENANT), series("a"), *((NOW + step, step) for step in range(50)))
    store.close()
    assert len(segment_paths(tmp_path)) > 3
    store = open_store(tmp_path)
    assert [np.uint64(bits).view("f8") for bits in dump(store)[series("a")].values()] == [
        *range(50)
    ]
    store.close()


def test_a_second_store_is_refused_with_advice(tmp_path):
    store = open_store(tmp_path)
    with pytest.raises(StoreLocked, match=f"{tmp_path}.*in use by process [0-9]+: stop"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


def test_many_threads_share_commits(tmp_path):
    store = open_store(tmp_path)

    def run(number):
        append(store.writer(TENANT), series(f"m{number}"), *((NOW + at, at) for at in range(40)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {(series(f"m{number}"), NOW + at) for number in range(8) for at in range(40)}
    assert samples(store) == expected
    store.close()
    store = open_store(tmp_path)
    assert samples(store) == expected
    store.close()


def test_a_caller_that_gives_up_does_not_upset_the_log(tmp_path):
    store = open_store(tmp_path)
    for step in range(50):
        durable = append(store.writer(TENANT), series("a"), (NOW + step, 1.0), wait=False).durable
        assert not durable.cancel()
    durable.result(5)
    assert len(samples(store)) == 50
    store.close()
