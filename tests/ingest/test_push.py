"""Pushes against a writer that records: labels judged, samples kept or refused, caches that forget."""

from concurrent.futures import Future

import numpy as np
import pytest
from allowances import allowances
from recording_writer import RecordingWriter, as_seen
from write_request import body_of

from meterhall.ingest.limits import PushLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.model.errors import LimitExceeded, StoreUnavailable, WriteRequestError
from meterhall.model.metadata import Metadata
from meterhall.model.samples import ABSENT, STALE
from meterhall.model.tenant import Tenant

A, B = Tenant("kr", "aOpreudC"), Tenant("kr", "bOpreudC")
NOW = 1_700_000_000_000


class Pusher:
    def __init__(self, allowed=None, **limits):
        self.writers = {A: RecordingWriter(), B: RecordingWriter()}
        self.catalog = MetadataCatalog()
        self.receiver = PushReceiver(
            self.writers.__getitem__, self.catalog, PushLimits(**limits), allowed or allowances()
        )

    def push(self, *series, metadata=(), tenant=A):
        return self.receiver.receive(tenant, body_of(series, metadata))

    def stored(self, tenant=A):
        """{labels: {time: value}}"""
        return {
            labels: {time: as_seen(bits) for time, bits in samples.items()}
            for labels, samples in self.writers[tenant].samples.items()
        }


@pytest.fixture
def it():
    return Pusher()


def one(labels, time=NOW, value=1.0):
    return (labels, [(time, value)])


@pytest.mark.parametrize("_way", ["new", "known"])
def test_samples_arrive_with_their_own_labels(it, _way):
    labels = {"__name__": "a", "job": "j", "instance": "i", "openmetrics_id": "x"}
    if _way == "known":
        it.push(one(labels, NOW - 1))
    got = it.push(one(labels), ({"__name__": "b"}, [(NOW, 2.0), (NOW + 1, 3.0), (NOW + 2, 0.0)]))
    assert (got.accepted, got.rejected, got.skipped, got.reasons) == (4, 0, 0, [])
    assert it.stored()[tuple(sorted(labels.items()))][NOW] == 1.0
    assert it.stored()[(("__name__", "b"),)] == {NOW: 2.0, NOW + 1: 3.0, NOW + 2: 0.0}
    rows = it.writers[A].appends[-1]
    assert [row.time_ms for row in rows] == [NOW, NOW + 1, NOW + 2]


def test_the_clock_is_job_and_instance(it):
    it.push(*(one({"__name__": "m", "job": j, "instance": i}) for j in "ab" for i in "xy"))
    it.push(one({"__name__": "n", "job": "a", "instance": "x"}), one({"__name__": "o"}))
    clocks = it.writers[A].clocks
    assert len(set(clocks.values())) == 5
    by_name = {}
    for labels, clock in clocks.items():
        by_name.setdefault(clock, set()).add(dict(labels)["__name__"])
    assert {"m", "n"} in by_name.values()


def test_tenants_share_nothing(it):
    labels = {"__name__": "a"}
    it.push(one(labels, value=1.0), tenant=A)
    it.push(one(labels, value=2.0), tenant=B)
    it.push(one(labels, NOW + 1, 3.0), tenant=A)
    key = (("__name__", "a"),)
    assert it.stored(A) == {key: {NOW: 1.0, NOW + 1: 3.0}}
    assert it.stored(B) == {key: {NOW: 2.0}}


MENDED = [
    ([("b", "2"), ("__name__", "m"), ("a", "1")], {"__name__": "m", "a": "1", "b": "2"}),
    ([("__name__", "m"), ("a", "")], {"__name__": "m"}),
    ([("__name__", "m"), ("__replica__", "1"), ("__x__", "")], {"__name__": "m"}),
    ([("__name__", "m"), ("__x", "1"), ("x__", "2")], {"__name__": "m", "__x": "1", "x__": "2"}),
    ([("__name__", "m"), ("a.b c", "\n\t")], {"__name__": "m", "a.b c": "\n\t"}),
    ([("__name__", "日本"), ("é", "ü")], {"__name__": "日本", "é": "ü"}),
]


@pytest.mark.parametrize(("sent", "kept"), MENDED)
def test_labels_that_are_mended(it, sent, kept):
    for time in (NOW, NOW + 1):
        got = it.push(one(sent, time))
        assert (got.accepted, got.rejected, got.reasons) == (1, 0, [])
    assert list(it.stored()) == [tuple(sorted(kept.items()))]


@pytest.mark.parametrize("sent", [[], [("a", "b")], [("__name__", ""), ("a", "b")]])
def test_series_without_a_name_are_skipped_in_silence(it, sent):
    for time in (NOW, NOW + 1):
        got = it.push(one(sent, time), one({"__name__": "good"}, time))
        assert (got.accepted, got.rejected, got.skipped, got.reasons) == (1, 0, 1, [])
    assert list(it.stored()) == [(("__name__", "good"),)]


