"""Opening, schema, transactions."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError

from meterhall.control import tables
from meterhall.control.database import Database, open_database, sqlite_url, upgrade
from meterhall.model.errors import ConfigError


@pytest.fixture
def database(database_url: str):
    opened = open_database(database_url)
    upgrade(opened)
    yield opened
    opened.close()


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(text("SELECT count(*) FROM projects")).scalar_one()


def insert_project(connection: Connection, number: int) -> None:
    connection.execute(tables.projects.insert().values(id=f"p{number}", name="shop", created_ms=1))


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "oracle://secret@x",
     "postgresql+asyncpg://x"],
)  # fmt: skip
def test_other_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^database\.url: ") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_odd_file_names_are_files(tmp_path: Path) -> None:
    file = tmp_path / "a b?c=d&#%20.db"
    database = open_database(sqlite_url(file))
    assert upgrade(database) == ""
    database.close()
    assert file.is_file()


def test_upgrade_says_what_it_found(database_url: str) -> None:
    database = open_database(database_url)
    assert upgrade(database) == ""
    assert upgrade(database) == tables.REVISION
    database.close()


def test_many_may_start_at_once(database_url: str) -> None:
    databases = [open_database(database_url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = sorted(pool.map(upgrade, databases))
    for database in databases:
        database.close()
    assert found == ["", *[tables.REVISION] * 5]


def test_a_newer_schema_stops_the_start(database: Database) -> None:
    database.write(
        lambda connection: connection.execute(
            text("UPDATE alembic_version SET version_num = '9999'")
        ),
        topics=(),
    )
    with pytest.raises(ConfigError, match="newer version"):
        upgrade(database)


def test_a_start_on_a_current_schema_does_not_import_alembic(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from meterhall.control.database import open_database, upgrade\n"
        "database = open_database(sys.argv[1])\n"
        "upgrade(database)\n"
        "upgrade(database)\n"
        "assert 'alembic' not in sys.modules\n"
    )
    url = sqlite_url(tmp_path / "control.db")
    subprocess.run([sys.executable, "-c", program, url], check=True, timeout=60)


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    before = database.counters()

    def work(connection: Connection) -> None:
        insert_project(connection, 1)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        database.write(work, topics=tables.TOPICS)
    assert count(database) == 0
    assert database.counters() == before


def test_counters_rise_and_listeners_hear_after_the_commit(database: Database) -> None:
    heard: list[int] = []
    database.listen("access", lambda: heard.append(count(database)))
    before = database.counters()
    database.write(lambda connection: insert_project(connection, 1), topics=("access",))
    database.write(lambda connection: insert_project(connection, 2), topics=("inventory",))
    assert heard == [1]
    assert database.counters() == {topic: before[topic] + 1 for topic in tables.TOPICS}


# SQLite has one write lock, so nothing can wait in a circle there.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_deadlock_is_run_again(database: Database) -> None:
    """Two transactions that lock in opposite order both end well."""
    database.write(lambda connection: insert_project(connection, 1), topics=())
    database.write(lambda connection: insert_project(connection, 2), topics=())
    both_hold_one = threading.Barrier(2, timeout=30)
    first_try = threading.local()

    def lock_both(order: tuple[str, str]) -> None:
        def work(connection: Connection) -> None:
            statement = text("UPDATE projects SET name = name WHERE id = :id")
            connection.execute(statement, {"id": order[0]})
            if not hasattr(first_try, "done"):
                first_try.done = True
                both_hold_one.wait()
            connection.execute(statement, {"id": order[1]})

        database.write(work, topics=())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lock_both, [("p1", "p2"), ("p2", "p1")]))


def test_other_failures_are_not_run_again(database: Database) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))

    with pytest.raises(OperationalError):
        database.write(work, topics=())
    assert tries == [1]


def test_sqlite_is_durable_and_checks_references(tmp_path: Path) -> None:
    database = open_database(sqlite_url(tmp_path / "control.db"))
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    database.close()
    assert pragmas == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 2,
        "busy_timeout": 15_000,
    }


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Ids are printed once their commit has returned; after kill -9 each of them is there."""
    program = (
        "import sys\n"
        "from meterhall.app.clock import SystemClock\n"
        "from meterhall.control.plane import open_control_plane\n"
        "from meterhall.control.settings import ControlSettings\n"
        "control = open_control_plane(sys.argv[1], ControlSettings(), SystemClock())\n"
        "while True:\n"
        "    print(control.projects.create('shop').project.project_id, flush=True)\n"
    )
    url = sqlite_url(tmp_path / "control.db")
    child = subprocess.Popen(
        [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = {child.stdout.readline().strip() for _ in range(20)}
    child.kill()
    acknowledged |= {line.strip() for line in child.stdout if line.endswith("\n")}
    child.stdout.close()
    child.wait()
    database = open_database(url)
    with database.read() as connection:
        stored = set(connection.execute(text("SELECT id FROM projects")).scalars())
    database.close()
    assert len(acknowledged) >= 20
    assert acknowledged <= stored


def test_every_table_is_there(database: Database) -> None:
    with database.read() as connection:
        names = set(inspect(connection).get_table_names())
    assert names == {*tables.metadata.tables, "alembic_version"}
