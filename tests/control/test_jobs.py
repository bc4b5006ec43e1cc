"""Workspaces."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from meterhall.control.jobs import Job, JobChange, JobDraft, JobRef
from meterhall.control.local_host import ensure_local_host
from meterhall.control.plane import Control
from meterhall.model.errors import ControlError

NEVER_WAS = "6f9619ff-8b86-4d11-b42d-00c04fc964ff"


@pytest.fixture
def project_id(control: Control) -> str:
    return control.projects.create("shop").project.project_id


@pytest.fixture
def job(control: Control, project_id: str) -> Job:
    return control.jobs.create(project_id, JobDraft("kr", "api", "/m", "text"))


def ref_of(job: Job) -> JobRef:
    return JobRef(job.project_id, job.job_id)


def test_a_job_is_created_and_found(control: Control, project_id: str, job: Job, clock) -> None:
    assert (job.name, job.metrics_path, job.description) == ("api", "/m", "text")
    assert (job.reserved_code, job.modifier, job.modified_ms) == (None, None, clock.ms)
    assert control.jobs.get(ref_of(job)) == job
    assert control.jobs.get(JobRef(project_id, job.job_id, "kr")) == job
    assert control.jobs.list(project_id, "kr") == [job]
    assert control.jobs.list(project_id, "jp") == []


def test_names_are_unique_within_project_and_region(control: Control, job: Job) -> None:
    with pytest.raises(ControlError) as caught:
        control.jobs.create(job.project_id, JobDraft("kr", "api", "/other"))
    assert caught.value.code == "ALREADY_EXIST"
    other = control.projects.create("other").project.project_id
    for project_id, draft in (
        (job.project_id, JobDraft("jp", "api", "/m")),
        (job.project_id, JobDraft("kr", "API", "/m")),
        (other, JobDraft("kr", "api", "/m")),
    ):
        assert control.jobs.create(project_id, draft).name == draft.name


def test_fifty_at_once_make_one(
    control: Control, project_id: str, open_control: Callable[..., Control]
) -> None:
    """S21: the unique name holds under a race, between two servers on one database too."""
    servers = [control, open_control()]

    def create(number: int) -> str:
        try:
            return servers[number % 2].jobs.create(project_id, JobDraft("kr", "api", "/m")).name
        except ControlError as error:
            return error.code

    with ThreadPoolExecutor(50) as pool:
        outcomes = list(pool.map(create, range(50)))
    assert sorted(outcomes) == ["ALREADY_EXIST"] * 49 + ["api"]
    assert len(control.jobs.list(project_id, "kr")) == 1


def test_a_job_needs_a_region_of_this_server(control: Control, project_id: str) -> None:
    with pytest.raises(ControlError, match="region 'us'") as caught:
        control.jobs.create(project_id, JobDraft("us", "api", "/m"))
    assert caught.value.code == "BAD_INPUT_VALUE"


def test_a_change_sets_path_and_says_when(control: Control, job: Job, clock) -> None:
    clock.ms += 5000
    changed = control.jobs.change(ref_of(job), JobChange("/new", "api"))
    assert (changed.metrics_path, changed.description) == ("/new", "text")
    assert changed.modified_ms == clock.ms
    assert control.jobs.get(ref_of(job)) == changed


@pytest.mark.parametrize(("text", "stored"), [(None, None), ("", None), ("new", "new")])
def test_a_change_may_set_or_clear_the_description(
    control: Control, job: Job, text: str | None, stored: str | None
) -> None:
    changed = control.jobs.change(ref_of(job), JobChange("/m", description=text, describes=True))
    assert changed.description == stored


@pytest.mark.parametrize(
    "change", [JobChange("m"), JobChange("/m", "other"), JobChange("/m", None, "\0", True)]
)
def test_a_wrong_change_changes_nothing(control: Control, job: Job, change: JobChange) -> None:
    with pytest.raises(ControlError) as caught:
        control.jobs.change(ref_of(job), change)
    assert caught.value.code == "BAD_INPUT_VALUE"
    assert control.jobs.get(ref_of(job)) == job


@pytest.mark.parametrize("job_id", [NEVER_WAS, "", "\0", "..", "x" * 300, "\ud800", "CON"])
def test_a_job_that_never_was_is_missing(control: Control, project_id: str, job_id: str) -> None:
    ref = JobRef(project_id, job_id)
    for call in (
        lambda: control.jobs.get(ref),
        lambda: control.jobs.delete(ref),
        lambda: control.jobs.change(ref, JobChange("/m")),
        lambda: control.targets.list(ref),
    ):
        with pytest.raises(ControlError) as caught:
            call()
        assert caught.value.code == "NOT_FOUND_JOB"


def test_a_job_of_another_project_is_missing_in_the_same_words(control: Control, job: Job) -> None:
    other = control.projects.create("other").project.project_id
    texts = []
    for job_id in (job.job_id, NEVER_WAS):
        with pytest.raises(ControlError) as caught:
            control.jobs.get(JobRef(other, job_id))
        texts.append(caught.value.detail.replace(job_id, "ID"))
    assert texts[0] == texts[1]


def test_a_contradicting_region_is_refused(control: Control, job: Job) -> None:
    with pytest.raises(ControlError, match="contradicts") as caught:
        control.jobs.get(JobRef(job.project_id, job.job_id, "jp"))
    assert caught.value.code == "BAD_INPUT_VALUE"


def test_a_deleted_job_frees_its_name(control: Control, job: Job) -> None:
    control.jobs.delete(ref_of(job))
    assert control.jobs.list(job.project_id, "kr") == []
    again = control.jobs.create(job.project_id, JobDraft("kr", "api", "/m"))
    assert again.job_id != job.job_id


def test_reserved_jobs_come_first_and_refuse_every_change(control: Control) -> None:
    project_id = control.projects.create("quickstart").project.project_id
    own = control.jobs.create(project_id, JobDraft("kr", "api", "/m"))
    local = ensure_local_host(control.context, "me", "127.0.0.1")
    jobs = control.jobs.list(project_id, "kr")
    assert [job.name for job in jobs] == ["@Linux", own.name]
    assert jobs[0].reserved_code == "LINUX"
    ref = JobRef(project_id, local.job_id)
    for call in (
        lambda: control.jobs.delete(ref),
        lambda: control.jobs.change(ref, JobChange("/m")),
        lambda: control.targets.delete(ref, local.target_id),
    ):
        with pytest.raises(ControlError) as caught:
            call()
        assert caught.value.code == "SYSTEM_RESERVED_JOB"


def test_an_interval_may_be_set_and_taken_back(control: Control, job: Job) -> None:
    control.jobs.set_interval(ref_of(job), 1000)
    assert control.jobs.get(ref_of(job)).interval_ms == 1000
    control.jobs.set_interval(ref_of(job), None)
    assert control.jobs.get(ref_of(job)).interval_ms is None
    with pytest.raises(ControlError, match="interval"):
        control.jobs.set_interval(ref_of(job), 999)
