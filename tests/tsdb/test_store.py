"""Random appends, flushes, merges and restarts against a plain dict that knows the rules."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings, strategies
from tests.tsdb.stores import NOW, dump, dump_stacks, open_store, series

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import NAN, OUT_OF_ORDER, STALE, Row
from meterhall.model.tenant import Tenant

SPAN = 100
WINDOW = 150
TENANTS = [Tenant("kr", "a"), Tenant("kr", "b")]
GROUPS = 2
WIDTH = 4
VALUES = [0.0, -0.0, 1.0, 2.0, 2.5, 1e300, NAN, STALE, float("inf"), float("-inf")]
LABELS = {
    (group, place): series(f"m{place // 2}", group=str(group), place=str(place))
    for group in range(GROUPS)
    for place in range(WIDTH)
}

row = strategies.tuples(
    strategies.integers(0, GROUPS - 1),
    strategies.integers(-40, 8).map(lambda step: step * 10),
    strategies.dictionaries(
        strategies.integers(0, WIDTH - 1), strategies.sampled_from(VALUES), min_size=1
    ),
)
operation = strategies.one_of(
    strategies.tuples(
        strategies.just("append"),
        strategies.integers(0, len(TENANTS) - 1),
        strategies.lists(row, min_size=1, max_size=4),
        strategies.booleans(),
    ),
    strategies.tuples(strategies.just("run"), strategies.integers(1, 15)),
    strategies.tuples(strategies.just("flush"), strategies.integers(-6, 2)),
    strategies.tuples(strategies.sampled_from(["maintain", "reopen", "compare"])),
)


class Oracle:
    """What a store should hold, told sample by sample."""

    def __init__(self):
        self.samples = {}

    def append(self, tenant, labels, time_ms, value, *, any_age):
        """Whether the sample is accepted."""
        held = self.samples.setdefault((tenant, labels), {})
        bits = int(np.float64(value).view("u8"))
        if time_ms in held:
            return held[time_ms] == bits
        if held and time_ms < max(held) - WINDOW and not any_age:
            return False
        held[time_ms] = bits
        return True

    def held_by(self, tenant):
        return {labels: held for (who, labels), held in self.samples.items() if who == tenant}


class Driver:
    """Runs operations on a store and the oracle, and compares."""

    def __init__(self, directory):
        self.directory = directory
        self.oracle = Oracle()
        self.base = 0
        self.open()

    def open(self):
        self.store = open_store(
            self.directory,
            block_span_ms=SPAN,
            merged_span_ms=4 * SPAN,
            out_of_order_window_ms=WINDOW,
            log_segment_bytes=2000,
            late_bytes_max=1500,
        )

    def append(self, who, rows, any_age=False):
        tenant = TENANTS[who]
        writer = self.store.writer(tenant)
        taken = 0
        made = []
        for group, step, cells in rows:
            time_ms = NOW + self.base + step
            places = sorted(cells)
            refs = writer.intern(f"g{group}", [LABELS[group, place] for place in places])
            made.append(Row(time_ms, refs, np.array([cells[place] for place in places])))
            for place in places:
                taken += self.oracle.append(
                    tenant, LABELS[group, place], time_ms, cells[place], any_age=any_age
                )
        said = writer.append(made, any_age=any_age)
        assert not said.forgotten
        assert said.accepted == taken
        assert said.accepted + len(said.rejections) == sum(len(each.refs) for each in made)
        for rejection in said.rejections:
            assert rejection.reason == OUT_OF_ORDER or rejection.reason.startswith("duplicate")
        said.durable.result(10)

    def run(self, scrapes):
        """Ordinary times: whole rows, one after the other."""
        for _ in range(scrapes):
            self.base += 10
            value = float(self.base)
            rows = [(group, 0, dict.fromkeys(range(WIDTH), value)) for group in range(GROUPS)]
            self.append(0, rows)

    def flush(self, spans):
        self.store.flush((NOW + self.base) // SPAN * SPAN + spans * SPAN)

    def maintain(self):
        self.store.maintain()

    def reopen(self):
        self.store.close()
        self.open()

    def compare(self):
        for tenant in TENANTS:
            held = {key: value for key, value in self.oracle.held_by(tenant).items() if value}
            assert dump(self.store, tenant) == held
            assert dump_stacks(self.store, tenant) == held
            for back in (0, 30, 120):
                self.compare_part(tenant, held, NOW + self.base - back - 60, NOW + self.base - back)
            for end_ms in range(NOW + self.base - 200, NOW + self.base + 60, 10):
                self.compare_newest(tenant, held, end_ms)
                self.compare_at_hand(tenant, held, end_ms)

    def compare_part(self, tenant, held, start_ms, end_ms):
        """Stacks of a range, those with the newest samples alone, and label values."""
        inside = {}
        for labels, samples in held.items():
            some = {time: bits for time, bits in samples.items() if start_ms <= time <= end_ms}
            if some:
                inside[labels] = some
        assert dump_stacks(self.store, tenant, start_ms, end_ms) == inside
        newest = dump_stacks(self.store, tenant, start_ms, end_ms, newest=True)
        assert newest.keys() == inside.keys()
        for labels, samples in newest.items():
            assert samples.items() <= inside[labels].items()
            assert max(samples) == max(inside[labels])
        reader = self.store.reader(tenant)
        for name in ("__name__", "m1"), ("place", "0|1|2"):
            sets = [[Matcher(MatchOp.REGEX, *name)]]
            found = reader.series(sets, start_ms, end_ms)
            expected = sorted(
                {value for labels in found for key, value in labels if key == "place"}
            )
            assert reader.label_values("place", sets, start_ms, end_ms) == expected

    def compare_newest(self, tenant, held, end_ms):
        """Memory may not tell, but what it tells is so."""
        start_ms = end_ms - 55
        for name in ("m0", "m1"):
            matchers = [Matcher(MatchOp.EQUAL, "__name__", name)]
            found = self.store.reader(tenant).newest(matchers, start_ms, end_ms, WIDTH * GROUPS)
            if found is None:
                # Reading brings blocks to memory.
                dump(self.store, tenant, matchers, start_ms, end_ms)
                found = self.store.reader(tenant).newest(matchers, start_ms, end_ms, WIDTH * GROUPS)
            if found is None:
                continue
            expected = {}
            for labels, samples in held.items():
                times = [time_ms for time_ms in samples if start_ms <= time_ms <= end_ms]
                if times and labels[0] == ("__name__", name):
                    expected[labels] = (max(times), samples[max(times)])
            told = {
                labels: (time_ms, int(np.float64(value).view("u8")))
                for labels, time_ms, value in found
            }
            assert told == expected

    def compare_at_hand(self, tenant, held, end_ms):
        """Likewise all samples of a range."""
        start_ms = end_ms - 55
        for name in ("m0", "m1"):
            matchers = [Matcher(MatchOp.EQUAL, "__name__", name)]
            reader = self.store.reader(tenant)
            found = reader.at_hand(matchers, start_ms, end_ms, WIDTH * GROUPS)
            if found is None:
                continue
            expected = {}
            for labels, samples in held.items():
                inside = {
                    time: bits for time, bits in samples.items() if start_ms <= time <= end_ms
                }
                if inside and labels[0] == ("__name__", name):
                    expected[labels] = inside
            told = {
                labels: dict(zip(times.tolist(), values.view("u8").tolist(), strict=True))
                for labels, times, values in found
            }
            assert told == expected
            assert all((np.diff(times) > 0).all() for _, times, _ in found)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.lists(operation, max_size=25))
@example([("run", 1), ("flush", 1), ("flush", 0), ("reopen",), ("run", 1)])
@example(
    [
        ("append", 0, [(0, 0, {0: 0.0}), (0, -10, {1: 0.0})], False),
        ("flush", 0),
        ("append", 0, [(0, -10, {0: 0.0})], False),
    ]
)
def test_a_store_equals_a_dict(operations):
    with tempfile.TemporaryDirectory() as directory:
        driver = Driver(Path(directory))
        try:
            for name, *arguments in operations:
                getattr(driver, name)(*arguments)
            driver.compare()
            driver.reopen()
            driver.compare()
        finally:
            driver.store.close()
