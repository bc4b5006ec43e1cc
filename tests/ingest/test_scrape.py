"""A target's collections against a writer that records: labels, synthetic series, staleness, times."""

from concurrent.futures import Future

import numpy as np
import pytest
from allowances import allowance
from recording_writer import RecordingWriter

from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.scrape import SYNTHETIC, ScrapeSession
from meterhall.model.errors import ExpositionError, LimitExceeded, StoreUnavailable, TooLarge
from meterhall.model.limits import ProjectLimits
from meterhall.model.metadata import Metadata
from meterhall.model.samples import STALE
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TENANT = Tenant("kr", "aOpreudC")
TARGET = ScrapeTarget(
    target_id="t-1",
    tenant=TENANT,
    job="web",
    host_id="h-1",
    host_name="server-1",
    address="192.0.2.7",
    port=9100,
    metrics_path="/metrics",
    interval_ms=60_000,
    timeout_ms=10_000,
)
STAMPS = {"instance": "server-1:9100", "job": "web", "openmetrics_id": "h-1"}


class Scraper:
    """A session and what it wrote, with one `scrape` per line of a test."""

    def __init__(self, samples_max=50_000, **limits):
        self.writer = RecordingWriter()
        self.catalog = MetadataCatalog()
        self.allowance = allowance(**limits)
        self.session = ScrapeSession(
            TARGET, self.writer, self.catalog, ScrapeLimits(samples_max), self.allowance
        )

    def scrape(self, page, at, content_type=TEXT):
        body = page if isinstance(page, bytes) else page.encode()
        return self.session.commit_page(body, content_type, at, 0.25)

    def fail(self, at):
        return self.session.commit_failure(at, 10.0)

    def written(self):
        """Labels of all scraped series, less the stamps."""
        return {
            frozenset(set(labels) - set(STAMPS.items()))
            for labels in self.writer.samples
            if dict(labels)["__name__"] not in SYNTHETIC
        }

    def synthetic(self, at):
        return [self.writer.values(metric=name, **STAMPS).get(at) for name in SYNTHETIC]


@pytest.fixture
def it():
    return Scraper()


def test_a_page_is_one_row_with_its_synthetic_series(it):
    done = it.scrape("a 1\nb 2\n", 1000)
    assert (done.samples_scraped, done.series_added, done.error) == (2, 2, None)
    assert done.accepted == 7
    assert done.durable.result(0) is None
    assert [[row.time_ms for row in rows] for rows in it.writer.appends] == [[1000]]
    assert it.writer.values(metric="a", **STAMPS) == {1000: 1.0}
    assert it.synthetic(1000) == [1.0, 0.25, 2.0, 2.0, 2.0]


MERGES = [
    ("a 1", {"__name__": "a"}),
    ('a{job="x"} 1', {"__name__": "a", "exported_job": "x"}),
    ('a{instance="x"} 1', {"__name__": "a", "exported_instance": "x"}),
    ('a{openmetrics_id="x"} 1', {"__name__": "a", "exported_openmetrics_id": "x"}),
    (
        'a{job="x",exported_job="y"} 1',
        {"__name__": "a", "exported_exported_job": "x", "exported_job": "y"},
    ),
    ('a{job="x",exported_job=""} 1', {"__name__": "a", "exported_job": "x"}),
    ('a{job=""} 1', {"__name__": "a"}),
    ('a{b=""} 1', {"__name__": "a"}),
    ('a{exported_job="y"} 1', {"__name__": "a", "exported_job": "y"}),
    ('a{__foo="x",__foo__="y",_z="z"} 1', {"__name__": "a", "_z": "z"}),
    ('{"a.b","c d"="e"} 1', {"__name__": "a.b", "c d": "e"}),
]


@pytest.mark.parametrize(("line", "labels"), MERGES, ids=[line for line, _ in MERGES])
def test_target_labels_win_and_scraped_ones_are_kept_as_exported(it, line, labels):
    it.scrape(line, 1000)
    assert it.written() == {frozenset(labels.items())}
    assert all(set(STAMPS.items()) <= set(series) for series in it.writer.samples)


