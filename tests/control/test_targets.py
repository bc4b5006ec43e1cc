"""Collection targets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from meterhall.control.hosts import Host, HostDraft
from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.local_host import ensure_local_host
from meterhall.control.plane import Control
from meterhall.control.targets import TargetDraft
from meterhall.model.errors import ControlError

NEVER_WAS = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"


@pytest.fixture
def project_id(control: Control) -> str:
    return control.projects.create("shop").project.project_id


@pytest.fixture
def ref(control: Control, project_id: str) -> JobRef:
    return JobRef(project_id, control.jobs.create(project_id, JobDraft("kr", "api", "/m")).job_id)


@pytest.fixture
def host(control: Control, project_id: str) -> Host:
    return control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.1", collect="direct"))


def refused(control: Control, ref: JobRef, host_id: str, port: int = 9100) -> str:
    with pytest.raises(ControlError) as caught:
        control.targets.create(ref, TargetDraft(host_id, port))
    return caught.value.code


def test_a_target_is_created_and_found(control: Control, ref: JobRef, host: Host, clock) -> None:
    target = control.targets.create(ref, TargetDraft(host.host_id, 9100))
    assert (target.job_id, target.host_id, target.port) == (ref.job_id, host.host_id, 9100)
    assert (target.result_code, target.fail_reason, target.status) == (0, None, None)
    assert (target.host_name, target.address, target.region) == ("web", "10.0.0.1", "kr")
    assert target.modified_ms == clock.ms
    assert control.targets.get(ref, target.target_id) == target
    second = control.targets.create(ref, TargetDraft(host.host_id, 9101))
    assert control.targets.list(ref) == [target, second]


def test_hosts_must_be_of_the_same_project_and_region(
    control: Control, ref: JobRef, project_id: str
) -> None:
    other = control.projects.create("other").project.project_id
    theirs = control.hosts.add(other, HostDraft("kr", "web", "10.0.0.1"))
    far = control.hosts.add(project_id, HostDraft("jp", "web", "10.0.0.1"))
    for host_id in (theirs.host_id, far.host_id, NEVER_WAS, "host id", "", "\0", "\ud800"):
        assert refused(control, ref, host_id) == "INVALID_HOST_OR_PROJECT"


def test_a_pair_is_unique_in_its_job_only(
    control: Control, ref: JobRef, host: Host, project_id: str
) -> None:
    control.targets.create(ref, TargetDraft(host.host_id, 9100))
    assert refused(control, ref, host.host_id) == "ALREADY_EXIST"
    second = control.jobs.create(project_id, JobDraft("kr", "other", "/m2"))
    control.targets.create(JobRef(project_id, second.job_id), TargetDraft(host.host_id, 9100))
    namesake = control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.1"))
    control.targets.create(ref, TargetDraft(namesake.host_id, 9100))


def test_the_quota_counts_a_host_over_all_its_jobs(
    control: Control, ref: JobRef, host: Host, project_id: str
) -> None:
    second = control.jobs.create(project_id, JobDraft("kr", "other", "/m"))
    other_ref = JobRef(project_id, second.job_id)
    made = [control.targets.create(ref, TargetDraft(host.host_id, 1 + n)) for n in range(3)]
    for port in (1, 2):
        control.targets.create(other_ref, TargetDraft(host.host_id, port))
    assert refused(control, ref, host.host_id, 4) == "LIMIT_EXCEEDED"
    # What exists already is said first: asking again changes nothing.
    assert refused(control, ref, host.host_id, 1) == "ALREADY_EXIST"
    control.targets.delete(ref, made[0].target_id)
    control.targets.create(ref, TargetDraft(host.host_id, 4))


def test_reserved_jobs_do_not_count_and_take_no_targets(control: Control) -> None:
    local = ensure_local_host(control.context, "me", "127.0.0.1")
    job = control.jobs.create(local.project_id, JobDraft("kr", "api", "/m"))
    ref = JobRef(local.project_id, job.job_id)
    for port in range(1, 6):
        control.targets.create(ref, TargetDraft(local.host_id, port))
    assert refused(control, ref, local.host_id, 6) == "LIMIT_EXCEEDED"
    reserved = JobRef(local.project_id, local.job_id)
    assert refused(control, reserved, local.host_id, 6) == "SYSTEM_RESERVED_JOB"


def test_fifty_at_once_leave_exactly_five(
    control: Control, project_id: str, host: Host, open_control: Callable[..., Control]
) -> None:
    """S21: the quota holds under a race, over several jobs, between two servers on one database too."""
    servers = [control, open_control()]
    refs = [
        JobRef(project_id, control.jobs.create(project_id, JobDraft("kr", name, "/m")).job_id)
        for name in ("a", "b", "c")
    ]

    def create(number: int) -> str:
        try:
            servers[number % 2].targets.create(
                refs[number % 3], TargetDraft(host.host_id, 1 + number)
            )
        except ControlError as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(create, range(50)))
    assert sorted(outcomes) == ["LIMIT_EXCEEDED"] * 45 + ["made"] * 5
    assert sum(len(control.targets.list(ref)) for ref in refs) == 5


def test_creation_and_deletion_of_the_job_race_safely(
    control: Control, project_id: str, host: Host
) -> None:
    """Each create answers with a target or NOT_FOUND_JOB; nothing is left of the deleted jobs."""

    def turn(number: int) -> None:
        job = control.jobs.create(project_id, JobDraft("kr", f"j{number}", "/m"))
        ref = JobRef(project_id, job.job_id)

        def create(port: int) -> str:
            try:
                return control.targets.create(ref, TargetDraft(host.host_id, port)).target_id
            except ControlError as error:
                return error.code

        with ThreadPoolExecutor(3) as pool:
            made = [pool.submit(create, port) for port in (1, 2)]
            pool.submit(control.jobs.delete, ref).result()
        for one in made:
            assert one.result() == "NOT_FOUND_JOB" or len(one.result()) == 36

    for number in range(8):
        turn(number)
    assert control.inventory.scrape_targets(["kr"]) == []


@pytest.mark.parametrize("target_id", [NEVER_WAS, "", "\0", "..", "x" * 300, "\ud800"])
def test_a_target_that_never_was_is_missing(control: Control, ref: JobRef, target_id: str) -> None:
    for call in (control.targets.get, control.targets.delete):
        with pytest.raises(ControlError) as caught:
            call(ref, target_id)
        assert caught.value.code == "NOT_FOUND_TARGET"


def test_a_target_is_found_under_its_own_job_only(
    control: Control, ref: JobRef, host: Host, project_id: str
) -> None:
    target = control.targets.create(ref, TargetDraft(host.host_id, 9100))
    second = control.jobs.create(project_id, JobDraft("kr", "other", "/m"))
    other = control.projects.create("other").project.project_id
    for wrong, code in (
        (JobRef(project_id, second.job_id), "NOT_FOUND_TARGET"),
        (JobRef(other, ref.job_id), "NOT_FOUND_JOB"),
    ):
        for call in (control.targets.get, control.targets.delete):
            with pytest.raises(ControlError) as caught:
                call(wrong, target.target_id)
            assert caught.value.code == code


def test_targets_go_with_their_job_and_with_their_host(
    control: Control, ref: JobRef, host: Host, project_id: str
) -> None:
    control.targets.create(ref, TargetDraft(host.host_id, 9100))
    control.hosts.remove(host.host_id)
    assert control.targets.list(ref) == []
    again = control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.1", collect="direct"))
    control.targets.create(ref, TargetDraft(again.host_id, 9100))
    control.jobs.delete(ref)
    assert control.inventory.scrape_targets(["kr"]) == []


def test_the_port_is_checked_first(control: Control, ref: JobRef) -> None:
    assert refused(control, ref, "host id", 0) == "BAD_INPUT_VALUE"
