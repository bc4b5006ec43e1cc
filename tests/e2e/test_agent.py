"""Agents as operators run them: enrolled, cut off, killed; the ledger outside counts every sample."""

import os
import shutil
import subprocess

import pytest
from tests.collect.exporters import free_port

from e2e.agent import Agent, add_target, assert_complete, numbers, stored
from e2e.service import Service, eventually, meterhall
from meterhall.app.config import Settings
from meterhall.collect.following import FollowSettings


def state(service, job, target):
    found = service.guide("GET", f"/jobs/{job}/targets/{target}")
    return found["mntrnStatCd"], found["resultCd"]


def test_two_agents_through_kills_of_everything(service, agents, ledgers, node_exporter):
    """kill -9 of the service and of an agent: nothing that was spooled is lost, nothing is stored twice."""
    one, two = agents("web-1").start(), agents("web-2").start()
    first, second = ledgers("one"), ledgers("two")
    add_target(service, one, first.port, "first")
    add_target(service, two, second.port, "second")
    add_target(service, one, node_exporter.port, "node")
    eventually(lambda: numbers(service, "first") and numbers(service, "second"))
    eventually(lambda: service.value('up{job="node"}') == 1)
    eventually(lambda: service.value('count(node_cpu_seconds_total{job="@Linux"})'))

    service.kill()
    before = first.served
    eventually(lambda: first.served >= before + 2)
    one.kill()
    in_hand = first.lost_in_hand(one)
    # It starts without the service, and collects what it knew of.
    one.start()
    eventually(lambda: first.served >= before + 5)
    service.start()
    eventually(lambda: len(numbers(service, "first")) >= before + 4)

    service.kill()
    one.kill()
    in_hand |= first.lost_in_hand(one)
    service.start()
    one.start()
    before = first.served
    eventually(lambda: first.served >= before + 2)
    assert_complete(service, first, "first", in_hand)
    assert_complete(service, second, "second")
    assert one.stop() == two.stop() == 0


def test_real_exporters_of_two_hosts(service, agents, node_exporter, blackbox_exporter):
    """node_exporter by one agent; by the other blackbox_exporter, which looks whether the first is there."""
    one, two = agents("web-1").start(), agents("web-2").start()
    probe = f"/probe?module=http_2xx&target=http://127.0.0.1:{node_exporter.port}/metrics"
    add_target(service, one, node_exporter.port, "node")
    job, target = add_target(service, two, blackbox_exporter.port, "probe", probe)
    labels = f'job="node",instance="web-1:{node_exporter.port}",openmetrics_id="{one.host_id}"'
    eventually(lambda: service.value(f"count(node_cpu_seconds_total{{{labels}}})"))
    labels = f'job="probe",instance="web-2:{blackbox_exporter.port}",openmetrics_id="{two.host_id}"'
    eventually(lambda: service.value(f"probe_http_status_code{{{labels}}}") == 200)
    assert service.value(f"probe_success{{{labels}}}") == 1
    node_exporter.stop()
    eventually(lambda: service.value('up{job="node"}') == 0)
    eventually(lambda: service.value(f"probe_success{{{labels}}}") == 0)
    # It is the probe that fails; the exporter that tells so is well.
    assert service.value(f"up{{{labels}}}") == 1
    eventually(lambda: state(service, job, target) == ("NORMAL", 0))


def test_a_change_is_with_its_agent_within_ten_seconds():
    """The service looks at its inventory, the agent asks the service, the collector looks at what the agent knows."""
    follow_s = FollowSettings().poll_s
    assert follow_s + Settings().agents.poll / 1000 + follow_s < 10


def test_changes_reach_an_agent_and_leave_the_other_targets_alone(
    service, agents, ledgers, node_exporter
):
    """A target is made, changed and removed; the one beside it is collected all the while."""
    agent, steady = agents("web-1").start(), ledgers("steady")
    add_target(service, agent, steady.port, "steady")
    eventually(lambda: numbers(service, "steady"))
    job, target = add_target(service, agent, node_exporter.port, "node")
    eventually(lambda: state(service, job, target) == ("NORMAL", 0))
    eventually(lambda: service.query('node_cpu_seconds_total{job="node"}'))
    service.guide("PUT", f"/jobs/{job}", {"metricsPath": "/metrics?collect[]=loadavg"})
    eventually(lambda: service.query('node_cpu_seconds_total{job="node"}') == {})
    assert service.value('node_load1{job="node"}') is not None
    service.guide("DELETE", f"/jobs/{job}/targets/{target}")
    eventually(lambda: service.query('up{job="node"}') == {})
    served = steady.served
    eventually(lambda: len(numbers(service, "steady")) > served)
    assert_complete(service, steady, "steady")
    # Nowhere did its series end: each moment between its first sample and its last has a value.
    times_s = [at_s for at_s, _ in stored(service, 'ledger_page{job="steady"}')]
    moments = {"start": times_s[0], "end": times_s[-1], "step": 0.25}
    (found,) = service.prometheus("query_range", query='up{job="steady"}', **moments)["result"]
    assert len(found["values"]) == int((times_s[-1] - times_s[0]) / 0.25) + 1