REFUSED = [
    ([("__name__", "m"), ("__name__", "n")], 'duplicate label name "__name__"'),
    ([("__name__", "m"), ("a", "1"), ("a", "1")], 'duplicate label name "a"'),
    ([("__name__", "m"), ("a", ""), ("a", "1")], 'duplicate label name "a"'),
    ([("__name__", "m"), ("", "x")], 'empty label name, with value "x"'),
    ([("__name__", "m"), ("a\0b", "x")], r'control character in label name "a\x00b"'),
    ([("__name__", "m"), ("a\x1b[31m", "x")], r'control character in label name "a\x1b[31m"'),
    ([("__name__", "m"), ("a\u0085", "x")], r'control character in label name "a\u0085"'),
    ([("__name__", "m"), ("a", "x\0y")], 'NUL in the value of label "a"'),
    ([("__name__", "m\n")], r'control character in metric name "m\n"'),
    ([("__name__", "m"), (b"\xff", "x")], r'label name is not UTF-8: "\\xff"'),
    ([("__name__", "m"), ("a", b"x\xff")], r'value of a label is not UTF-8: "x\\xff"'),
    ([("__name__", b"\xff")], r'value of a label is not UTF-8: "\\xff"'),
    (
        [("__name__", "m"), ("a", "v" * 65_536)],
        "label value length limit exceeded: 65536 bytes, limit 4096",
    ),
    (
        [("__name__", "m"), ("n" * 1025, "v")],
        "label name length limit exceeded: 1025 bytes, limit 1024",
    ),
    (
        [("__name__", "m"), *((f"l{i}", "v") for i in range(40))],
        "label limit exceeded: 41 labels, limit 40",
    ),
]


