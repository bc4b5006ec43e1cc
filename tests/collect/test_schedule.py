import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.collect.schedule import Pace, Tick, offset_ms, tick_after

NOW = 1_795_465_175_364
INTERVALS = st.integers(1_000, 3_600_000)


@pytest.mark.parametrize(
    ("now", "interval", "offset", "expected"),
    [
        (0, 1000, 0, 1000),
        (1, 1000, 0, 1000),
        (999, 1000, 0, 1000),
        (1000, 1000, 0, 2000),
        (1000, 1000, 250, 1250),
        (1249, 1000, 250, 1250),
        (1250, 1000, 250, 2250),
        (-1, 1000, 0, 0),
        (-2500, 1000, 250, -1750),
        (NOW, 60_000, 59_999, 1_795_465_199_999),
    ],
)
def test_tick_after(now, interval, offset, expected):
    assert tick_after(now, interval, offset) == expected


@given(st.integers(-(10**13), 10**13), INTERVALS, st.integers(0, 10**6))
def test_tick_after_is_the_next_of_the_grid(now, interval, seed):
    offset = seed % interval
    tick = tick_after(now, interval, offset)
    assert now < tick <= now + interval
    assert (tick - offset) % interval == 0


def test_offsets_are_fixed_for_ever():
    # These figures must survive any refactoring: a change moves every target of every installation.
    assert [offset_ms(f"target-{i}", 60_000) for i in range(4)] == [58082, 42527, 32234, 51477]


def test_offsets_are_spread_evenly():
    counts = [0] * 60
    for i in range(6_000):
        counts[offset_ms(f"0b0b5c3e-7d7a-4c80-9d6c-{i:012d}", 60_000) // 1000] += 1
    assert min(counts) > 60
    assert max(counts) < 150


@pytest.mark.parametrize(
    ("interval", "late_ms", "snapped"),
    [
        (60_000, 0, True),
        (60_000, 2, True),
        (60_000, -2, True),
        (60_000, 3, False),
        (1_000, 2, True),
        (150, 1, True),
        (150, 2, False),
        (60_000, -3_600_000, False),
        (60_000, 3_600_000, False),
    ],
)
def test_timestamp_snaps_to_its_tick(interval, late_ms, snapped):
    pace = Pace(interval, 0)
    tick = Tick(interval * 1000, 5.0)
    now = tick.time_ms + late_ms
    assert pace.timestamp_ms(tick, now) == (tick.time_ms if snapped else now)


def test_a_wake_up_before_its_tick_does_not_repeat_it():
    pace = Pace(1_000, 0)
    first = pace.next_tick(500, 10.0, None)
    assert first == Tick(1_000, 10.5)
    # The timer fired 1 ms early and the collection took no time at all.
    second = pace.next_tick(999, 10.499, 10.499)
    assert second.time_ms == 2_000


def test_missed_ticks_are_skipped():
    pace = Pace(1_000, 0)
    assert pace.next_tick(5_400, 104.4, 100.0).time_ms == 6_000


def run(pace, jumps, rounds=60):
    """Starts of a target on a monotonic clock, while the wall clock jumps by `jumps[round]`."""
    wall, mono, last = NOW, 50.0, None
    starts, ticks = [], []
    for turn in range(rounds):
        tick = pace.next_tick(wall, mono, last)
        wait = tick.start_s - mono
        assert wait >= 0
        # The jump happens while the target sleeps: the sleep itself is monotonic.
        wall += round(wait * 1000) + jumps.get(turn, 0)
        mono = last = tick.start_s
        starts.append(mono)
        ticks.append(pace.timestamp_ms(tick, wall))
        wall += 1
        mono += 0.001
    return starts, ticks


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000, -1_234, 1_234, -59_999, 10**10])
def test_a_jump_of_the_wall_clock_neither_stalls_nor_bursts(jump_ms):
    pace = Pace(60_000, 17_000)
    starts, times = run(pace, {20: jump_ms})
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert min(gaps) >= 30
    assert max(gaps) <= 90.002
    # One tick later the target is on the grid of the new time.
    assert all((t - 17_000) % 60_000 == 0 for t in times[22:])


@given(INTERVALS, st.dictionaries(st.integers(0, 59), st.integers(-(10**10), 10**10)))
def test_no_sequence_of_jumps_stalls_or_bursts(interval, jumps):
    starts, _ = run(Pace(interval, interval // 3), jumps)
    for before, after in itertools.pairwise(starts):
        assert interval / 2000 - 0.002 <= after - before <= interval * 1.5 / 1000 + 0.002


def test_a_thousand_targets_never_start_together():
    rng = random.Random(7)
    paces = [Pace.of(str(rng.getrandbits(128)), 1_000) for _ in range(1_000)]
    per_ms = [0] * 1_000
    for pace in paces:
        per_ms[pace.offset_ms] += 1
    assert max(per_ms) <= 10
