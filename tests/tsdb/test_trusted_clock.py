"""The time that retention counts from, when the wall clock is not to be trusted."""

import pytest
from tests.tsdb.stores import NOW, TENANT, StandingClock, append, dump, open_store, series

from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.trusted_clock import TrustedClock
from meterhall.tsdb.wal import NO_TIME

MINUTE = 60_000
DAY = 1440 * MINUTE
YEAR = 365 * DAY


class TwoClocks(StandingClock):
    """A wall clock that may jump, and a monotonic one that may not."""

    def __init__(self, now_ms=NOW):
        super().__init__(now_ms)
        self.run_ms = 0

    def monotonic(self):
        return self.run_ms / 1000

    def go(self, past_ms):
        self.time_ms += past_ms
        self.run_ms += past_ms


def trusted(clock, newest_ms=NOW):
    return TrustedClock(clock, newest_ms, StoreSettings())


def test_a_clock_that_goes_is_believed():
    clock = TwoClocks()
    it = trusted(clock)
    for past in (0, 5000, MINUTE, DAY, 3 * YEAR):
        clock.go(past)
        assert it.now_ms() == clock.time_ms


def test_an_empty_store_believes_any_clock():
    clock = TwoClocks(NOW + YEAR)
    assert trusted(clock, NO_TIME).now_ms() == NOW + YEAR


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_jump_ahead_is_believed_once_it_has_stayed_for_a_day(asked_before):
    clock = TwoClocks()
    it = trusted(clock)
    if asked_before:
        it.now_ms()
    clock.time_ms += YEAR
    assert it.now_ms() == NOW
    clock.go(DAY - 1)
    assert it.now_ms() == NOW + DAY - 1
    clock.go(1)
    assert it.now_ms() == NOW + DAY + YEAR


def test_a_jump_that_was_mended_leaves_nothing():
    clock = TwoClocks()
    it = trusted(clock)
    clock.time_ms += YEAR
    it.now_ms()
    clock.go(DAY // 2)
    it.now_ms()
    clock.time_ms -= YEAR
    assert it.now_ms() == clock.time_ms == NOW + DAY // 2
    clock.time_ms += YEAR
    it.now_ms()
    clock.go(DAY // 2)
    assert it.now_ms() == NOW + DAY


def test_a_second_jump_begins_the_wait_anew():
    clock = TwoClocks()
    it = trusted(clock)
    for days in (0, 0.9, 0.9):
        clock.go(int(days * DAY))
        clock.time_ms += YEAR
        assert it.now_ms() == NOW + clock.run_ms


def test_a_clock_that_goes_back_is_believed_and_never_surpassed():
    clock = TwoClocks()
    it = trusted(clock, NOW + 5 * MINUTE)
    assert it.now_ms() == NOW
    clock.time_ms -= YEAR
    assert it.now_ms() == NOW - YEAR


def test_a_store_that_starts_with_a_wrong_clock_drops_nothing(tmp_path):
    store = open_store(tmp_path, TwoClocks(), retention_ms=30 * DAY)
    append(store.writer(TENANT), series("m"), (NOW - DAY, 1.0), (NOW, 2.0))
    store.flush(NOW + 1)
    expected = dump(store)
    store.close()
    clock = TwoClocks(NOW + YEAR)
    store = open_store(tmp_path, clock, retention_ms=30 * DAY)
    # What this clock brings is stored, and makes no difference.
    append(store.writer(TENANT), series("new"), (NOW + YEAR, 1.0))
    for _ in range(3):
        store.maintain()
        clock.go(MINUTE)
    found = dump(store)
    assert {series("m"): found[series("m")]} == expected
    clock.go(DAY)
    store.maintain()
    assert set(dump(store)) == {series("new")}
    store.close()