@pytest.mark.parametrize(("sent", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_series_with_bad_labels_are_refused_and_the_others_kept(it, sent, reason):
    for time in (NOW, NOW + 1):
        got = it.push(one(sent, time), one({"__name__": "good"}, time))
        assert (got.accepted, got.rejected, got.skipped) == (1, 1, 0)
        assert got.reasons == [reason]
    assert list(it.stored()) == [(("__name__", "good"),)]


def test_reasons_are_few_and_short():
    it = Pusher(reasons_max=3)
    got = it.push(*(one([("__name__", "m"), (f"\n{i}" + "x" * 900, "v")]) for i in range(9)))
    assert got.rejected == 9
    assert len(got.reasons) == 3
    assert all(len(reason) < 150 for reason in got.reasons)


def test_a_sample_twice_in_one_request(it):
    a = {"__name__": "a"}
    got = it.push((a, [(NOW, 1.0), (NOW, 1.0)]), one(a, NOW, 1.0))
    assert (got.accepted, got.rejected) == (3, 0)
    got = it.push((a, [(NOW + 1, 1.0), (NOW + 1, 2.5e9)]), one(dict(reversed(a.items())), NOW + 2))
    assert (got.accepted, got.rejected) == (2, 1)
    assert got.reasons == [
        f"duplicate sample for timestamp {NOW + 1}; overrides not allowed: existing 1, new value 2.5e+09"
    ]
    assert it.stored()[(("__name__", "a"),)] == {NOW: 1.0, NOW + 1: 1.0, NOW + 2: 1.0}


def test_one_series_in_two_spellings(it):
    got = it.push(
        one([("__name__", "a"), ("x", "1")]), one([("x", "1"), ("__name__", "a"), ("y", "")])
    )
    assert (got.accepted, got.rejected) == (2, 0)
    assert list(it.stored()) == [(("__name__", "a"), ("x", "1"))]


def test_refusals_of_the_store_are_passed_on(it):
    a = {"__name__": "a"}
    it.push(one(a))
    assert it.push(one(a)).accepted == 1
    got = it.push(one(a, NOW, 2.0), one(a, -5), one(a, NOW + 1))
    assert (got.accepted, got.rejected) == (1, 2)
    assert len(got.reasons) == 2
    assert "out of order sample" in got.reasons


def test_special_values(it):
    nan = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\xff", np.float64)[0]
    sent = [STALE, nan, ABSENT, -0.0, float("inf")]
    it.push(({"__name__": "a"}, [(NOW + i, value) for i, value in enumerate(sent)]))
    got = it.writers[A].samples[(("__name__", "a"),)]
    assert [got[NOW + i] for i in range(5)] == [
        0x7FF0000000000002,
        0x7FF8000000000001,
        0x7FF8000000000001,
        0x8000000000000000,
        0x7FF0000000000000,
    ]


def test_metadata_is_remembered(it):
    got = it.push(metadata=[(1, "a", "says", "seconds")])
    assert (got.accepted, got.rejected, got.reasons, it.writers[A].appends) == (0, 0, [], [])
    assert got.durable.result(0) is None
    assert it.catalog.families(A) == {"a": [Metadata("counter", "says", "seconds")]}
    assert it.catalog.families(B) == {}


def test_a_body_that_cannot_be_decoded(it):
    with pytest.raises(WriteRequestError):
        it.receiver.receive(A, b"rubbish")


def test_a_store_that_is_not_available(it):
    it.writers[A].unavailable = True
    with pytest.raises(StoreUnavailable):
        it.push(one({"__name__": "a"}))
    it.writers[A].unavailable = False
    assert it.push(one({"__name__": "a"})).accepted == 1


def test_repeated_bodies_survive_that_the_store_forgets(it):
    names = [{"__name__": f"m{place}", "job": "j"} for place in range(4)]
    keys = [tuple(sorted(labels.items())) for labels in names]
    for step in range(8):
        if step == 4:
            it.writers[A].forget(keys[1])
        if step == 5:
            # Another body with the same series has interned it again already.
            it.writers[A].forget(keys[2])
            it.push(one(names[2], NOW - 1))
        got = it.push(*(one(labels, NOW + step, 1.0 + step) for labels in names))
        assert (got.accepted, got.rejected, got.reasons) == (4, 0, [])
    for key in keys:
        assert {NOW + step: 1.0 + step for step in range(8)}.items() <= it.stored()[key].items()


def test_series_that_the_store_forgot_are_interned_again(it):
    a, b = {"__name__": "a"}, {"__name__": "b"}
    it.push(one(a), one(b))
    it.writers[A].forget((("__name__", "a"),))
    got = it.push(one(a, NOW + 1), one(b, NOW + 1))
    assert (got.accepted, got.rejected) == (2, 0)
    assert got.durable.result(0) is None
    assert set(it.stored()[(("__name__", "a"),)]) == {NOW, NOW + 1}
    it.push(one(a, NOW + 2))
    assert len(it.writers[A].appends) == 4


def test_durable_waits_for_both_appends(it):
    a = {"__name__": "a"}
    it.push(one(a))
    it.writers[A].forget((("__name__", "a"),))
    it.writers[A].durable = Future()
    got = it.push(one(a, NOW + 1))
    assert not got.durable.done()
    it.writers[A].durable.set_exception(StoreUnavailable("disk full"))
    with pytest.raises(StoreUnavailable):
        got.durable.result(0)


def test_pushes_at_the_same_time_share_what_is_known():
    """Also while nothing is known yet: each would decode the labels of all its series again."""
    it = Pusher()
    it.push()
    known = it.receiver._known[A]
    it.push(one({"__name__": "a"}))
    assert it.receiver._known[A] is known
    assert len(known.numbers) == 1


def test_the_cache_is_bounded():
    it = Pusher(cached_series_max=3)
    for round_ in range(5):
        got = it.push(*(one({"__name__": f"m{i}"}, NOW + round_) for i in range(5)))
        assert got.accepted == 5
    assert sum(len(known.numbers) for known in it.receiver._known.values()) <= 3
    assert all(len(samples) == 5 for samples in it.stored().values())


def test_a_label_limit_of_ones_own():
    it = Pusher(allowances(labels_per_series=1))
    got = it.push(one({"__name__": "a", "b": "c"}), one({"__name__": "a"}))
    assert (got.accepted, got.rejected) == (1, 1)


def test_over_the_series_limit_new_series_are_refused_and_named_and_old_ones_go_on():
    it = Pusher(allowances(active_series=2))
    old = [{"__name__": "a"}, {"__name__": "b"}]
    assert it.push(*(one(labels) for labels in old)).over_limit is None
    new = [{"__name__": "c", "id": str(number)} for number in range(3)]
    for round_ in range(2):
        at = NOW + 1 + round_
        got = it.push(*(one(labels, at) for labels in [old[0], *new, old[1]]))
        assert (got.accepted, got.rejected) == (2, 3)
        assert got.over_limit.retry_after_s > 0
        assert list(got.reasons) == [
            "over the limit of 2 active series: 3 new series refused",
            *(f'refused: {{__name__="c", id="{number}"}}' for number in range(3)),
        ]
    assert {len(samples) for samples in it.stored().values()} == {3}
    assert it.push(one(new[0]), tenant=B).over_limit is None


def test_a_forgotten_series_that_has_lost_its_place_is_refused():
    it = Pusher(allowances(active_series=1))
    it.push(one({"__name__": "a"}))
    it.writers[A].forget((("__name__", "a"),))
    it.push(one({"__name__": "b"}))
    got = it.push(one({"__name__": "a"}, NOW + 1), one({"__name__": "b"}, NOW + 1))
    assert (got.accepted, got.rejected) == (1, 1)
    assert 'refused: {__name__="a"}' in got.reasons


def test_over_the_rate_a_push_is_refused_whole_and_another_project_is_not():
    it = Pusher(allowances(samples_per_second=1, samples_burst=2))
    it.push(*(one({"__name__": f"m{number}"}) for number in range(5)))
    with pytest.raises(LimitExceeded, match="1 samples a second"):
        it.push(one({"__name__": "m0"}, NOW + 1))
    assert len(it.writers[A].appends) == 1
    it.push(one({"__name__": "m0"}), tenant=B)
