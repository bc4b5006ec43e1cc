"""The snapshot of keys: what other processes change, last uses, and how lookup works (S17, S20)."""

import threading
import time
from collections.abc import Callable

import pytest

from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control
from meterhall.model.errors import BadInput
from meterhall.model.tenant import Tenant

_DEADLINE_S = 5.0


def eventually(condition: Callable[[], bool]) -> bool:
    """Polls until the condition holds or the contract's five seconds have passed."""
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def test_another_process_changes_are_noticed(open_control: Callable[..., Control]) -> None:
    server, cli = open_control(), open_control()
    server.start()
    made = cli.projects.create("shop")
    assert eventually(lambda: server.access.principal(made.key.secret) is not None)
    cli.keys.revoke(made.key.key_id)
    assert eventually(lambda: server.access.principal(made.key.secret) is None)


def test_own_changes_need_no_poll(control: Control) -> None:
    made = control.projects.create("shop")
    assert control.access.principal(made.key.secret) is not None
    control.keys.revoke(made.key.key_id)
    assert control.access.principal(made.key.secret) is None


@pytest.mark.parametrize(
    "appkey", ["", " ", "null", "a,,b", "x" * 43, "\ud800", "\0", "' OR 1=1 --", "k" * 100_000]
)
def test_no_other_text_is_a_key(control: Control, appkey: str) -> None:
    control.projects.create("shop")
    assert control.access.principal(appkey) is None


def test_lookup_is_by_digest(control: Control) -> None:
    """Nothing that is kept in memory holds a key or a piece of one: there is no prefix to compare."""
    secret = control.projects.create("shop").key.secret
    held = repr(control.access._entries)
    assert all(secret[at : at + 8] not in held for at in range(len(secret) - 8))
    for almost in (secret[:-1], secret + " ", secret.swapcase(), secret[:-1] + "\0"):
        assert control.access.principal(almost) is None


def test_last_use_is_written_without_a_change_of_topic(control: Control, clock) -> None:
    made = control.projects.create("shop")
    assert control.keys.list()[0].last_used_ms is None
    before = control.database.counters()
    control.access.principal(made.key.secret)
    clock.ms += 5
    control.access.principal(made.key.secret)
    control.access.write_last_used()
    assert control.keys.list()[0].last_used_ms == clock.ms
    assert control.database.counters() == before


def test_last_use_is_written_by_the_watcher_and_at_the_end(
    open_control: Callable[..., Control], clock
) -> None:
    lazy, eager = open_control(), open_control(last_used_write_ms=0)
    made = lazy.projects.create("shop")
    eager.start()
    assert eventually(lambda: eager.access.principal(made.key.secret) is not None)
    assert eventually(lambda: lazy.keys.list()[0].last_used_ms == clock.ms)
    clock.ms += 1000
    lazy.access.principal(made.key.secret)
    lazy.close()
    assert eager.keys.list()[0].last_used_ms == clock.ms


def test_tenants_are_issued_for_configured_regions_only(control: Control) -> None:
    made = control.projects.create("shop")
    principal = control.access.principal(made.key.secret)
    assert principal is not None
    assert control.access.regions == {"kr", "jp"}
    assert control.access.tenant(principal, "jp") == Tenant("jp", made.project.project_id)
    with pytest.raises(BadInput, match="region 'us' is not one of jp, kr"):
        control.access.tenant(principal, "us")


def test_lookups_go_on_while_keys_change(control: Control) -> None:
    """A snapshot is swapped whole: a valid key is never refused while others come and go."""
    steady = control.projects.create("shop")
    refused: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if control.access.principal(steady.key.secret) is None:
                refused.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(10):
        key = control.keys.create(steady.project.project_id, KeyDraft("other"))
        control.keys.revoke(key.key_id)
    done.set()
    thread.join()
    assert refused == []
