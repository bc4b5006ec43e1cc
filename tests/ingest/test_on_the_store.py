"""Collections and pushes on the embedded store: visible at once, there after a restart, markers as data."""

import numpy as np
import pytest
from allowances import allowance, allowances
from write_request import body_of

from meterhall.ingest.limits import PushLimits, ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.ingest.scrape import SYNTHETIC, ScrapeSession
from meterhall.model.matcher import Matcher, MatchOp
from meterhall.model.samples import ABSENT_BITS
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore

TENANT = Tenant("kr", "aOpreudC")
TARGET = ScrapeTarget(
    "t-1", "web", "h-1", "server-1", "192.0.2.7", 9100, "/metrics", 60_000, 10_000, tenant=TENANT
)
NOW = 1_700_000_000_000
TEXT = "text/plain"


class StillClock:
    def now_ms(self):
        return NOW

    def monotonic(self):
        return 0.0


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "data"


def opened(directory):
    return EmbeddedStore(directory, StoreSettings(), StillClock())


def samples(store, name):
    """{other labels: {time: value bits}} of a metric."""
    matchers = [Matcher(MatchOp.EQUAL, "__name__", name)]
    selection = store.reader(TENANT).select(matchers, NOW - 3_600_000, NOW + 600_000)
    found = {}
    for group in selection.groups():
        bits = group.values.view(np.uint64)
        for row, index in enumerate(group.rows.tolist()):
            labels = dict(selection.labels[index])
            found[labels.get("instance", ""), labels.get("x", "")] = {
                time: bit
                for time, bit in zip(group.times.tolist(), bits[row].tolist(), strict=True)
                if bit != ABSENT_BITS
            }
    return found


def bits(value):
    return int(np.float64(value).view(np.uint64))


STALE = 0x7FF0000000000002


def test_collections_and_pushes_outlive_a_restart(directory):
    store = opened(directory)
    session = ScrapeSession(
        TARGET, store.writer(TENANT), MetadataCatalog(), ScrapeLimits(), allowance()
    )
    receiver = PushReceiver(store.writer, MetadataCatalog(), PushLimits(), allowances())
    try:
        pages = [b'a{x="1"} 1\na{x="2"} 2\nup 9\n', b'a{x="1"} 3\n', b'a{x="1"} 4\n', b"rubbish"]
        for at, page in enumerate(pages):
            done = session.commit_page(page, TEXT, NOW - 4000 + 1000 * at, 0.1)
            done.durable.result(10)
            assert done.refused == {}
        session.commit_page(b"c 5 %d\nc 6 %d\n" % (NOW - 1, NOW), TEXT, NOW, 0.1)
        series = [({"__name__": "p", "x": str(i)}, [(NOW, float(i))]) for i in range(50)]
        for _ in range(2):
            got = receiver.receive(TENANT, body_of(series))
            assert (got.accepted, got.rejected) == (50, 0)
        got.durable.result(10)
        got = receiver.receive(TENANT, body_of([({"__name__": "p", "x": "1"}, [(NOW, 7.0)])]))
        assert got.rejected == 1
        assert got.reasons == [
            f"duplicate sample for timestamp {NOW}; overrides not allowed: existing 1, new value 7"
        ]
        before = {name: samples(store, name) for name in ("a", "c", "p", *SYNTHETIC)}
    finally:
        store.close()
    here = "server-1:9100"
    assert before["a"] == {
        (here, "1"): {
            NOW - 4000: bits(1),
            NOW - 3000: bits(3),
            NOW - 2000: bits(4),
            NOW - 1000: STALE,
        },
        (here, "2"): {NOW - 4000: bits(2), NOW - 3000: STALE},
    }
    assert before["up"] == {
        (here, ""): {NOW - 4000 + 1000 * at: bits(up) for at, up in enumerate((1, 1, 1, 0, 1))}
    }
    assert before["c"] == {(here, ""): {NOW - 1: bits(5), NOW: bits(6)}}
    assert before["p"] == {("", str(i)): {NOW: bits(i)} for i in range(50)}
    store = opened(directory)
    try:
        assert {name: samples(store, name) for name in before} == before
    finally:
        store.close()
