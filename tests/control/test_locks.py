"""Held rows."""

import threading

import pytest
from sqlalchemy import Connection

from meterhall.control.locks import hold_project
from meterhall.control.plane import Control
from meterhall.model.errors import ControlError


@pytest.mark.parametrize("project_id", ["aOpreudC", "", "\0", "\ud800"])
def test_there_must_be_a_row(control: Control, project_id: str) -> None:
    with pytest.raises(ControlError, match="there is no project"):
        control.context.change_access(lambda connection: hold_project(connection, project_id))


def test_a_second_holder_waits_for_the_first(control: Control) -> None:
    """With a lock this passes however threads are scheduled; without one the second gets in early."""
    project_id = control.projects.create("shop").project.project_id
    order: list[str] = []
    begun, inside = threading.Event(), threading.Event()

    def second_work(connection: Connection) -> None:
        hold_project(connection, project_id)
        order.append("second")
        inside.set()

    def second() -> None:
        begun.set()
        control.database.write(second_work, topics=())

    thread = threading.Thread(target=second)

    def first_work(connection: Connection) -> None:
        hold_project(connection, project_id)
        thread.start()
        begun.wait()
        assert not inside.wait(0.2)
        order.append("first")

    control.database.write(first_work, topics=())
    thread.join()
    assert order == ["first", "second"]
