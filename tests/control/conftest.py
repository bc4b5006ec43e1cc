"""Every control test runs twice: on a SQLite file, and on a PostgreSQL cluster that the session starts."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from meterhall.control.database import sqlite_url
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings


class SetClock:
    """A clock that tests set by hand."""

    def __init__(self, now_ms: int = 1_629_196_329_000) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


def _postgres_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.fail("these tests need Debian's package postgresql: apt-get install postgresql")
    return found[-1].parent


def _postgres_user() -> str:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return pwd.getpwuid(os.getuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty cluster of our own, on a Unix socket."""
    programs, user = _postgres_bin(), _postgres_user()
    folder = Path(tempfile.mkdtemp(prefix="meterhall-pg-"))
    as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid} if os.getuid() == 0 else {}
    if as_user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60, **as_user
        )

    data = str(folder / "data")
    run(str(programs / "initdb"), "-D", data, "-U", "meterhall", "--auth=trust", "-N")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    log = str(folder / "log")
    run(str(programs / "pg_ctl"), "-D", data, "-l", log, "-w", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://meterhall@/postgres?host={folder}"
    finally:
        run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "control.db")
    url = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def open_control(database_url: str, clock: SetClock) -> Iterator[Callable[..., Control]]:
    """Opens a Control on the test's database, as often as there are processes to play."""
    opened: list[Control] = []

    def open_one(**settings: object) -> Control:
        merged = {"regions": ("kr", "jp"), "poll_ms": 20, **settings}
        opened.append(open_control_plane(database_url, ControlSettings(**merged), clock))
        return opened[-1]

    yield open_one
    for control in opened:
        control.close()


@pytest.fixture
def control(open_control: Callable[..., Control]) -> Control:
    return open_control()
