"""The ceilings of one project: the bucket of samples, labels, and what is told of both."""

import pytest
from allowances import HandClock, SetLimits, allowance
from hypothesis import given
from hypothesis import strategies as st

from meterhall.ingest.allowance import Allowance, Allowances, series_text
from meterhall.model.errors import LimitExceeded, TooLarge
from meterhall.model.limits import ProjectLimits
from meterhall.model.tenant import Tenant

RATE = {"samples_per_second": 100, "samples_burst": 1000}


def used(it, name, series=0):
    return next(usage for usage in it.usage(series) if usage.name == name)


def test_a_burst_passes_and_then_the_rate_holds():
    clock = HandClock()
    it = allowance(clock, **RATE)
    it.admit()
    it.charge(999)
    it.admit()
    it.charge(201)
    with pytest.raises(LimitExceeded, match=r"100 samples a second \(burst 1000\)") as refused:
        it.admit()
    assert refused.value.retry_after_s == 3
    clock.seconds += 2.0
    assert it.exhausted
    clock.seconds += 0.011
    it.admit()


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.integers(0, 3000), st.booleans()), min_size=1, max_size=40
    )
)
def test_pushes_never_outrun_rate_and_burst_by_more_than_one(steps):
    clock = HandClock()
    it = allowance(clock, **RATE)
    begin, taken, largest = clock.seconds, 0, 0
    for wait, samples, collected in steps:
        clock.seconds += wait
        if collected:
            it.charge(samples, collected=True)
        elif not it.exhausted:
            it.charge(samples)
            taken += samples
            largest = max(largest, samples)
    assert taken <= 1000 + 100 * (clock.seconds - begin) + largest + 1


def test_what_is_collected_owes_one_burst_at_most():
    clock = HandClock()
    it = allowance(clock, **RATE)
    it.charge(10**9, collected=True)
    assert it.exhausted
    clock.seconds += 10.02
    it.admit()


def test_no_limit_is_never_exhausted_and_a_new_one_begins_with_a_full_bucket():
    source, clock = SetLimits(), HandClock()
    it = Allowance(lambda: source.now, clock)
    it.charge(10**9)
    it.admit()
    assert it.series_max is None
    source.now = SetLimits(**RATE, active_series=7).now
    it.admit()
    assert it.series_max == 7


def test_labels_are_measured_in_bytes_and_the_largest_is_shown():
    it = allowance(labels_per_series=2, label_name_bytes=8, label_value_bytes=4)
    it.check_labels((("__name__", "ää"),))
    with pytest.raises(TooLarge, match="label value length limit exceeded: 5 bytes, limit 4"):
        it.check_labels((("__name__", "ääx"),))
    with pytest.raises(TooLarge, match="label name length limit exceeded: 9 bytes, limit 8"):
        it.check_labels((("nine_char", "1"),))
    with pytest.raises(TooLarge, match="label limit exceeded: 3 labels, limit 2"):
        it.check_labels((("a", "1"), ("b", "1"), ("c", "1")))
    assert [
        (usage.used, usage.refused) for usage in it.usage(5) if usage.name.startswith("label")
    ] == [(1, 1), (8, 1), (4, 1)]
    assert used(it, "active_series", 5).used == 5


def test_what_has_passed_before_is_refused_once_the_limit_is_lower():
    limits = SetLimits()
    it = Allowance(lambda: limits.now, HandClock())
    for labels in [(("a_long_name", "1"),), (("a", "a long value"),)]:
        limits.now = ProjectLimits()
        it.check_labels(labels)
        limits.now = ProjectLimits(label_name_bytes=8, label_value_bytes=8)
        with pytest.raises(TooLarge, match="limit 8"):
            it.check_labels(labels)


def test_the_rate_is_that_of_the_last_whole_slot():
    clock = HandClock()
    it = allowance(clock)
    it.charge(500)
    assert used(it, "samples_per_second").used == 0
    clock.seconds += 10
    assert used(it, "samples_per_second").used == 50
    clock.seconds += 10
    assert used(it, "samples_per_second").used == 0


def test_a_tenant_keeps_its_allowance():
    every = Allowances(SetLimits(), HandClock())
    a, b = Tenant("kr", "a"), Tenant("kr", "b")
    assert every.of(a) is every.of(a)
    assert every.of(a) is not every.of(b)
    assert every.tenants() == [a, b]


def test_a_long_series_is_cut():
    text = series_text((("__name__", "x" * 500),))
    assert len(text) == 200
    assert text.endswith("…")
