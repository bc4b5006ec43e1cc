"""Hosts."""

import pytest

from meterhall.control.hosts import HostDraft
from meterhall.control.plane import Control
from meterhall.model.errors import BadInput, ControlError


@pytest.fixture
def project_id(control: Control) -> str:
    return control.projects.create("shop").project.project_id


def test_hosts_are_listed_by_project_and_region_in_order(control: Control, project_id: str) -> None:
    other = control.projects.create("other").project.project_id
    first = control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.1", "i-1", "windows"))
    second = control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.2", collect="direct"))
    far = control.hosts.add(project_id, HostDraft("jp", "web", "fd00::1"))
    theirs = control.hosts.add(other, HostDraft("kr", "web", "10.0.0.1"))
    assert control.hosts.list(project_id, "kr") == [first, second]
    assert control.hosts.list(project_id) == [first, second, far]
    assert control.hosts.list() == [first, second, far, theirs]
    assert (first.instance_id, first.os, first.collect) == ("i-1", "windows", "agent")


@pytest.mark.parametrize("code", ["", "\0", "\ud800", "x" * 300])
def test_odd_codes_have_no_hosts(control: Control, code: str) -> None:
    assert control.hosts.list(code) == []
    assert control.hosts.list(region=code) == []
    assert control.keys.list(code) == []


@pytest.mark.parametrize(
    "draft",
    [
        HostDraft("us", "web", "10.0.0.1"),
        HostDraft("kr", "", "10.0.0.1"),
        HostDraft("kr", "web\nX", "10.0.0.1"),
        HostDraft("kr", "web", "10.0.0.1", instance_id="i\0"),
        HostDraft("kr", "web", ""),
    ],
)
def test_wrong_fields_are_refused(control: Control, project_id: str, draft: HostDraft) -> None:
    with pytest.raises(ControlError) as caught:
        control.hosts.add(project_id, draft)
    assert caught.value.code == "BAD_INPUT_VALUE"


def test_a_host_needs_a_project(control: Control) -> None:
    with pytest.raises(ControlError, match="there is no project"):
        control.hosts.add("aOpreudC", HostDraft("kr", "web", "10.0.0.1"))


def test_a_host_is_removed_once(control: Control, project_id: str) -> None:
    host = control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.1"))
    control.hosts.remove(host.host_id)
    assert control.hosts.list() == []
    for gone in (host.host_id, "\0", ""):
        with pytest.raises(BadInput, match="there is no host"):
            control.hosts.remove(gone)