REFUSED = [
    (b'a 1\nb{c="1",c="2"} 1\n', "line 2: label name given twice"),
    (b'a{c="",c="2"} 1\n', "line 1: label name given twice"),
    (b'a{__name__="b"} 1\n', "line 1: label name given twice"),
    (b'\n\n{""} 1\n', "line 3: no metric name"),
    (b'a{""="x"} 1\n', "line 1: empty label name"),
    (b"a 1\nb\n", "line 2: no value"),
    (b"a 1\nsecret_token_of_mine\n", "line 2: no value"),
    (b"<html><body>404</body></html>", "line 1: not a sample: metric name expected"),
    (b"\x1f\x8b\x08\x00\x00", "line 1: not a sample: metric name expected"),
]


@pytest.mark.parametrize(("page", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_a_bad_page_fails_as_a_whole_and_names_its_line(it, page, reason):
    for at in (1000, 2000):  # The second time the page is no longer new.
        done = it.scrape(page, at)
        assert isinstance(done.error, ExpositionError)
        assert str(done.error) == reason
        assert (done.samples_scraped, done.series_added, done.accepted) == (0, 0, 5)
        assert it.synthetic(at) == [0.0, 0.25, 0.0, 0.0, 0.0]
    assert it.written() == set()


@pytest.mark.parametrize(
    ("limits", "page", "reason"),
    [
        (
            {"samples_max": 2},
            "a 1\nb 1\nc 1\n",
            "sample limit exceeded: more than 2 samples",
        ),
        (
            {"labels_per_series": 4},
            'a{b="c"} 1\n',
            "line 1: label limit exceeded: 5 labels, limit 4",
        ),
        (
            {"label_name_bytes": 14},
            'a 1\na{fifteen_letters="c"} 1\n',
            "line 2: label name length limit exceeded: 15 bytes, limit 14",
        ),
        (
            {"label_value_bytes": 13},
            'a{b="ääääääæ"} 1\n',
            "line 1: label value length limit exceeded: 14 bytes, limit 13",
        ),
    ],
)
def test_limits_fail_the_page_with_another_error_than_its_syntax(limits, page, reason):
    it = Scraper(**limits)
    for at in (1000, 2000):
        done = it.scrape(page, at)
        assert isinstance(done.error, TooLarge)
        assert str(done.error) == reason
        assert it.synthetic(at) == [0.0, 0.25, 0.0, 0.0, 0.0]
    assert it.scrape("a 1\n", 3000).error is None


def test_limits_allow_what_is_exactly_at_them():
    it = Scraper(2, labels_per_series=5, label_name_bytes=14, label_value_bytes=13)
    assert it.scrape('a{b="ääääää1"} 1\nc 2\n', 1000).error is None


def test_markers_for_series_that_vanish(it):
    it.scrape("a 1\nb 2\n", 1000)
    done = it.scrape("a 1\nc 3\n", 2000)
    assert done.series_added == 1
    assert it.writer.values(metric="b") == {1000: 2.0, 2000: "stale"}
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: 1.0}
    it.scrape("a 1\nb 5\nc 3\n", 3000)
    assert it.writer.values(metric="b") == {1000: 2.0, 2000: "stale", 3000: 5.0}
    assert [len(rows) for rows in it.writer.appends] == [1, 1, 1]


@pytest.mark.parametrize("how", ["unreachable", "unreadable", "over a limit"])
def test_markers_for_all_when_a_collection_fails(how):
    it = Scraper(samples_max=2)
    it.scrape("a 1\nb 2\n", 1000)
    for at in (2000, 3000):
        match how:
            case "unreachable":
                it.fail(at)
            case "unreadable":
                it.scrape("a 1\nrubbish\n", at)
            case "over a limit":
                it.scrape("a 1\nb 1\nc 1\n", at)
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: "stale"}
    assert it.writer.values(metric="b") == {1000: 2.0, 2000: "stale"}
    assert it.writer.values(metric="up") == {1000: 1.0, 2000: 0.0, 3000: 0.0}
    done = it.scrape("a 4\nb 5\n", 4000)
    assert done.series_added == 0
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: "stale", 4000: 4.0}
    assert it.writer.values(metric="up")[4000] == 1.0