def test_a_host_shows_up_with_its_own_metrics_and_its_targets_states(service, agents, ledgers):
    agent = agents("web-1", "--address", "10.1.2.3").start()
    host = agent.host_id
    (shown,) = [each for each in service.guide("GET", "/servers") if each["hostId"] == host]
    assert (shown["svrIp"], shown["instanceId"]) == ("10.1.2.3", None)
    labels = f'job="@Linux",instance="web-1:9100",openmetrics_id="{host}"'
    eventually(lambda: service.value(f"count(node_cpu_seconds_total{{{labels}}})"))
    ledger, closed = ledgers("one"), free_port()
    job, good = add_target(service, agent, ledger.port, "ledger")
    bad = service.guide("POST", f"/jobs/{job}/targets", {"hostId": host, "port": closed})
    # Within ten seconds: said of what the agent does, and kept by a machine that does little else.
    eventually(lambda: numbers(service, "ledger"))
    eventually(lambda: state(service, job, good) == ("NORMAL", 0))
    eventually(lambda: state(service, job, bad) == ("UNREACHABLE", -1))
    found = service.guide("GET", f"/jobs/{job}/targets/{bad}")
    assert found["failReason"] == "connection refused"
    service.guide("DELETE", f"/jobs/{job}/targets/{good}")
    eventually(lambda: service.query('ledger_page{job="ledger"}') == {})
    agent.kill()
    eventually(lambda: state(service, job, bad)[0] == "STOPPED")
    agent.start()
    eventually(lambda: state(service, job, bad)[0] == "UNREACHABLE")


def test_a_one_time_token_enrols_one_host(service, agents):
    token = service.cli(
        *("keys", "create", "--project", service.project, "--scope", "enrol", "--expires", "1h")
    )["key"]
    first, second = agents("web-1").start(token), agents("web-2").start(token)
    eventually(lambda: sum(a.process.poll() is not None for a in (first, second)) == 1)
    refused, taken = sorted((first, second), key=lambda a: a.process.poll() is None)
    assert refused.stop() == 1
    assert "cannot be enrolled" in refused.text
    assert taken.host_id
    assert taken.stop() == 0
    assert token not in first.text + second.text
    for file in taken.directory.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()


def test_a_removed_host_stops_sending_and_says_why(service, agents):
    agent = agents("web-1").start()
    host = agent.host_id
    eventually(lambda: service.value(f'up{{openmetrics_id="{host}"}}'))
    meterhall("hosts", "remove", host, "--data", str(service.data))
    eventually(lambda: "401" in agent.text)
    assert [each["hostNm"] for each in service.guide("GET", "/servers")].count("web-1") == 0
    assert agent.stop() == 0


# A cut network, by a namespace of its own.


@pytest.fixture
def cable(tmp_path):
    """(name of a network namespace, the service's address seen from it, function that plugs or unplugs)."""
    name = f"mh{os.getpid()}"
    outer, inner = f"{name}o", f"{name}i"

    def ip(*words, check=True):
        return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)

    if shutil.which("ip") is None:
        pytest.skip("iproute2 is missing")
    made = ip("netns", "add", name, check=False)
    if made.returncode != 0:
        pytest.skip(f"a network namespace cannot be made here: {made.stderr.strip()}")
    try:
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        # A documentation network (RFC 5737).
        ip("addr", "add", "198.51.100.1/30", "dev", outer)
        ip("link", "set", outer, "up")
        ip("-n", name, "addr", "add", "198.51.100.2/30", "dev", inner)
        ip("-n", name, "link", "set", inner, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield (
            name,
            "198.51.100.1",
            lambda plugged: ip("link", "set", outer, "up" if plugged else "down"),
        )
    finally:
        ip("netns", "del", name, check=False)
        ip("link", "del", outer, check=False)


def test_a_cut_network(cable, tmp_path, ledgers):
    namespace, address, plug = cable
    inside = ("ip", "netns", "exec", namespace)
    service = Service(tmp_path / "data", host=address).start()
    agent = Agent(tmp_path / "web-1", service, "web-1", "--allow-plain-http", prefix=inside)
    try:
        agent.start()
        ledger = ledgers("one", inside)
        add_target(service, agent, ledger.port, "ledger")
        eventually(lambda: len(numbers(service, "ledger")) >= 2)
        plug(False)
        before = ledger.served
        eventually(lambda: ledger.served >= before + 4)
        assert len(numbers(service, "ledger")) <= before + 1
        assert agent.waiting > 0
        plug(True)
        assert_complete(service, ledger, "ledger")
        assert agent.stop() == 0
    finally:
        for each in (agent, service):
            if each.process.poll() is None:
                each.kill()
