"""Agents: enrolment, tokens, credentials and what they are bound to (S20, S21, S22)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from meterhall.control.agents import Enrolled, Enrolment
from meterhall.control.hosts import HostDraft
from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control
from meterhall.control.targets import TargetDraft
from meterhall.model.errors import ControlError, Forbidden, MeterhallError, Unauthorized
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Principal, Scope

AGENT_ID = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"
WEB = Enrolment(AGENT_ID, "web-1", "10.0.0.1", "linux", "i-1", None, "1.0")
TOKEN = KeyDraft("token", frozenset({"enrol"}), 3_600_000)


@pytest.fixture
def project_id(control: Control) -> str:
    return control.projects.create("shop").project.project_id


def principal_of(control: Control, project_id: str, draft: KeyDraft) -> Principal:
    principal = control.access.principal(control.keys.create(project_id, draft).secret)
    assert principal is not None
    return principal


def enrolled(control: Control, project_id: str, enrolment: Enrolment = WEB) -> Enrolled:
    return control.agents.enrol(principal_of(control, project_id, TOKEN), enrolment)


def agent_targets(control: Control) -> list[ScrapeTarget]:
    hosts = control.inventory.agent_hosts(["kr"])
    return [target for host in hosts for target in host.targets]


def test_an_agent_becomes_a_host_with_its_own_metrics(control: Control, project_id: str) -> None:
    made = enrolled(control, project_id)
    (host,) = control.hosts.list(project_id, "kr")
    assert (host.host_id, host.name, host.address, host.instance_id, host.os, host.collect) == (
        made.host_id,
        "web-1",
        "10.0.0.1",
        "i-1",
        "linux",
        "agent",
    )
    assert (host.agent_version, host.silent_ms, made.region) == ("1.0", None, "kr")
    (job,) = control.jobs.list(project_id, "kr")
    assert (job.name, job.reserved_code) == ("@Linux", "LINUX")
    (target,) = agent_targets(control)
    assert (target.host_id, target.port, target.builtin) == (made.host_id, 9100, True)
    # The server itself must not take its own machine's metrics for the agent's.
    assert control.inventory.scrape_targets(["kr"]) == []


@pytest.mark.parametrize(
    ("os_name", "job_name", "port"), [("linux", "@Linux", 9100), ("windows", "@Windows", 9182)]
)
def test_hosts_of_one_system_share_its_workspace(
    control: Control, project_id: str, os_name: str, job_name: str, port: int
) -> None:
    for number in range(2):
        agent_id = f"{number}{AGENT_ID[1:]}"
        enrolled(control, project_id, replace(WEB, agent_id=agent_id, os=os_name))
    (job,) = control.jobs.list(project_id, "kr")
    targets = control.targets.list(JobRef(project_id, job.job_id))
    assert (job.name, [target.port for target in targets]) == (job_name, [port, port])


def test_a_credential_is_bound_to_its_host(control: Control, project_id: str) -> None:
    made = enrolled(control, project_id)
    principal = control.access.principal(made.key.secret)
    assert principal == Principal(project_id, made.key.key_id, frozenset({"agent"}), made.host_id)
    assert made.key.secret not in repr(made)
    with pytest.raises(Forbidden):
        control.agents.enrol(principal, WEB)


def test_a_token_is_spent_by_its_first_use(control: Control, project_id: str) -> None:
    token = control.keys.create(project_id, TOKEN)
    principal = control.access.principal(token.secret)
    assert principal is not None
    control.agents.enrol(principal, WEB)
    assert control.access.principal(token.secret) is None
    # Whoever still holds the principal, because its snapshot is old, is refused by the database.
    with pytest.raises(Unauthorized):
        control.agents.enrol(principal, replace(WEB, agent_id=f"0{AGENT_ID[1:]}"))
    assert len(control.hosts.list(project_id)) == 1


def test_a_token_expires(control: Control, project_id: str, clock) -> None:
    token = control.keys.create(project_id, TOKEN)
    clock.ms += 3_600_000
    assert control.access.principal(token.secret) is None


def test_a_refused_enrolment_leaves_the_token_valid(control: Control, project_id: str) -> None:
    token = control.keys.create(project_id, TOKEN)
    principal = control.access.principal(token.secret)
    assert principal is not None
    with pytest.raises(ControlError):
        control.agents.enrol(principal, replace(WEB, region="us"))
    assert control.access.principal(token.secret) == principal
    assert control.hosts.list(project_id) == control.jobs.list(project_id, "kr") == []


def test_one_token_used_many_times_at_once_makes_one_host(
    control: Control, project_id: str
) -> None:
    principal = principal_of(control, project_id, TOKEN)

    def enrol(number: int) -> str:
        try:
            control.agents.enrol(principal, replace(WEB, agent_id=f"{number:08x}{AGENT_ID[8:]}"))
        except MeterhallError as error:
            return type(error).__name__
        return "enrolled"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(enrol, range(16)))
    assert sorted(outcomes) == ["Unauthorized"] * 15 + ["enrolled"]
    assert len(control.hosts.list(project_id)) == 1


def test_one_agent_enrolling_many_times_at_once_has_one_host_and_one_key(
    control: Control, project_id: str
) -> None:
    principal = principal_of(control, project_id, KeyDraft("write", frozenset({"write"})))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: control.agents.enrol(principal, WEB), range(16)))
    assert {one.host_id for one in made} == {
        host.host_id for host in control.hosts.list(project_id)
    }
    valid = [one for one in made if control.access.principal(one.key.secret) is not None]
    assert len(valid) == 1
    assert len(agent_targets(control)) == 1


def test_enrolling_again_keeps_the_host_and_revokes_the_old_key(
    control: Control, project_id: str
) -> None:
    first = enrolled(control, project_id)
    changed = replace(WEB, hostname="web-2", address="10.0.0.2", instance_id=None, version="1.1")
    again = enrolled(control, project_id, changed)
    assert again.host_id == first.host_id
    assert control.access.principal(first.key.secret) is None
    assert control.access.principal(again.key.secret) is not None
    (host,) = control.hosts.list(project_id)
    assert (host.name, host.address, host.instance_id, host.agent_version) == (
        "web-2",
        "10.0.0.2",
        None,
        "1.1",
    )
    assert len(agent_targets(control)) == 1


def test_an_operators_host_is_taken_over_once(control: Control, project_id: str) -> None:
    direct = control.hosts.add(project_id, HostDraft("kr", "web-1", "10.9.9.9", collect="direct"))
    far = control.hosts.add(project_id, HostDraft("jp", "web-1", "10.9.9.9"))
    waiting = control.hosts.add(project_id, HostDraft("kr", "web-1", "10.9.9.9"))
    job = control.jobs.create(project_id, JobDraft("kr", "api", "/metrics"))
    ref = JobRef(project_id, job.job_id)
    target = control.targets.create(ref, TargetDraft(waiting.host_id, 8080))
    first = enrolled(control, project_id)
    assert first.host_id == waiting.host_id
    ours = [t.target_id for t in agent_targets(control) if not t.builtin]
    assert ours == [target.target_id]
    second = enrolled(control, project_id, replace(WEB, agent_id=f"0{AGENT_ID[1:]}"))
    assert second.host_id not in {direct.host_id, far.host_id, waiting.host_id}
    by_id = {host.host_id: host for host in control.hosts.list(project_id)}
    assert by_id[waiting.host_id].address == "10.0.0.1"
    assert by_id[direct.host_id] == direct


def test_another_projects_agent_id_and_hosts_are_not_found(
    control: Control, project_id: str
) -> None:
    """An id that another project's agent has is no way to its host."""
    first = enrolled(control, project_id)
    other = control.projects.create("other").project.project_id
    control.hosts.add(project_id, HostDraft("kr", "web-2", "10.0.0.2"))
    second = enrolled(control, other)
    third = enrolled(control, other, replace(WEB, agent_id=f"0{AGENT_ID[1:]}", hostname="web-2"))
    assert len({first.host_id, second.host_id, third.host_id}) == 3
    assert control.access.principal(first.key.secret) is not None
    assert {host.host_id for host in control.hosts.list(other)} == {second.host_id, third.host_id}


