"""What waits to be sent: live first, the rest in order, each until the service has answered for it."""

import pytest
from tests.agent.disks import FullDisk
from tests.agent.rig import Machine
from tests.agent.scrapes import split, whole

from meterhall.agent import outbox as outbox_module
from meterhall.agent.outbox import Outbox
from meterhall.agent.spool import Spool, SpoolSettings
from meterhall.agent.timekeeping import AgentClock
from meterhall.wire.agent_calls import RefusedScrape, ReportAnswer, ReportLimits
from meterhall.wire.agent_report import decode_batch

LIMITS = ReportLimits(10 << 20, 50_000, 4 << 20, 32 << 20)


class Bench:
    """An outbox on a spool of its own."""

    def __init__(self, directory, settings=None, disk=None):
        self.clock = AgentClock(Machine(), directory / "clock.json")
        machine = self.clock.machine
        self.clock.hear(machine.now_ms(), machine.boot_ms(), machine.boot_ms())
        self.spool = Spool(
            directory / "spool", settings or SpoolSettings(), disk or FullDisk(), self.clock
        )
        self.outbox = Outbox(self.spool, self.clock)

    def put(self, *scrapes, shape=None):
        for scrape in scrapes:
            self.outbox.put(self.spool.append(scrape, shape).result(10))

    def leave(self, *scrapes, shape=None):
        """To the spool alone, as an earlier run would."""
        for scrape in scrapes:
            self.spool.append(scrape, shape).result(10)


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(settings=None, disk=None):
        made.append(Bench(tmp_path, settings, disk))
        return made[-1]

    yield make
    for each in made:
        each.spool.close()


def sent(parcel):
    """(times, outcomes) of a parcel, as the service reads it."""
    batch = decode_batch(parcel.body, 32 << 20)
    assert [scrape.seq for scrape in batch.scrapes] == [entry.seq for entry in parcel.entries]
    return [scrape.time_ms for scrape in batch.scrapes], [s.outcome for s in batch.scrapes]


def times(*scrapes):
    return [scrape.time_ms for scrape in scrapes]


def answer(stored=0, unknown=(), refused=()):
    return ReportAnswer(stored, list(unknown), [RefusedScrape(*each) for each in refused])


def test_live_and_back_fill_are_apart_and_in_order(bench):
    box = bench()
    old = [whole(number) for number in range(5)]
    new = [whole(number) for number in range(10, 13)]
    box.leave(*old)
    box.put(*new)
    assert box.outbox.waiting == 8
    live = box.outbox.live(LIMITS)
    assert sent(live)[0] == times(*new)
    box.outbox.delivered(live, answer(3))
    assert box.outbox.live(LIMITS) is None
    assert box.outbox.has_backfill
    back = box.outbox.backfill(LIMITS)
    assert sent(back)[0] == times(*old)
    box.outbox.delivered(back, answer(5))
    assert (box.outbox.waiting, box.outbox.has_backfill) == (0, False)
    assert box.outbox.backfill(LIMITS) is None


def test_what_was_not_answered_is_sent_again_as_it_was(bench):
    box = bench()
    box.leave(whole(1), whole(2))
    box.put(whole(3))
    first = box.outbox.live(LIMITS), box.outbox.backfill(LIMITS)
    again = box.outbox.live(LIMITS), box.outbox.backfill(LIMITS)
    assert [sent(parcel) for parcel in first] == [sent(parcel) for parcel in again]


def test_batches_are_bounded_by_count_and_bytes(bench):
    box = bench()
    box.leave(*(whole(number) for number in range(500)))
    assert len(box.outbox.backfill(LIMITS).entries) == 200
    small = ReportLimits(1, 1, 4 << 20, 2000)
    assert len(box.outbox.backfill(small).entries) == 4
    assert len(box.outbox.backfill(replace_limits(small, 10)).entries) == 1


def replace_limits(limits, decoded):
    return ReportLimits(limits.page_bytes_max, limits.samples_max, limits.batch_bytes_max, decoded)


def test_back_fill_goes_on_where_it_was(bench):
    box = bench(SpoolSettings(segment_bytes_max=500))
    scrapes = [whole(number) for number in range(450)]
    box.leave(*scrapes)
    seen = []
    while parcel := box.outbox.backfill(LIMITS):
        seen += sent(parcel)[0]
        box.outbox.delivered(parcel, answer(len(parcel.entries)))
    assert seen == times(*scrapes)


