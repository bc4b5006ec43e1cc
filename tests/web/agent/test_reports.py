"""Reports over HTTP: what is stored, what is asked for again, what is refused, and what a report may cost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cramjam
import msgspec
import psutil
import pytest
from tests.collect.reading import samples
from tests.e2e.reporting import TEXT, Reporter, failed, split, whole
from tests.e2e.service import eventually
from tests.web.agent.conftest import Channel, channel_on, serving

from meterhall.model.errors import StoreUnavailable
from meterhall.telemetry.metrics import AGENT_SCRAPES_DROPPED
from meterhall.wire.agent_report import SplitPage, encode_batch, shape_id, split_page

PAGE = '# TYPE a gauge\na 1\nb{x="y"} 2\n'
NEXT = PAGE.replace("a 1", "a 5")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def builtin(reporter: Reporter) -> str:
    reporter.etag = ""
    return reporter.targets().targets[0].target_id


def values(channel: Channel, name: str) -> list[object]:
    found = samples(channel.store, channel.tenant, name)
    return [value for points in found.values() for _, value in points]


@pytest.mark.parametrize("form", [whole, split])
def test_a_page_is_stored_in_either_form(channel: Channel, form) -> None:
    reporter = channel.reporter()
    target_id, now = builtin(reporter), now_ms()
    answer = reporter.report(
        reporter.scrape(target_id, now - 2, form(PAGE)), reporter.scrape(target_id, now, form(NEXT))
    )
    assert (answer.stored, answer.unknown_shapes, answer.refused) == (2, [], [])
    assert values(channel, "a") == [1, 5]
    assert values(channel, "up") == [1, 1]
    assert values(channel, "scrape_duration_seconds") == [0.01, 0.01]


def test_a_shape_travels_once_and_is_asked_for_where_it_is_not_known(channel: Channel) -> None:
    reporter = channel.reporter()
    target_id, now = builtin(reporter), now_ms()
    first = reporter.scrape(target_id, now - 3, split(PAGE, told=True))
    answer = reporter.report(first)
    assert (answer.stored, answer.unknown_shapes) == (0, [first.seq])
    assert values(channel, "a") == []
    answer = reporter.report(
        reporter.scrape(target_id, now - 3, split(PAGE)),
        reporter.scrape(target_id, now - 2, split(NEXT, told=True)),
    )
    assert (answer.stored, answer.unknown_shapes) == (2, [])
    reporter.report(reporter.scrape(target_id, now - 1, split(PAGE, told=True)))
    assert values(channel, "a") == [1, 5, 1]


def test_a_failure_is_stored_and_shown(channel: Channel) -> None:
    reporter = channel.reporter()
    target_id, now = builtin(reporter), now_ms()
    reporter.report(
        reporter.scrape(target_id, now - 2, whole(PAGE)),
        reporter.scrape(target_id, now - 1, failed("http_error", "404 Not Found", 404)),
    )
    assert values(channel, "a") == [1, "stale"]
    assert values(channel, "up") == [1, 0]
    (state,) = channel.service.fleet.targets(channel.tenant)
    assert (state.health, state.last_error) == ("down", "404 Not Found")


def test_the_same_batch_again_changes_nothing(channel: Channel) -> None:
    """Q7 and S22: replayed at once, later, and in pieces in another order."""
    reporter = channel.reporter()
    target_id, now = builtin(reporter), now_ms()
    scrapes = [reporter.scrape(target_id, now - 50 + n, split(PAGE)) for n in range(50)]
    for batch in (scrapes, scrapes, scrapes[::-1], scrapes[10:20], scrapes[:1]):
        answer = reporter.report(*batch)
        assert (answer.stored, answer.refused) == (len(batch), [])
    assert values(channel, "a") == [1] * 50
    assert values(channel, "up") == [1] * 50


def test_an_agent_writes_as_its_host_and_nothing_else(channel: Channel) -> None:
    """S6, S22: the key of one host is no way to another's targets, to queries, to the guide or to remote write."""
    ours, theirs = channel.reporter("ours"), channel.reporter("theirs")
    target_id, now = builtin(theirs), now_ms()
    answer = ours.report(ours.scrape(target_id, now, whole(PAGE)))
    assert [refused.reason for refused in answer.refused] == ["the host has no such target"]
    injected = f'a{{job="x",instance="x",openmetrics_id="{theirs.host_id}"}} 1\n'
    ours.report(ours.scrape(builtin(ours), now, whole(injected)))
    (labels,) = samples(channel.store, channel.tenant, "a")
    assert dict(labels)["openmetrics_id"] == ours.host_id
    assert dict(labels)["exported_openmetrics_id"] == theirs.host_id
    for method, path in (
        ("GET", "/prometheus/api/v1/query?query=up"),
        ("GET", "/prometheus/api/v1/labels"),
        ("POST", "/prometheus/api/v1/write"),
        ("GET", f"/v1.0/projects/{channel.project_id}/servers"),
        ("GET", f"/v1.0/projects/{channel.project_id}/jobs"),
        ("POST", f"/v1.0/projects/{channel.project_id}/jobs"),
        ("POST", "/agent/v1/enrol"),
    ):
        status, _, body = ours.call(method, path, b"{}" if method == "POST" else None)
        assert status == 403, (path, body)
        assert ours.key.encode() not in body


@pytest.mark.parametrize("scopes", [("write",), ("query",), ("manage",)])
def test_a_projects_key_is_no_agents(channel: Channel, scopes) -> None:
    key = channel.key(*scopes)
    for method, path in (("GET", "/agent/v1/targets"), ("POST", "/agent/v1/reports")):
        assert channel.send(method, path, key, encode_batch([])).status == 403