def test_removing_a_host_revokes_its_credential(control: Control, project_id: str) -> None:
    made = enrolled(control, project_id)
    control.hosts.remove(made.host_id)
    assert control.access.principal(made.key.secret) is None
    (key,) = [key for key in control.keys.list(project_id) if key.key_id == made.key.key_id]
    assert key.revoked_ms is not None
    # The same agent may come again, with a new token and as a new host.
    assert enrolled(control, project_id).host_id != made.host_id


def test_a_project_goes_with_its_agents(control: Control, project_id: str) -> None:
    made = enrolled(control, project_id)
    control.projects.delete(project_id)
    assert control.access.principal(made.key.secret) is None
    assert control.hosts.list() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent_id": "web-1"},
        {"agent_id": AGENT_ID.upper()},
        {"hostname": ""},
        {"hostname": "a\nb"},
        {"address": "http://10.0.0.1"},
        {"instance_id": "\0"},
        {"region": "us"},
        {"version": ""},
        {"version": "1" * 65},
    ],
)
def test_wrong_fields_are_refused(control: Control, project_id: str, wrong) -> None:
    with pytest.raises(ControlError) as caught:
        enrolled(control, project_id, replace(WEB, **wrong))
    assert caught.value.code == "BAD_INPUT_VALUE"


