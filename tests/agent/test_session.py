"""A target's scrapes on their way to the spool: split where a page repeats its names, whole where not."""

from concurrent.futures import Future

import pytest
from tests.agent.rig import Machine
from tests.collect.conftest import make_target

from meterhall.agent.session import SpoolSession
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.fetch import Failure, FailureKind
from meterhall.wire.agent_report import FailedScrape, SplitPage, WholePage, join_page, shape_id


class Kept:
    """What a session hands on; the disk answers when the test says so."""

    def __init__(self):
        self.scrapes = []
        self.shapes = []
        self.done = []

    def __call__(self, scrape, shape):
        self.scrapes.append(scrape)
        self.shapes.append(shape)
        self.done.append(Future())
        return self.done[-1]


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def clock(tmp_path):
    clock = AgentClock(Machine(), tmp_path / "clock.json")
    machine = clock.machine
    clock.hear(machine.now_ms(), machine.boot_ms(), machine.boot_ms())
    return clock


@pytest.fixture
def session(kept, clock):
    return SpoolSession(make_target(), clock, kept)


def test_a_page_that_repeats_its_names_is_kept_as_its_words(session, kept, clock):
    pages = [b"# HELP a x\na 1\nb 2\n", b"# HELP a x\na 3\nb 4\n", b"c 1\n", b"c 2\n"]
    for page in pages:
        session.commit_page(page, "text/plain", clock.now_ms(), 0.1)
    kinds = [type(scrape.outcome) for scrape in kept.scrapes]
    assert kinds == [WholePage, SplitPage, WholePage, SplitPage]
    for scrape, shape, page in zip(kept.scrapes, kept.shapes, pages, strict=True):
        if isinstance(scrape.outcome, WholePage):
            assert (scrape.outcome.body, shape) == (page, None)
        else:
            assert scrape.outcome.shape_id == shape_id(shape)
            assert join_page(shape, scrape.outcome.words) == page


def test_pages_with_timestamps_never_split(session, kept, clock):
    for number in range(4):
        session.commit_page(b"a 1.%d 170000\n" % number, "text/plain", clock.now_ms(), 0.1)
    assert {type(scrape.outcome) for scrape in kept.scrapes} == {WholePage}


def test_a_failure_is_kept_with_its_reason(session, kept, clock):
    failure = Failure(FailureKind.HTTP, "404 Not Found", 404)
    session.commit_failure(clock.now_ms(), 0.1, failure)
    assert kept.scrapes[0].outcome == FailedScrape("http_error", "404 Not Found", 404)


def test_an_absurd_content_type_is_cut_to_what_can_be_sent(session, kept, clock):
    session.commit_page(b"a 1\n", "x" * 5000, clock.now_ms(), 0.1)
    assert len(kept.scrapes[0].outcome.content_type) == 1024


def test_a_scrape_counts_when_the_disk_says_so(session, kept, clock):
    good = session.commit_page(b"a 1\n", "", clock.now_ms(), 0.1)
    bad = session.commit_page(b"a 1\n", "", clock.now_ms() + 5, 0.1)
    assert not good.durable.done()
    kept.done[0].set_result(None)
    kept.done[1].set_exception(OSError("full"))
    assert good.durable.result(1) is None
    assert str(bad.durable.exception(1)) == "full"


def test_a_clock_that_is_set_back_a_little_gives_no_time_twice(session, kept, clock):
    now = clock.now_ms()
    for start_ms in (now, now - 400, now - 400):
        session.commit_page(b"a 1\n", "", start_ms, 0.0)
    assert [scrape.time_ms - now for scrape in kept.scrapes] == [0, 1, 2]


def test_the_end_of_a_target_is_the_services_to_tell(session, kept, clock):
    assert session.end(clock.now_ms()).durable.done()
    assert kept.scrapes == []