def test_a_shape_travels_until_a_page_of_it_is_stored(bench):
    box = bench()
    shape = split(1)[1]
    for number in (1, 2):
        box.put(split(number)[0], shape=shape)
    parcel = box.outbox.live(LIMITS)
    assert [outcome.shape for outcome in sent(parcel)[1]] == [shape, shape]
    box.outbox.delivered(parcel, answer(2))
    box.put(split(3)[0], shape=shape)
    parcel = box.outbox.live(LIMITS)
    assert [outcome.shape for outcome in sent(parcel)[1]] == [None]
    # The service has forgotten it.
    seq = parcel.entries[0].seq
    box.outbox.delivered(parcel, answer(0, unknown=[seq]))
    parcel = box.outbox.live(LIMITS)
    assert ([entry.seq for entry in parcel.entries], sent(parcel)[1][0].shape) == ([seq], shape)
    box.outbox.delivered(parcel, answer(1))
    assert box.outbox.waiting == 0


def test_a_shape_that_nobody_knows_is_not_asked_for_ever(bench, capsys):
    box = bench()
    box.leave(split(1)[0])
    parcel = box.outbox.backfill(LIMITS)
    assert sent(parcel)[1][0] == split(1)[0].outcome
    box.outbox.delivered(parcel, answer(0, unknown=[parcel.entries[0].seq]))
    assert box.outbox.waiting == 0
    assert "nobody knows the shape" in capsys.readouterr().out


def test_what_is_refused_is_dropped_with_the_reason(bench, capsys):
    box = bench()
    box.put(whole(1), whole(2))
    parcel = box.outbox.live(LIMITS)
    refused = [(parcel.entries[0].seq, "no such target")]
    box.outbox.delivered(parcel, answer(1, refused=refused))
    assert box.outbox.waiting == 0
    assert "no such target" in capsys.readouterr().out


def test_the_one_that_is_to_blame_is_found_and_no_other_is_dropped(bench, capsys):
    """The service cannot read batches with the scrape number 37, and does not say which it is."""
    box = bench()
    scrapes = [whole(number) for number in range(100)]
    box.leave(*scrapes)
    stored = []
    while parcel := box.outbox.backfill(LIMITS):
        seen = sent(parcel)[0]
        if scrapes[37].time_ms in seen:
            box.outbox.unacceptable(parcel, "400: cannot be read")
        else:
            box.outbox.delivered(parcel, answer(len(seen)))
            stored += seen
    assert stored == times(*scrapes[:37], *scrapes[38:])
    assert capsys.readouterr().out.count("400: cannot be read") == 1


def test_what_does_not_fit_into_memory_becomes_back_fill(bench, monkeypatch):
    monkeypatch.setattr(outbox_module, "_LIVE_MAX", 10)
    box = bench()
    scrapes = [whole(number) for number in range(30)]
    box.put(*scrapes)
    assert sent(box.outbox.live(LIMITS))[0] == times(*scrapes[20:])
    assert sent(box.outbox.backfill(LIMITS))[0] == times(*scrapes[:20])
    assert box.outbox.waiting == 30


def test_what_waited_long_is_not_live_any_more_when_sending_fails(bench, monkeypatch):
    box = bench()
    box.put(whole(1))
    box.outbox.failed()
    assert sent(box.outbox.live(LIMITS))[0] == times(whole(1))
    monkeypatch.setattr(outbox_module, "_LIVE_AGE_S_MAX", 0.0)
    box.outbox.failed()
    assert box.outbox.live(LIMITS) is None
    assert sent(box.outbox.backfill(LIMITS))[0] == times(whole(1))


def test_what_the_disk_did_not_take_is_sent_from_memory(bench, monkeypatch, capsys):
    monkeypatch.setattr(outbox_module, "_LIVE_MAX", 3)
    box = bench()
    for number in range(5):
        box.outbox.put_unspooled(whole(number), None)
    assert box.outbox.waiting == 3
    assert not box.outbox.has_backfill
    parcel = box.outbox.live(LIMITS)
    assert sent(parcel)[0] == times(whole(2), whole(3), whole(4))
    assert decode_batch(parcel.body, 1 << 20).dropped == 2
    box.outbox.delivered(parcel, answer(3))
    box.put(whole(9))
    assert decode_batch(box.outbox.live(LIMITS).body, 1 << 20).dropped == 0
    assert capsys.readouterr().out.count("a scrape is lost") == 2


def test_dropped_scrapes_are_told_once(bench):
    box = bench(SpoolSettings(bytes_max=2000, segment_bytes_max=300))
    box.leave(*(whole(number) for number in range(60)))
    dropped = box.spool.dropped
    assert dropped > 0
    parcel = box.outbox.backfill(LIMITS)
    assert decode_batch(parcel.body, 1 << 20).dropped == dropped
    box.outbox.delivered(parcel, answer(len(parcel.entries)))
    assert box.spool.dropped == 0
