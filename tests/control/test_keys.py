"""Keys."""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import select

from meterhall.control import tables
from meterhall.control.keys import KeyDraft
from meterhall.control.plane import Control
from meterhall.model.errors import BadInput, ControlError


@pytest.fixture
def project_id(control: Control) -> str:
    return control.projects.create("shop").project.project_id


def test_only_the_digest_is_stored(control: Control, project_id: str) -> None:
    made = control.keys.create(project_id, KeyDraft("ci"))
    with control.database.read() as connection:
        rows = connection.execute(select(tables.keys).where(tables.keys.c.id == made.key_id)).all()
    assert [row.digest for row in rows] == [hashlib.sha256(made.secret.encode()).hexdigest()]
    assert made.secret not in repr(rows)


def test_the_secret_reaches_no_file(control: Control, project_id: str, tmp_path: Path) -> None:
    made = control.keys.create(project_id, KeyDraft("ci"))
    for file in tmp_path.rglob("*"):
        assert made.secret.encode() not in file.read_bytes()


def test_several_keys_are_valid_at_once_until_one_is_revoked(
    control: Control, project_id: str
) -> None:
    old, new = (control.keys.create(project_id, KeyDraft(name)) for name in ("old", "new"))
    assert control.access.principal(old.secret) is not None
    control.keys.revoke(old.key_id)
    control.keys.revoke(old.key_id)
    assert control.access.principal(old.secret) is None
    assert control.access.principal(new.secret) is not None


def test_scopes_and_expiry_are_kept(control: Control, project_id: str, clock) -> None:
    made = control.keys.create(project_id, KeyDraft("ci", frozenset({"query"}), 1000))
    key = control.keys.list(project_id)[-1]
    assert (key.key_id, key.name, key.scopes) == (made.key_id, "ci", {"query"})
    assert key.expires_ms == clock.ms + 1000
    principal = control.access.principal(made.secret)
    assert principal is not None
    assert principal.scopes == {"query"}
    clock.ms += 999
    assert control.access.principal(made.secret) is not None
    clock.ms += 1
    assert control.access.principal(made.secret) is None


@pytest.mark.parametrize(
    "draft",
    [
        KeyDraft(""),
        KeyDraft("a\nb"),
        KeyDraft("a", frozenset()),
        KeyDraft("a", frozenset({"root"})),  # type: ignore[arg-type]
        KeyDraft("a", lifetime_ms=0),
    ],
)
def test_wrong_drafts_are_refused(control: Control, project_id: str, draft: KeyDraft) -> None:
    with pytest.raises(ControlError) as caught:
        control.keys.create(project_id, draft)
    assert caught.value.code == "BAD_INPUT_VALUE"


def test_a_key_needs_a_project(control: Control) -> None:
    with pytest.raises(ControlError, match="there is no project"):
        control.keys.create("aOpreudC", KeyDraft("ci"))


@pytest.mark.parametrize("key_id", ["", "\0", "6f9619ff-8b86-4d11-b42d-00c04fc964ff"])
def test_unknown_keys_cannot_be_revoked(control: Control, key_id: str) -> None:
    with pytest.raises(BadInput, match="there is no key"):
        control.keys.revoke(key_id)
