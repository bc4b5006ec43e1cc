"""Limits of projects: the configured ones, a project's own, and other processes that follow."""

import time

import pytest

from meterhall.control.keys import KeyDraft
from meterhall.model.errors import BadInput, ControlError
from meterhall.model.limits import ProjectLimits

COMMON = ProjectLimits(active_series=10, samples_per_second=5)


def tenant_of(control, project_id):
    key = control.keys.create(project_id, KeyDraft("k"))
    return control.access.tenant(control.access.principal(key.secret), "kr")


def test_a_project_has_the_configured_limits_until_it_has_its_own(open_control):
    control = open_control(limits=COMMON)
    one, two = (control.projects.create(name).project.project_id for name in ("one", "two"))
    control.limits.change(one, {"active_series": 99, "label_name_bytes": 0})
    assert control.limits.limits(tenant_of(control, one)) == ProjectLimits(
        active_series=99, samples_per_second=5, label_name_bytes=0
    )
    assert control.limits.limits(tenant_of(control, two)) == COMMON
    assert control.limits.of_project(one)["active_series"] == (99, True)
    assert control.limits.of_project(one)["samples_per_second"] == (5, False)
    control.limits.change(one, {"active_series": None, "label_name_bytes": None})
    assert control.limits.limits(tenant_of(control, one)) == COMMON


def test_another_process_follows(open_control):
    server, command = open_control(limits=COMMON), open_control()
    server.start()
    project = command.projects.create("one").project.project_id
    command.limits.change(project, {"active_series": 3})
    deadline = time.monotonic() + 5
    while server.limits._by_project.get(project) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert server.limits.limits(tenant_of(server, project)).active_series == 3


def test_limits_go_with_their_project(control):
    project = control.projects.create("one").project.project_id
    control.limits.change(project, {"active_series": 3})
    control.projects.delete(project)
    assert control.limits._by_project == {}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"series": 1}, "unknown limit 'series'; there are active_series"),
        ({"active_series": -1}, "whole number from 0"),
        ({"active_series": 2**63}, "whole number from 0"),
    ],
)
def test_wrong_limits_are_refused(control, values, error):
    project = control.projects.create("one").project.project_id
    with pytest.raises(BadInput, match=error):
        control.limits.change(project, values)


def test_there_must_be_a_project(control):
    with pytest.raises(ControlError):
        control.limits.change("aaaaaaaa", {"active_series": 1})
    with pytest.raises(ControlError):
        control.limits.of_project("aaaaaaaa")