def test_the_end_marks_everything_once(it):
    assert it.session.end(500).accepted == 0
    it.scrape("a 1\n", 1000)
    assert it.session.end(2000).accepted == 6
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: "stale"}
    assert it.synthetic(2000) == ["stale"] * 5
    assert it.session.end(3000).accepted == 0
    it.scrape("a 1\n", 4000)
    assert it.writer.values(metric="a")[4000] == 1.0


def test_series_with_times_of_their_own_get_no_marker(it):
    done = it.scrape("a 1 900\nb 2\n", 1000)
    assert done.samples_scraped == 2
    assert it.writer.values(metric="a") == {900: 1.0}
    it.scrape("c 3\n", 2000)
    assert it.writer.values(metric="a") == {900: 1.0}
    assert it.writer.values(metric="b") == {1000: 2.0, 2000: "stale"}
    it.session.end(3000)
    assert it.writer.values(metric="a") == {900: 1.0}


def test_a_series_that_turns_to_times_of_its_own(it):
    it.scrape("a 1\n", 1000)
    it.scrape("a 2 2000\n", 2000)
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: 2.0}
    it.scrape("a 3 2500\n", 3000)
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: 2.0, 2500: 3.0}


def test_openmetrics_seconds(it):
    it.scrape("a 1 1.5\nb 2\n# EOF\n", 2000, OPENMETRICS)
    assert it.writer.values(metric="a") == {1500: 1.0}


def test_the_first_of_a_series_wins_but_all_are_counted(it):
    for at in (1000, 2000):
        done = it.scrape('a{x="1",job="j"} 1\na{job="j",x="1"} 2\na{x="1",job="j"} 3\nb 4\n', at)
        assert (done.samples_scraped, done.refused) == (4, {})
        assert it.writer.values(metric="a")[at] == 1.0
    it.scrape("c 1 100\nc 2 200\nc 3 200\n", 3000)
    assert it.writer.values(metric="c") == {100: 1.0, 200: 2.0}


def test_ours_wins_over_a_scraped_synthetic_series(it):
    for at in (1000, 2000):
        it.scrape('up 7\na 1\nup{job="other"} 0\n', at)
        assert it.synthetic(at)[0] == 1.0
        assert it.writer.values(metric="up", exported_job="other")[at] == 0.0
    it.scrape("a 1\n", 3000)
    assert it.synthetic(3000)[0] == 1.0
    it.scrape("a 1\nup 3 4000\n", 4000)
    assert it.synthetic(4000)[0] == 1.0


def test_refusals_of_the_store_leave_the_collection_good(it):
    done = it.scrape("a 1\nb 2 5\n", 1000)
    assert done.refused == {}
    done = it.scrape("a 1\nb 3 5\n", 2000)
    assert done.error is None
    assert done.refused == {"duplicate sample for timestamp": 1}
    assert it.writer.values(metric="up")[2000] == 1.0


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/html", "application/json", "garbage", "text/plain;version=0.0.4"],
)
def test_anything_but_openmetrics_is_read_as_text(it, content_type):
    assert it.scrape("a 1\n", 1000, content_type).error is None


@pytest.mark.parametrize(
    "content_type",
    ["application/openmetrics-text", "Application/OpenMetrics-Text ; version=0.0.1;x=y"],
)
def test_openmetrics_goes_by_its_media_type(it, content_type):
    done = it.scrape("a 1\n", 1000, content_type)
    assert str(done.error) == "line 2: page does not end with # EOF"


def test_an_empty_page_is_a_good_one(it):
    it.scrape("a 1\n", 1000)
    done = it.scrape(b"", 2000)
    assert (done.error, done.samples_scraped) == (None, 0)
    assert it.synthetic(2000) == [1.0, 0.25, 0.0, 0.0, 0.0]
    assert it.writer.values(metric="a")[2000] == "stale"


def test_a_scraped_nan_is_a_value_and_no_marker(it):
    it.scrape("a NaN\n", 1000)
    it.scrape("a NaN\n", 2000)
    assert it.writer.values(metric="a") == {1000: "nan", 2000: "nan"}