def test_a_removed_host_cannot_write(channel: Channel) -> None:
    reporter = channel.reporter()
    target_id = builtin(reporter)
    channel.control.hosts.remove(reporter.host_id)
    status, _, _ = reporter.send([reporter.scrape(target_id, now_ms(), whole(PAGE))])
    assert status == 401


def bomb(declared: int) -> bytes:
    """A sound frame of zeros, of a thousandth of their size."""
    return bytes(cramjam.zstd.compress(bytes(declared), level=1))


def test_bombs_are_refused_before_they_are_inflated(channel: Channel) -> None:
    reporter = channel.reporter()
    body = bomb(200 << 20)
    memory = psutil.Process().memory_info().rss
    status, _, answer = reporter.call("POST", "/agent/v1/reports", body)
    assert status == 413, answer
    assert psutil.Process().memory_info().rss - memory < 40 << 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\x28\xb5\x2f\xfd",
        bomb(1000)[:-3],
        bytes(cramjam.zstd.compress(msgspec.msgpack.encode([[[1]], 0]))),
        bytes(cramjam.zstd.compress(b"\xdd\xff\xff\xff\xff")),
    ],
)
def test_what_is_no_batch_is_refused(channel: Channel, body: bytes) -> None:
    status, headers, answer = channel.reporter().call("POST", "/agent/v1/reports", body)
    assert (status, b"error" in answer) == (400, True)
    assert "x-meterhall-time-ms" in headers


def test_a_page_that_cannot_be_is_refused_and_the_others_kept(channel: Channel) -> None:
    reporter = channel.reporter()
    target_id, now = builtin(reporter), now_ms()
    shape, words = split_page(PAGE.encode())
    false_name = SplitPage(TEXT, b"0" * 16, words, shape)
    too_few = SplitPage(TEXT, shape_id(shape), b"1", shape)
    answer = reporter.report(
        reporter.scrape(target_id, now - 3, false_name),
        reporter.scrape(target_id, now - 2, too_few),
        reporter.scrape(target_id, now - 1, whole(PAGE)),
    )
    assert [refused.seq for refused in answer.refused] == [0, 1]
    assert (answer.stored, values(channel, "a")) == (1, [1])


def test_a_large_page_is_a_failure_of_its_target(channel: Channel) -> None:
    reporter = channel.reporter()
    target_id = builtin(reporter)
    page = "# " + "x" * (10 << 20) + "\n"
    reporter.report(reporter.scrape(target_id, now_ms(), whole(page)))
    (state,) = channel.service.fleet.targets(channel.tenant)
    assert (state.health, state.last_error) == ("down", "page is larger than 10485760 bytes")


def test_a_report_over_the_limit_is_refused(tmp_path) -> None:
    with serving(tmp_path, batch_bytes_max="1KiB") as running:
        reporter = channel_on(*running).reporter()
        status, headers, _ = reporter.call("POST", "/agent/v1/reports", b"x" * 2000)
    assert (status, headers["connection"]) == (413, "close")


def test_a_store_that_cannot_write_is_a_matter_of_time(channel: Channel) -> None:
    """503 with Retry-After, nothing acknowledged; the same batch is taken once it can be."""
    reporter = channel.reporter()
    target_id = builtin(reporter)
    scrapes = [reporter.scrape(target_id, now_ms(), whole(PAGE))]
    log = channel.store._wal
    check = log.check

    def full() -> None:
        raise StoreUnavailable("disk full")

    log.check = full
    status, headers, body = reporter.send(scrapes)
    assert (status, b"disk full" in body) == (503, True)
    assert int(headers["retry-after"]) >= 1
    log.check = check
    assert reporter.report(*scrapes).stored == 1
    assert values(channel, "a") == [1]


def test_one_batch_of_a_host_at_a_time_and_back_fill_has_its_own_places(channel: Channel) -> None:
    """Back-fill that hangs in the store takes neither the places nor the threads of live reports."""
    fillers = [channel.reporter(f"filler-{n}") for n in range(6)]
    live = channel.reporter("live")
    ids = [builtin(reporter) for reporter in (*fillers, live)]
    release = threading.Event()
    append = channel.store._wal.check
    channel.store._wal.check = lambda: release.wait(20) if _is_filling() else append()
    with ThreadPoolExecutor(8) as pool:
        sending = [
            pool.submit(
                reporter.send, [reporter.scrape(target_id, now_ms(), whole(PAGE))], backfill=True
            )
            for reporter, target_id in zip(fillers, ids, strict=False)
        ]
        eventually(lambda: sum(future.done() for future in sending) == 2, 20)
        refused = [future.result() for future in sending if future.done()]
        assert [status for status, _, _ in refused] == [429] * 2
        assert all(int(headers["retry-after"]) >= 1 for _, headers, _ in refused)
        assert live.report(live.scrape(ids[-1], now_ms(), whole(PAGE))).stored == 1
        waiting = next(
            reporter for reporter, future in zip(fillers, sending, strict=True) if not future.done()
        )
        status, _, body = waiting.send([], backfill=True)
        assert (status, b"one report at a time" in body) == (429, True)
        release.set()
        assert sorted(future.result(20)[0] for future in sending) == [200] * 4 + [429] * 2


def _is_filling() -> bool:
    return threading.current_thread().name.startswith("agent-filling")


def test_what_an_agent_lost_is_counted(channel: Channel) -> None:
    before = AGENT_SCRAPES_DROPPED._value.get()
    assert channel.reporter().send([], dropped=7)[0] == 200
    assert AGENT_SCRAPES_DROPPED._value.get() == before + 7
