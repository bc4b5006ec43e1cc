"""The process that test_crash kills: scrapes, remote writes, late samples, back-fill and deletions without end.

Each line that it prints is an event of one series' life, a word and `kind number first last` (times, both included):

    sent     promised, for it is printed only after `durable` is done
    sending  of what was erased, something is about to come back
    erasing  a deletion of the range begins: until it is done it may have happened or not
    erased   it is done

All threads take their steps from one counter, and data time runs fast, so that flush, merge, retention and truncation
happen all the time.
"""

import itertools
import os
import random
import sys
import threading
from pathlib import Path

import numpy as np
import structlog
from tests.ingest.allowances import allowance, allowances
from tests.tsdb.stores import NOW, open_store, series
from tests.wire.write_request import body_of

from meterhall.ingest.limits import PushLimits, ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.errors import LimitExceeded, StoreUnavailable
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.retention import ProjectRetention, Retention
from meterhall.model.samples import Row
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant
from meterhall.tsdb import workshop
from meterhall.tsdb.disk import Disk

WIDTH = 4
STEP_MS = 10
RETENTION_MS = 8000
# Back-fill is older than the window, and than what a flush has cut; it lies between the other times.
WINDOW_MS = 1000
BACK_MS = 3005
TENANTS = [Tenant("kr", f"t{number}") for number in range(4)]
# Projects and workspaces with a rule of their own, by kind of series: two by time, one by size.
SHORT_MS, BRIEF_MS, SMALL_BYTES = 5000, 2500, 4000
DOOMED = 3


class Rules:
    """What the control plane says of the projects."""

    def retentions(self):
        return {
            ("kr", "t2"): ProjectRetention(
                Retention(time_ms=SHORT_MS), {"brief": Retention(time_ms=BRIEF_MS)}
            ),
            ("kr", "t3"): ProjectRetention(Retention(bytes=SMALL_BYTES)),
        }

    def departed(self):
        return ()


def labels_of(kind, number):
    return [
        series("m", job=kind, kind=kind, number=str(number), place=str(place))
        for place in range(WIDTH)
    ]


def value_of(time_ms, place):
    """What a sample must be: nothing else may ever be read."""
    return float((time_ms - NOW) % 9973 + place)


