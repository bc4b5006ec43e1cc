"""Enrolment over HTTP."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.collect.clocks import ManualClock
from tests.web.agent.conftest import AGENT_ID, AGENTS_MAX, Channel

from meterhall.model.errors import Overloaded
from meterhall.model.tenant import Principal
from meterhall.web.agent.enrolment import EnrolmentDesk, EnrolmentSettings


def test_an_agent_enrols_and_gets_its_credential(channel: Channel) -> None:
    answer = channel.enrol(region="jp")
    assert (answer.status, sorted(answer.body)) == (200, ["hostId", "key", "region"])
    (host,) = channel.control.hosts.list(channel.project_id, "jp")
    assert (host.host_id, host.name, host.instance_id) == (answer.body["hostId"], "web-1", "i-1")
    principal = channel.control.access.principal(answer.body["key"])
    assert principal is not None
    assert (principal.host_id, principal.scopes) == (host.host_id, {"agent"})


def test_a_token_enrols_one_agent_however_many_try_at_once(channel: Channel) -> None:
    token = channel.token()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: channel.enrol(token, agentId=f"{n}{AGENT_ID[1:]}"), range(8))
        )
    assert sorted(answer.status for answer in answers) == [200] + [401] * 7
    assert all(token not in answer.content.decode() for answer in answers)
    assert len(channel.control.hosts.list(channel.project_id)) == 1


def test_a_write_key_enrols_again_and_again(channel: Channel) -> None:
    key = channel.key("write")
    first, again = channel.enrol(key), channel.enrol(key)
    assert (first.status, again.status) == (200, 200)
    assert first.body["hostId"] == again.body["hostId"]
    assert channel.control.access.principal(first.body["key"]) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"agentId": "x" * 36}, "not a UUID"),
        ({"agentId": 7}, "agentId"),
        ({"os": "plan9"}, "os must be one of linux, windows"),
        ({"address": "http://x"}, "address"),
        ({"hostname": "a\nb"}, "host name"),
        ({"region": "us"}, "region"),
        ({"hostname": ""}, "hostname"),
    ],
)
def test_a_wrong_field_is_named(channel: Channel, changes, sentence: str) -> None:
    answer = channel.enrol(**changes)
    assert answer.status == 400
    assert sentence in answer.body["error"]
    assert channel.control.hosts.list(channel.project_id) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 10_000])
def test_what_is_no_message_is_refused(channel: Channel, content: bytes) -> None:
    answer = channel.send("POST", "/agent/v1/enrol", channel.token(), content)
    assert (answer.status, list(answer.body)) == (400, ["error"])


def test_a_large_body_is_refused(channel: Channel) -> None:
    answer = channel.send("POST", "/agent/v1/enrol", channel.token(), b" " * 20_000)
    assert (answer.status, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("scopes", [("query",), ("manage",), ("agent",)])
def test_other_keys_are_forbidden(channel: Channel, scopes: tuple[str, ...]) -> None:
    key = channel.enrol().body["key"] if scopes == ("agent",) else channel.key(*scopes)
    answer = channel.enrol(key)
    assert (answer.status, key in answer.content.decode()) == (403, False)


def test_a_full_project_is_a_conflict(channel: Channel) -> None:
    key = channel.key("write")
    answers = [channel.enrol(key, agentId=f"{n:08x}{AGENT_ID[8:]}") for n in range(AGENTS_MAX + 1)]
    assert [answer.status for answer in answers] == [200] * AGENTS_MAX + [409]
    assert "most allowed" in answers[-1].body["error"]


def test_a_burst_is_paced(channel: Channel) -> None:
    """Three at once and one a second from then on; each project has its own measure."""
    clock = ManualClock()
    settings = EnrolmentSettings(burst=3, per_second=1.0)
    with ThreadPoolExecutor(1) as executor:
        desk = EnrolmentDesk(channel.control.agents, executor, clock, settings)
        ours, theirs = (Principal(name, "key", frozenset({"write"})) for name in ("ours", "theirs"))

        def admitted(principal: Principal) -> tuple[int, int]:
            """How many pass, and what the next one is told to wait."""
            for count in range(100):
                try:
                    desk.admit(principal)
                except Overloaded as error:
                    return count, error.retry_after_s
            raise AssertionError("there is no end to it")

        assert (admitted(ours), admitted(ours)) == ((3, 1), (0, 1))
        assert admitted(theirs) == (3, 1)
        clock.advance(2.0)
        assert admitted(ours) == (2, 1)
        clock.advance(1000.0)
        assert admitted(ours) == (3, 1)


def test_only_so_many_wait_for_the_database(channel: Channel) -> None:
    desk = EnrolmentDesk(
        channel.control.agents, None, ManualClock(), EnrolmentSettings(waiting_max=0)
    )
    with pytest.raises(Overloaded):
        desk.admit(Principal("ours", "key", frozenset({"write"})))


def test_every_answer_tells_the_time_and_no_key(channel: Channel) -> None:
    key = channel.key("query")
    calls = [
        ("POST", "/agent/v1/enrol", key),
        ("POST", "/agent/v1/enrol", None),
        ("POST", "/agent/v1/enrol", "unknown-key"),
        ("GET", "/agent/v1/enrol", key),
        ("GET", "/agent/v1/nothing", key),
        ("POST", f"/agent/v1/enrol?key={key}", None),
    ]
    statuses = []
    for method, path, sent in calls:
        answer = channel.send(method, path, sent, b"{}" if method == "POST" else None)
        statuses.append(answer.status)
        assert abs(int(answer.headers["x-meterhall-time-ms"]) - time.time() * 1000) < 60_000
        assert sent is None or sent not in answer.content.decode()
    assert statuses == [403, 401, 401, 405, 404, 401]
