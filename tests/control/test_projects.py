"""Projects."""

import os

import pytest

from meterhall.control.hosts import HostDraft
from meterhall.control.identifiers import Identifiers
from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.control.targets import TargetDraft
from meterhall.model.errors import ControlError


def test_a_project_is_made_with_a_key_that_works(control: Control) -> None:
    made = control.projects.create("shop")
    assert len(made.project.project_id) == 8
    assert made.project.project_id.isalpha()
    principal = control.access.principal(made.key.secret)
    assert principal is not None
    assert principal.project == made.project.project_id
    assert principal.scopes == {"manage", "query", "write"}


def test_an_id_that_is_taken_is_drawn_again(database_url: str, clock) -> None:
    draws: list[int] = []

    def random_bytes(size: int) -> bytes:
        draws.append(size)
        # Project ids take 8 bytes; the first two projects draw the same ones.
        return bytes(size) if size == 8 and draws.count(8) <= 2 else os.urandom(size)

    control = open_control_plane(database_url, ControlSettings(), clock, Identifiers(random_bytes))
    first, second = (control.projects.create("shop").project.project_id for _ in range(2))
    control.close()
    assert first == "a" * 8
    assert second != first
    assert draws.count(8) >= 3


def test_the_secret_is_in_no_repr(control: Control) -> None:
    made = control.projects.create("shop")
    assert made.key.secret not in repr(made)


def test_projects_are_listed_by_creation_and_may_share_a_name(control: Control) -> None:
    made = [control.projects.create("shop").project for _ in range(3)]
    assert control.projects.list() == made


def test_deletion_takes_everything_and_the_key_is_refused_at_once(control: Control) -> None:
    made = control.projects.create("shop")
    project_id = made.project.project_id
    host = control.hosts.add(project_id, HostDraft("kr", "h", "10.0.0.1", collect="direct"))
    job = control.jobs.create(project_id, JobDraft("kr", "j", "/m"))
    control.targets.create(JobRef(project_id, job.job_id), TargetDraft(host.host_id, 9100))
    control.projects.delete(project_id)
    assert control.access.principal(made.key.secret) is None
    assert control.projects.list() == []
    assert control.keys.list() == []
    assert control.hosts.list() == []
    assert control.inventory.scrape_targets(["kr", "jp"]) == []


@pytest.mark.parametrize("project_id", ["aOpreudC", "", "\0", "..", "x" * 300, "\u0430OpreudC"])
def test_a_project_that_never_was_cannot_be_deleted(control: Control, project_id: str) -> None:
    with pytest.raises(ControlError, match="there is no project") as caught:
        control.projects.delete(project_id)
    assert caught.value.code == "INVALID_HOST_OR_PROJECT"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[2J", "x" * 256])
def test_names_are_one_printable_line(control: Control, name: str) -> None:
    with pytest.raises(ControlError, match="project name"):
        control.projects.create(name)
