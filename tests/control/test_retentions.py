"""Rules of retention: a project's, a workspace's, in every region; and deleted projects, whose ids never return."""

import pytest

from meterhall.control.retentions import OWN
from meterhall.model.errors import BadInput, ControlError
from meterhall.model.retention import ProjectRetention, Retention

DAY = 86_400_000


def test_rules_of_a_project_and_its_workspaces(control):
    one, two = (control.projects.create(name).project.project_id for name in ("one", "two"))
    control.retentions.change(one, OWN, Retention(time_ms=3 * DAY))
    control.retentions.change(one, "web", Retention(time_ms=DAY, bytes=5))
    rule = ProjectRetention(Retention(3 * DAY), {"web": Retention(DAY, 5)})
    assert control.retentions.retentions() == {("kr", one): rule, ("jp", one): rule}
    assert control.retentions.of_project(one) == {OWN: rule.own, **rule.jobs}
    assert control.retentions.of_project(two) == {}
    control.retentions.change(one, OWN, Retention())
    control.retentions.change(one, "web", Retention(bytes=7))
    only = ProjectRetention(Retention(), {"web": Retention(0, 7)})
    assert control.retentions.retentions()["kr", one] == only
    control.retentions.change(one, "web", Retention())
    assert control.retentions.retentions() == {}


def test_a_deleted_project_departs_in_every_region_after_a_while(control, clock):
    project = control.projects.create("one").project.project_id
    control.retentions.change(project, OWN, Retention(DAY))
    control.projects.delete(project)
    assert control.retentions.retentions() == {}
    assert list(control.retentions.departed()) == []
    clock.ms += 10_000
    assert list(control.retentions.departed()) == [("kr", project), ("jp", project)]


def test_an_id_is_never_given_again(open_control, monkeypatch):
    control = open_control()
    first = control.projects.create("one").project.project_id
    control.projects.delete(first)
    ids = iter([first, first, "bOpreudC"])
    monkeypatch.setattr(type(control.context.identifiers), "project_id", lambda _: next(ids))
    assert control.projects.create("two").project.project_id == "bOpreudC"


@pytest.mark.parametrize(
    ("job", "rule"),
    [
        ("", Retention(time_ms=DAY - 1)),
        ("", Retention(time_ms=-DAY)),
        ("", Retention(bytes=-1)),
        ("x" * 65, Retention(time_ms=DAY)),
    ],
)
def test_wrong_rules_are_refused(control, job, rule):
    project = control.projects.create("one").project.project_id
    with pytest.raises(BadInput, match="retention"):
        control.retentions.change(project, job, rule)


def test_there_must_be_a_project(control):
    with pytest.raises(ControlError):
        control.retentions.change("aaaaaaaa", OWN, Retention(DAY))
