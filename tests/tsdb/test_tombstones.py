"""The file of deletions and cuts: its bytes, damage to it, and what it hides of a block."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.quarantine import Quarantine
from meterhall.tsdb.tombstones import (
    EVERYBODY,
    Tombstone,
    Tombstones,
    _without,
    decode,
    encode,
)
from meterhall.tsdb.verify import verify

A = Owner("kr", "a")


def tombstone(matchers=(), start_ms=0, end_ms=10, number=1):
    return Tombstone(*A, tuple(matchers), start_ms, end_ms, block=number, segment=number)


def opened(directory):
    (directory / "quarantine").mkdir(exist_ok=True)
    return Tombstones(directory, Quarantine(directory, Disk()))


def test_the_file_is_as_its_page_draws_it(tmp_path):
    them = opened(tmp_path)
    them.add(tombstone([("=~", "a", "x.*")]))
    them.move_cuts({(A, "web"): 7})
    line, body, *again = (tmp_path / "TOMBSTONES").read_bytes().split(b"\n")
    assert again == [line, body, b""]
    assert line == b"MHTOMBSTONES 1 %08x" % zlib.crc32(body)
    assert json.loads(body) == {
        "tombstones": [
            {
                "region": "kr",
                "project": "a",
                "matchers": [["=~", "a", "x.*"]],
                "start_ms": 0,
                "end_ms": 10,
                "block": 1,
                "segment": 1,
            }
        ],
        "cuts": [{"region": "kr", "project": "a", "job": "web", "before_ms": 7}],
    }


def test_no_single_damaged_spot_brings_anything_back(tmp_path):
    them = opened(tmp_path)
    them.add(tombstone([("=", "a", "MHTOMBSTONES 1\n")]))
    them.move_cuts({(A, "web"): 5})
    path = tmp_path / "TOMBSTONES"
    sound = path.read_bytes()
    for at in range(len(sound)):
        for spoiled in (sound[at] ^ 1, 0, 0x0A):
            found = decode(sound[:at] + bytes([spoiled]) + sound[at + 1 :])
            assert found is not None, (at, spoiled)
            assert encode(found) == sound
    for size in range(len(sound) // 2, len(sound)):
        assert encode(decode(sound[:size])) == sound
    path.write_bytes(sound.replace(b"web", b"WEB", 1))
    assert list(opened(tmp_path).pending) == list(them.pending)


def test_a_file_that_is_all_broken_is_set_aside_and_found_by_verify(tmp_path):
    store = open_store(tmp_path)
    append(store.writer(TENANT), series("m"), (NOW, 1.0))
    store.delete(TENANT, [Matcher(MatchOp.EQUAL, "__name__", "other")], 0, NOW)
    store.close()
    path = tmp_path / "TOMBSTONES"
    sound = path.read_bytes()
    assert verify(tmp_path).faults == ()
    path.write_bytes(sound.replace(b"other", b"OTHER", 1))
    assert [fault.file for fault in verify(tmp_path).faults] == ["TOMBSTONES"]
    path.write_bytes(sound.replace(b"other", b"OTHER"))
    assert [fault.file for fault in verify(tmp_path).faults] == ["TOMBSTONES"]
    store = open_store(tmp_path)
    assert set(dump(store)) == {series("m")}
    store.close()
    assert (tmp_path / "quarantine" / "TOMBSTONES").exists()
    assert not path.exists()


def test_cuts_never_move_back_and_hold_for_whom_they_are(tmp_path):
    them = opened(tmp_path)
    them.move_cuts({(EVERYBODY, ""): 3})
    them.move_cuts({(A, ""): 10, (A, "web"): 4})
    them.move_cuts({(A, ""): 8, (A, "web"): 6})
    for each in (them, opened(tmp_path)):
        assert each.cut(A) == 10
        assert each.cut(A, "web") == 6
        assert each.cut(A, "other") == 10
        assert each.cut(Owner("kr", "b")) == 3


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 5)), st.integers(0, 20), st.integers(0, 20)), max_size=6
    )
)
def test_ranges_less_deletions_are_what_is_left_point_by_point(deletions):
    found = [(BitMap(range(6)), [(0, 20)])]
    expected = {(each, time) for each in range(6) for time in range(21)}
    for meant, *span in deletions:
        start, end = sorted(span)
        found = list(_without(found, BitMap(meant), tombstone(start_ms=start, end_ms=end)))
        expected -= {(each, time) for each in meant for time in range(start, end + 1)}
    left = [
        (each, time)
        for numbers, ranges in found
        for each in numbers
        for start, end in ranges
        for time in range(start, end + 1)
    ]
    assert sorted(left) == sorted(expected)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_deletion_is_forgotten_one_by_one(tmp_path, gone):
    them = opened(tmp_path)
    both = [tombstone(number=1), tombstone(number=2)]
    for each in both:
        them.add(each)
    them.remove([both[gone]])
    assert list(opened(tmp_path).pending) == [both[1 - gone]]
