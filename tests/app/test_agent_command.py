"""`meterhall agent run` as a process: what it loads, what it costs to ask, and how it refuses."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from tests.collect.exporters import free_port

from meterhall.app.cli import main

FORBIDDEN = ("numpy", "fastapi", "starlette", "uvicorn", "sqlalchemy", "pydantic", "alembic")


def command(tmp_path, *arguments):
    where = ["--spool", str(tmp_path / "agent"), "--no-metadata"]
    return [sys.executable, "-m", "meterhall", "agent", "run", *where, *arguments]


def run(tmp_path, *arguments):
    """The finished command."""
    return subprocess.run(
        command(tmp_path, *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_loads_nothing_of_the_service_but_its_collection(tmp_path):
    script = (
        "import sys, meterhall.app.agent_command, meterhall.agent.agent, meterhall.tsdb.disk\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "meterhall.agent.agent" in loaded
    heavy = [name for name in loaded if name.partition(".")[0] in FORBIDDEN]
    heavy += [name for name in loaded if name.startswith(("meterhall.query", "meterhall.control"))]
    assert not heavy


REFUSALS = [
    ([], {}, "--server"),
    (["--server", "http://service.example"], {}, "use https, or --allow-plain-http"),
    (["--server", "nonsense"], {}, "is not http(s)"),
    (["--server", "http://127.0.0.1:1", "--spool-size", "much"], {}, "allowed: a size"),
    (["--server", "http://127.0.0.1:1", "--spool-age", "long"], {}, "allowed: a duration"),
    (["--server", "http://127.0.0.1:1", "--key-file", "/nowhere"], {}, "does not exist"),
    ([], {"METERHALL_AGENT_SERVER": "ftp://x"}, "is not http(s)"),
]


@pytest.mark.parametrize(("arguments", "environment", "text"), REFUSALS)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path, arguments, environment, text):
    where = ["agent", "run", "--spool", str(tmp_path / "agent"), "--no-metadata"]
    done = CliRunner().invoke(main, [*where, *arguments], env=environment)
    assert done.exit_code in (1, 2), done
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "agent").exists()


def test_a_host_that_is_not_enrolled_needs_a_key(tmp_path):
    done = run(tmp_path, "--server", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "--key or --key-file is needed once" in done.stderr


def test_a_directory_has_one_agent(tmp_path):
    (tmp_path / "key").write_text("a-key\n")
    arguments = ["--server", f"http://127.0.0.1:{free_port()}", "--key-file", str(tmp_path / "key")]
    first = subprocess.Popen(command(tmp_path, *arguments), stderr=subprocess.PIPE, text=True)
    try:
        # It says so once it holds the directory and found nobody to enrol with.
        assert "cannot be asked to enrol" in first.stderr.readline()
        done = run(tmp_path, *arguments)
        assert done.returncode == 1
        assert f"in use by process {first.pid}" in done.stderr
    finally:
        first.terminate()
        assert first.wait(15) == 0
        first.stderr.close()
