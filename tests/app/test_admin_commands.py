"""The operator's commands, run as a user runs them."""

import json
import re  # Reads our own tables back.
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meterhall.app.cli import main
from meterhall.app.clock import SystemClock
from meterhall.app.control_plane import CONTROL_FILE
from meterhall.control.database import sqlite_url
from meterhall.control.plane import open_control_plane
from meterhall.control.settings import ControlSettings


class Shell:
    """Runs commands on one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *words: str, data_first: bool = False) -> Result:
        where = ["--data", str(self.data)]
        line = [words[0], *where, *words[1:]] if data_first else [*words, *where]
        return CliRunner().invoke(main, line)

    def json(self, *words: str):
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def fails(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.output
        return result.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "data")


def test_projects(shell: Shell) -> None:
    made = shell.json("projects", "create", "shop")
    assert list(made) == ["projectId", "appkey"]
    (listed,) = shell.json("projects", "list")
    assert (listed["projectId"], listed["name"]) == (made["projectId"], "shop")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed["created"])
    assert shell.run("projects", "delete", made["projectId"]).exit_code == 0
    assert shell.json("projects", "list") == []
    assert "there is no project" in shell.fails("projects", "delete", made["projectId"])


def test_keys(shell: Shell) -> None:
    project = shell.json("projects", "create", "shop")["projectId"]
    made = shell.json(
        "keys",
        "create",
        "--project",
        project,
        "--name",
        "ci",
        "--scope",
        "query",
        "--expires",
        "90d",
    )
    assert list(made) == ["keyId", "key"]
    listed = shell.json("keys", "list", "--project", project)
    assert [key["name"] for key in listed] == ["default", "ci"]
    assert (listed[1]["keyId"], listed[1]["scopes"]) == (made["keyId"], ["query"])
    assert listed[1]["expires"] > listed[1]["created"]
    assert made["key"] not in json.dumps(listed)
    assert shell.run("keys", "revoke", made["keyId"]).exit_code == 0
    assert shell.json("keys", "list")[1]["revoked"] is not None
    assert shell.json("keys", "list", "--project", "aOpreudC") == []


@pytest.mark.parametrize("scope", ["", ",", "query,", "a,,b", "root", "query manage"])
def test_wrong_scopes(shell: Shell, scope: str) -> None:
    """S20: a stray comma makes no empty scope."""
    project = shell.json("projects", "create", "shop")["projectId"]
    assert "--scope" in shell.fails("keys", "create", "--project", project, "--scope", scope)


def test_a_one_time_token_needs_an_end(shell: Shell) -> None:
    project = shell.json("projects", "create", "shop")["projectId"]
    words = ("keys", "create", "--project", project, "--scope", "enrol")
    assert "lifetime" in shell.fails(*words)
    shell.json(*words, "--expires", "1h")
    token = shell.json("keys", "list", "--project", project)[1]
    assert (token["scopes"], token["expires"] > token["created"]) == (["enrol"], True)
    for scope in ("enrol,write", "agent"):
        assert "--scope" in shell.fails(*words[:-1], scope, "--expires", "1h")


def test_hosts(shell: Shell) -> None:
    project = shell.json("projects", "create", "shop")["projectId"]
    words = ("hosts", "add", "--project", project, "--region", "kr", "--name", "web")
    added = shell.json(
        *words, "--address", "10.0.0.1", "--instance-id", "i-1", "--collect", "direct"
    )
    assert list(added) == ["hostId"]
    (listed,) = shell.json("hosts", "list", "--project", project, "--region", "kr")
    assert listed["hostId"] == added["hostId"]
    assert (listed["collect"], listed["os"], listed["instanceId"]) == ("direct", "linux", "i-1")
    assert (listed["agent"], listed["silentSince"]) == (None, None)
    assert "address" in shell.fails(*words, "--address", "http://x")
    assert shell.run("hosts", "remove", added["hostId"]).exit_code == 0
    assert "there is no host" in shell.fails("hosts", "remove", added["hostId"])
    assert "none" in shell.run("hosts", "list").stdout


def test_tables_are_aligned(shell: Shell) -> None:
    for name in ("a", "a much longer name"):
        shell.run("projects", "create", name)
    head, *rows = shell.run("projects", "list").stdout.splitlines()
    at = head.index("created")
    assert all(re.match(r"\d{4}-", row[at:]) for row in rows)
    assert len(rows) == 2


def test_where_may_stand_behind_the_group(shell: Shell) -> None:
    assert shell.run("projects", "create", "shop", data_first=True).exit_code == 0
    assert len(shell.json("projects", "list")) == 1


def test_data_and_config_exclude_each_other(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.touch()
    assert shell.run("projects", "list", "--config", str(config)).exit_code == 2


def test_a_configuration_file_says_where(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[storage]\ndata = "{tmp_path / "elsewhere"}"\n')
    runner = CliRunner()
    made = runner.invoke(main, ["projects", "create", "shop", "--config", str(config)])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "elsewhere" / CONTROL_FILE).exists()


def test_commands_work_while_a_server_runs(shell: Shell) -> None:
    shell.data.mkdir()
    url = sqlite_url(shell.data / CONTROL_FILE)
    server = open_control_plane(url, ControlSettings(), SystemClock())
    try:
        made = shell.json("projects", "create", "shop")
        server.watcher.turn()
        assert server.access.principal(made["appkey"]) is not None
    finally:
        server.close()


def test_upgrade_says_what_it_did(shell: Shell) -> None:
    assert "from nothing to revision" in shell.run("db", "upgrade").stdout
    assert "already at revision" in shell.run("db", "upgrade").stdout


def test_a_damaged_database_is_one_sentence(shell: Shell) -> None:
    shell.data.mkdir()
    (shell.data / CONTROL_FILE).write_bytes(b"not a database" * 100)
    assert "not a database" in shell.fails("projects", "list")
    assert "not a database" in shell.fails("db", "upgrade")


def test_limits_of_a_project(shell: Shell) -> None:
    project = shell.json("projects", "create", "shop")["projectId"]

    def limits(*words: str) -> dict[str, tuple[int, str]]:
        rows = shell.json("projects", "limits", project, *words)
        return {row["limit"]: (row["value"], row["from"]) for row in rows}

    assert limits()["active_series"] == (150_000, "configuration")
    changed = limits("--set", "active_series=5", "--set", "samples_burst=0")
    assert changed["active_series"] == (5, "project")
    assert changed["samples_burst"] == (0, "project")
    assert limits("--set", "active_series=default")["active_series"] == (150_000, "configuration")
    for wrong in ("active_series", "active_series=-1", "active_series=many", "other=1"):
        assert "allowed" in shell.fails("projects", "limits", project, "--set", wrong) or (
            "there are" in shell.fails("projects", "limits", project, "--set", wrong)
        )
    assert "there is no project" in shell.fails("projects", "limits", "aaaaaaaa")


def test_retention_of_a_project(shell: Shell) -> None:
    project = shell.json("projects", "create", "shop")["projectId"]
    words = ("projects", "retention", project)
    assert shell.json(*words) == []
    assert shell.json(*words, "--time", "30d") == [{"job": None, "time": "4w2d", "bytes": None}]
    web = {"job": "web", "time": "1d", "bytes": 10 << 30}
    assert shell.json(*words, "--job", "web", "--time", "1d", "--size", "10GiB")[1] == web
    assert shell.json(*words, "--time", "default") == [web]
    assert "1d or more" in shell.fails(*words, "--time", "1h")
    assert "--size" in shell.fails(*words, "--size", "many")
