"""The agent's own files: readable by nobody else, and whole or not there."""

import stat
import uuid

import pytest

from meterhall.agent.state import StateDirectory, publish
from meterhall.model.errors import ConfigError
from meterhall.wire.agent_calls import AgentTargets, Enrolled, ReportLimits

CREDENTIAL = Enrolled("h-1", "a-secret-key", "kr")
TARGETS = AgentTargets("7", "h-1", 5.0, [], ReportLimits(1, 2, 3, 4))


@pytest.fixture
def state(tmp_path):
    state = StateDirectory(tmp_path / "deep" / "agent")
    state.open()
    return state


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_agent_keeps_its_name(state):
    name = state.agent_id()
    assert str(uuid.UUID(name)) == name
    assert state.agent_id() == name
    (state.path / "agent-id").write_text("rubbish")
    assert state.agent_id() != name


def test_a_credential_is_for_its_user_alone(state):
    assert state.credential() is None
    # What an earlier crash left aside must not lend its mode.
    aside = state.path / "credential.new"
    aside.write_text("")
    aside.chmod(0o644)
    state.keep_credential(CREDENTIAL)
    assert state.credential() == CREDENTIAL
    assert mode(state.path) == 0o700
    assert {path.name: mode(path) for path in state.path.iterdir()} == {"credential.json": 0o600}


def test_targets_are_kept(state):
    assert state.targets() is None
    state.keep_targets(TARGETS)
    assert state.targets() == TARGETS


def test_what_cannot_be_read_counts_as_none(state, capsys):
    (state.path / "credential.json").write_text('{"hostId": 1}')
    assert state.credential() is None
    said = capsys.readouterr().out
    assert "state.unreadable" in said
    assert "hostId" in said


def test_a_write_that_fails_leaves_the_old_one(state):
    state.keep_targets(TARGETS)
    (state.path / "targets.new").mkdir()
    state.keep_targets(AgentTargets("8", "h-1", 5.0, [], ReportLimits(1, 2, 3, 4)))
    assert state.targets() == TARGETS


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/agent cannot be used"):
        StateDirectory(tmp_path / "file" / "agent").open()


def test_publishing_replaces_at_once(tmp_path):
    publish(tmp_path / "x", b"one")
    publish(tmp_path / "x", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"two")]