def vanished(time_ms, place):
    """Whether a scraped page lacks the series."""
    return (time_ms // STEP_MS + place) % 11 == 0


class FastClock:
    """As far as the steps have come."""

    def __init__(self, first):
        self._steps = itertools.count(first)
        self._newest_ms = NOW

    def step(self):
        """The next time that nobody has used."""
        self._newest_ms = NOW + STEP_MS * next(self._steps)
        return self._newest_ms

    def now_ms(self):
        return self._newest_ms

    def monotonic(self):
        return self._newest_ms / 1000


def open_busy(directory, clock, **changes):
    store = open_store(
        directory,
        clock,
        Disk(),
        **{
            "block_span_ms": 500,
            "merged_span_ms": 2000,
            "log_segment_bytes": 20_000,
            "log_checkpoint_bytes": 10_000,
            "maintain_interval_s": 0.005,
            "out_of_order_window_ms": WINDOW_MS,
            "retention_ms": RETENTION_MS,
            "late_bytes_max": 30_000,
        }
        | changes,
        awaits_rules=True,
    )
    store.retain(Rules())
    return store


def tell(word, kind, number, first_ms, last_ms):
    """Tells the ledger."""
    os.write(1, f"{word} {kind} {number} {first_ms} {last_ms}\n".encode())


def promise(kind, number, *times):
    for time_ms in times:
        tell("sent", kind, number, time_ms, time_ms)


def row(writer, kind, number, time_ms):
    refs = writer.intern(f"{kind}{number}", labels_of(kind, number))
    return Row(time_ms, refs, value_of(time_ms, 0) + np.arange(WIDTH))


def send(writer, kind, number, times, any_age=False):
    """Appends all times as one unit and waits for the disk; interns again what the store has forgotten."""
    while True:
        try:
            said = writer.append(
                [row(writer, kind, number, time_ms) for time_ms in times], any_age=any_age
            )
        except StoreUnavailable:
            continue
        assert not said.rejections, said.rejections
        if not said.forgotten:
            said.durable.result()
            promise(kind, number, *times)
            return


def scrape(store, clock):
    """A target's pages, from which series vanish and come back."""
    tenant = TENANTS[0]
    target = ScrapeTarget(
        "t", "web", "h", "s", "192.0.2.7", 9100, "/", 60_000, 10_000, tenant=tenant
    )
    session = ScrapeSession(
        target, store.writer(tenant), MetadataCatalog(), ScrapeLimits(), allowance()
    )
    while True:
        time_ms = clock.step()
        lines = [
            f'm{{kind="scrape",number="0",place="{place}"}} {value_of(time_ms, place)}\n'
            for place in range(WIDTH)
            if not vanished(time_ms, place)
        ]
        done = session.commit_page("".join(lines).encode(), "text/plain", time_ms, 0.1)
        assert done.refused == {}, done.refused
        done.durable.result()
        promise("scrape", 0, time_ms)


def push(store, clock):
    """Remote-write requests of several samples a series."""
    tenant = TENANTS[1]
    receiver = PushReceiver(store.writer, MetadataCatalog(), PushLimits(), allowances())
    while True:
        times = [clock.step() for _ in range(3)]
        body = body_of(
            (dict(labels), [(time_ms, value_of(time_ms, place)) for time_ms in times])
            for place, labels in enumerate(labels_of("push", 0))
        )
        received = receiver.receive(tenant, body)
        assert received.rejected == 0, received.reasons
        received.durable.result()
        promise("push", 0, *times)


def late(store, clock):
    """Samples in order, but every seventh, which comes a step late."""
    writer = store.writer(TENANTS[0])
    held = None
    for turn in itertools.count():
        time_ms = clock.step()
        if turn % 7 == 3:
            held = time_ms
            continue
        send(writer, "late", 0, [time_ms] if held is None else [time_ms, held])
        held = None


def back_fill(store, clock):
    """Live samples, and beside each an old one; now and then a series that is born with old ones alone."""
    writer = store.writer(TENANTS[1])
    for turn in itertools.count():
        time_ms = clock.step()
        send(writer, "back", 0, [time_ms])
        send(writer, "back", 0, [time_ms - BACK_MS], any_age=True)
        if turn % 5 == 0:
            send(writer, "born", time_ms - NOW, [time_ms - BACK_MS, time_ms - BACK_MS + 500])


def doom(store, clock):
    """Samples of which some are deleted again: out of the head, out of blocks, and of both; a few come back."""
    tenant = TENANTS[0]
    writer = store.writer(tenant)
    chances = random.Random(clock.now_ms())
    for turn in itertools.count():
        number, time_ms = turn % DOOMED, clock.step()
        send(writer, "doomed", number, [time_ms])
        if turn % 10 == 9:
            first_ms = time_ms - chances.randrange(4000)
            last_ms = first_ms + chances.randrange(1500)
            which = [("kind", "doomed"), ("number", str(number))]
            matchers = [Matcher(MatchOp.EQUAL, *each) for each in which]
            tell("erasing", "doomed", number, first_ms, last_ms)
            try:
                store.delete(tenant, matchers, first_ms, last_ms)
            except LimitExceeded:
                store.clean(tenant)
                continue
            tell("erased", "doomed", number, first_ms, last_ms)
            again_ms = first_ms - first_ms % STEP_MS + STEP_MS
            tell("sending", "doomed", number, again_ms, again_ms)
            send(writer, "doomed", number, [again_ms], any_age=True)


def keep(store, clock):
    """Samples of projects and workspaces that keep them for less long, or keep less of them."""
    ruled, small = store.writer(TENANTS[2]), store.writer(TENANTS[3])
    while True:
        send(ruled, "short", 0, [clock.step()])
        send(ruled, "brief", 0, [clock.step()])
        send(small, "small", 0, [clock.step()])


def give_up(failed):
    """A thread that ends is a fault that the test must see."""
    sys.__excepthook__(failed.exc_type, failed.exc_value, failed.exc_traceback)
    os._exit(2)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    steps = FastClock(int(sys.argv[2]))
    # A turn takes 5 ms here: a process that writes blocks would rest after every flush.
    workshop._IDLE_TURNS = sys.maxsize
    opened = open_busy(Path(sys.argv[1]), steps, apart=sys.argv[3:] == ["apart"])
    # Which it takes longer to start than samples are kept here.
    opened.flush(0)
    threading.excepthook = give_up
    for work in (scrape, push, late, back_fill, doom, keep):
        threading.Thread(target=work, args=(opened, steps)).start()
