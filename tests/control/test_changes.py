"""Polling for other processes' changes."""

from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from meterhall.control.changes import ChangeWatcher
from meterhall.control.plane import Control


def test_a_turn_calls_the_listeners_of_what_moved(open_control: Callable[..., Control]) -> None:
    here, there = open_control(), open_control()
    watcher = ChangeWatcher(here.database, 1000)
    heard: list[str] = []
    for topic in ("access", "inventory"):
        watcher.listen(topic, lambda topic=topic: heard.append(topic))
    watcher.turn()
    assert heard == []
    there.projects.create("shop")
    watcher.turn()
    watcher.turn()
    assert heard == ["access"]


def test_a_listener_that_failed_is_called_again(open_control: Callable[..., Control]) -> None:
    here, there = open_control(), open_control()
    watcher = ChangeWatcher(here.database, 1000)
    tries: list[int] = []

    def listener() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError("SELECT 1", {}, Exception("gone"))

    watcher.listen("access", listener)
    there.projects.create("shop")
    for _ in range(3):
        watcher.guarded(watcher.turn)
    assert len(tries) == 2


def test_a_listener_that_fails_after_an_own_change_does_not_undo_it(control: Control) -> None:
    tries: list[int] = []

    def listener() -> None:
        tries.append(1)
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    control.watcher.listen("access", listener)
    made = control.projects.create("shop")
    assert control.projects.list() == [made.project]
    assert tries == [1]