@pytest.mark.parametrize("moved", [{"region": "jp"}, {"os": "windows"}])
def test_an_agent_stays_in_its_region_and_system(control: Control, project_id: str, moved) -> None:
    first = enrolled(control, project_id)
    with pytest.raises(ControlError, match="remove the host first"):
        enrolled(control, project_id, replace(WEB, **moved))
    assert control.access.principal(first.key.secret) is not None


@pytest.mark.parametrize("scopes", [{"query"}, {"manage"}, {"query", "manage"}])
def test_other_keys_may_not_enrol(control: Control, project_id: str, scopes: set[Scope]) -> None:
    principal = principal_of(control, project_id, KeyDraft("other", frozenset(scopes)))
    with pytest.raises(Forbidden):
        control.agents.enrol(principal, WEB)


@pytest.mark.parametrize(
    "draft",
    [
        KeyDraft("no end", frozenset({"enrol"})),
        KeyDraft("more", frozenset({"enrol", "write"}), 1000),
        KeyDraft("agent", frozenset({"agent"}), 1000),
    ],
)
def test_tokens_are_one_thing_only(control: Control, project_id: str, draft: KeyDraft) -> None:
    with pytest.raises(ControlError) as caught:
        control.keys.create(project_id, draft)
    assert caught.value.code == "BAD_INPUT_VALUE"


def test_a_project_has_a_bounded_number_of_agents(open_control) -> None:
    control = open_control(agents_per_project_max=5)
    project_id = control.projects.create("shop").project.project_id
    principal = principal_of(control, project_id, KeyDraft("write", frozenset({"write"})))

    def enrol(number: int) -> str:
        try:
            control.agents.enrol(principal, replace(WEB, agent_id=f"{number:08x}{AGENT_ID[8:]}"))
        except ControlError as error:
            return error.code
        return "enrolled"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(enrol, range(12)))
    assert sorted(outcomes) == ["LIMIT_EXCEEDED"] * 7 + ["enrolled"] * 5


def test_silence_is_kept_and_forgotten(control: Control, project_id: str, clock) -> None:
    made = enrolled(control, project_id)
    control.inventory.note_silence({made.host_id: clock.ms, AGENT_ID: clock.ms})
    (host,) = control.hosts.list(project_id)
    assert host.silent_ms == clock.ms
    control.inventory.note_silence({made.host_id: None})
    (host,) = control.hosts.list(project_id)
    assert host.silent_ms is None
    control.inventory.note_silence({})