@pytest.mark.parametrize("lost", ["a", "up", "b"])
def test_series_that_the_store_forgot_are_interned_again(it, lost):
    it.scrape("a 1\nb 2\nc 3\n", 1000)
    forgotten = next(s for s in it.writer.samples if dict(s)["__name__"] == lost)
    old = it.writer.refs[forgotten]
    it.writer.forget(forgotten)
    done = it.scrape("a 1\nb 2\nc 3\n", 2000)
    assert done.accepted == 8
    assert it.writer.refs[forgotten] != old
    assert set(it.writer.values(metric=lost)) == {1000, 2000}
    it.scrape("c 3\n", 3000)
    assert it.writer.values(metric="a")[3000] == "stale"
    assert len(it.writer.appends) == 4


def test_a_store_that_is_not_available_changes_nothing(it):
    it.scrape("a 1\nb 2\n", 1000)
    it.writer.unavailable = True
    with pytest.raises(StoreUnavailable):
        it.scrape("a 1\nc 1\n", 2000)
    with pytest.raises(StoreUnavailable):
        it.fail(3000)
    it.writer.unavailable = False
    done = it.scrape("a 1\nc 1\n", 4000)
    assert done.series_added == 1
    assert it.writer.values(metric="b") == {1000: 2.0, 4000: "stale"}


def test_durable_is_the_writers(it):
    it.writer.durable = Future()
    done = it.scrape("a 1\n", 1000)
    assert not done.durable.done()
    it.writer.durable.set_result(None)
    assert done.durable.result(0) is None


def test_declarations_reach_the_catalog(it):
    it.scrape("# HELP a says\n# TYPE a counter\na 1\n", 1000)
    assert it.catalog.families(TENANT) == {"a": [Metadata("counter", "says", "")]}
    it.fail(2000)
    assert list(it.catalog.families(TENANT)) == ["a"]
    it.session.end(3000)
    assert it.catalog.families(TENANT) == {}


def test_a_repeated_page_interns_nothing_and_appends_once(it):
    page = "".join(f'm{{i="{i}"}} {i}\n' for i in range(1000))
    it.scrape(page, 1000)
    interned = []
    it.writer.intern = lambda clock, series: interned.append(series)
    it.scrape(page.replace(" 7\n", " 8.5\n"), 2000)
    assert interned == []
    assert len(it.writer.appends) == 2
    assert it.writer.values(i="7") == {1000: 7.0, 2000: 8.5}
    assert np.float64(STALE).view(np.uint64) not in it.writer.appends[1][0].values.view(np.uint64)


def test_over_the_series_limit_old_series_go_on_and_the_target_says_why():
    it = Scraper(active_series=7)
    assert it.scrape("a 1\nb 1\n", 1000).error is None
    page = "a 2\nc 1\nb 2\nd 1\n"
    for at in (2000, 3000):
        done = it.scrape(page, at)
        assert isinstance(done.error, LimitExceeded)
        assert str(done.error) == "line 2: over the limit of 7 active series: 2 new series refused"
        assert it.synthetic(at)[0] == 0.0
        assert it.writer.values(metric="b")[at] == 2.0
    assert it.written() == {frozenset({("__name__", name)}) for name in "ab"}
    it.session._allowance._limits = lambda: ProjectLimits(active_series=9)
    assert it.scrape(page, 4000).error is None
    assert it.synthetic(4000)[0] == 1.0
    assert it.writer.values(metric="d") == {4000: 1.0}


def test_a_target_without_room_for_a_single_series():
    it = Scraper(active_series=2)
    done = it.scrape("a 1\n", 1000)
    assert isinstance(done.error, LimitExceeded)
    assert it.written() == set()
    assert it.fail(2000).accepted == 2
    assert it.session.end(3000).error is None


def test_over_the_rate_old_series_are_collected_and_new_ones_are_not():
    it = Scraper(samples_per_second=1, samples_burst=5)
    it.scrape("a 1\nb 1\n", 1000)
    done = it.scrape("a 2\nb 2\nc 1\n", 2000)
    assert "over the limit of 1 samples a second: 1 new series refused" in str(done.error)
    assert it.writer.values(metric="a") == {1000: 1.0, 2000: 2.0}
    assert it.scrape("a 3\nb 3\n", 3000).error is None
