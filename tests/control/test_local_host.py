"""Quickstart's first project."""

import pytest

from meterhall.control.jobs import JobRef
from meterhall.control.local_host import ensure_local_host
from meterhall.control.plane import Control
from meterhall.model.errors import ControlError


def test_the_first_run_makes_everything(control: Control) -> None:
    local = ensure_local_host(control.context, "me", "127.0.0.1")
    assert local.key is not None
    principal = control.access.principal(local.key.secret)
    assert principal is not None
    assert principal.project == local.project_id
    assert [project.name for project in control.projects.list()] == ["quickstart"]
    (job,) = control.jobs.list(local.project_id, "kr")
    assert (job.name, job.reserved_code, job.metrics_path) == ("@Linux", "LINUX", "/metrics")
    (target,) = control.targets.list(JobRef(local.project_id, local.job_id))
    assert (target.host_id, target.port, target.host_name) == (local.host_id, 9100, "me")
    (host,) = control.hosts.list(local.project_id, "kr")
    assert (host.os, host.collect) == ("linux", "direct")


def test_the_next_run_finds_the_same_and_renames_the_host(control: Control) -> None:
    first = ensure_local_host(control.context, "me", "127.0.0.1")
    again = ensure_local_host(control.context, "renamed", "10.0.0.9")
    assert again.key is None
    assert (again.project_id, again.host_id, again.job_id, again.target_id) == (
        first.project_id,
        first.host_id,
        first.job_id,
        first.target_id,
    )
    (host,) = control.hosts.list()
    assert (host.name, host.address) == ("renamed", "10.0.0.9")


def test_what_an_operator_removed_is_made_again(control: Control) -> None:
    first = ensure_local_host(control.context, "me", "127.0.0.1")
    control.hosts.remove(first.host_id)
    again = ensure_local_host(control.context, "me", "127.0.0.1")
    assert (again.project_id, again.job_id, again.key) == (first.project_id, first.job_id, None)
    assert again.host_id != first.host_id
    assert len(control.inventory.scrape_targets(["kr"])) == 1


def test_a_wrong_name_makes_nothing(control: Control) -> None:
    with pytest.raises(ControlError, match="host name"):
        ensure_local_host(control.context, "", "127.0.0.1")
    assert control.projects.list() == []
