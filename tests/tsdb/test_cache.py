"""The cache keeps to its bytes and forgets the oldest first."""

import pytest

from meterhall.tsdb.cache import ByteCache, NotAtHand, reading_once


def load(calls, piece, size):
    def make():
        calls.append(piece)
        return piece, size

    return make


def test_least_recently_used_goes_first():
    cache, calls = ByteCache(10), []
    for key in ("a", "b", "a", "c", "a", "b"):
        assert cache.get((1, key), load(calls, key, 5)) == key
    assert calls == ["a", "b", "c", "b"]


def test_what_is_read_once_pushes_nothing_out():
    cache, calls = ByteCache(10), []
    cache.get((1, "a"), load(calls, "a", 8))
    with reading_once():
        for _ in range(2):
            for key in ("a", "b", "c"):
                assert cache.get((1, key), load(calls, key, 8)) == key
    assert calls == ["a", "b", "c"]
    cache.get((1, "a"), load(calls, "again", 8))
    cache.get((1, "b"), load(calls, "d", 8))
    assert calls == ["a", "b", "c", "d"]


def test_one_piece_may_be_larger_than_the_cache():
    cache, calls = ByteCache(10), []
    for _ in range(2):
        cache.get((1, "large"), load(calls, "large", 99))
    assert calls == ["large"]


def test_an_owner_is_dropped_and_a_failure_not_kept():
    cache, calls = ByteCache(10), []
    cache.get((1, "a"), load(calls, "a", 5))
    cache.get((2, "a"), load(calls, "b", 5))
    cache.drop(1)
    cache.get((1, "a"), load(calls, "c", 5))
    cache.get((2, "a"), load(calls, "d", 5))
    assert calls == ["a", "b", "c"]

    def fail():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the loader's own
        cache.get((3, "a"), fail)
    assert cache.get((3, "a"), load(calls, "e", 1)) == "e"


def test_what_is_not_there_is_not_at_hand():
    cache = ByteCache(100)
    with pytest.raises(NotAtHand):
        cache.at_hand("a")
    cache.get("a", lambda: ("piece", 10))
    assert cache.at_hand("a") == "piece"
