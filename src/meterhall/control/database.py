"""One database, SQLite or PostgreSQL, behind two verbs: `read` and `write`.

A write is a function over a connection that runs in one transaction and makes all its checks there. It
serialises against the other writers that matter to it: on PostgreSQL by the rows that it locks
(`with_for_update`), on SQLite because every write begins with BEGIN IMMEDIATE, which only one
connection can hold. As its last act a transaction raises the counters of the topics it changed; other
processes poll them, and this process' listeners are told before `write` returns.

A fresh database is made from `tables` and stamped, which takes milliseconds; Alembic, which takes a
third of a second to import, is loaded only where an older schema must be brought forward.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from meterhall.control import tables
from meterhall.model.errors import ConfigError

Result = TypeVar("Result")
Listener = Callable[[], None]

_SQLITE_BUSY_MS = 15_000
_POSTGRES_LOCK_MS = 15_000
_CONNECTIONS_MAX = 8
# Deadlocks and serialisation failures: the same transaction, run again, is right.
_RETRIED_SQLSTATES = frozenset(("40001", "40P01"))
_ATTEMPTS_MAX = 5
# Any number that no other program uses in this database.
_POSTGRES_UPGRADE_LOCK = 0x6D657465


class Database:
    """An engine with the two verbs. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Execution options reach the `begin` event below, which starts reads without the write lock.
        self._reader = engine.execution_options(meterhall_read=True)
        self._listeners: dict[str, list[Listener]] = {topic: [] for topic in tables.TOPICS}
        self._lock = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction that sees one state of a SQLite database."""
        with self._reader.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], Result], *, topics: Sequence[str]) -> Result:
        """Runs `work` in one transaction, raises the topics' counters, commits, tells the listeners.

        Whatever `work` raises rolls everything back. It may run more than once.
        """
        result = self._retried(work, topics)
        for topic in topics:
            for listener in self._listening(topic):
                listener()
        return result

    def counters(self) -> dict[str, int]:
        """How often each topic has changed; a few dozen microseconds."""
        with self.read() as connection:
            rows = connection.execute(select(tables.changes.c.topic, tables.changes.c.counter))
            return {row.topic: row.counter for row in rows}

    def listen(self, topic: str, listener: Listener) -> None:
        """Calls `listener` after each own commit that changes the topic, in the committing thread."""
        with self._lock:
            self._listeners[topic].append(listener)

    def close(self) -> None:
        """Closes every pooled connection."""
        self.engine.dispose()

    def _retried(self, work: Callable[[Connection], Result], topics: Sequence[str]) -> Result:
        for _ in range(_ATTEMPTS_MAX - 1):
            try:
                return self._attempt(work, topics)
            except DBAPIError as error:
                if not _is_passing(error):
                    raise
        return self._attempt(work, topics)

    def _attempt(self, work: Callable[[Connection], Result], topics: Sequence[str]) -> Result:
        with self.engine.begin() as connection:
            result = work(connection)
            # In one order and last of all, so that no two transactions wait for each other here.
            for topic in sorted(topics):
                connection.execute(
                    update(tables.changes)
                    .where(tables.changes.c.topic == topic)
                    .values(counter=tables.changes.c.counter + 1)
                )
            return result

    def _listening(self, topic: str) -> list[Listener]:
        with self._lock:
            return list(self._listeners[topic])


def open_database(url: str) -> Database:
    """Opens `sqlite:///FILE` or `postgresql+psycopg://…`. Raises ConfigError on any other URL.

    Error texts never hold the URL, which may hold a password.
    """
    parsed = _checked_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, pool_size=_CONNECTIONS_MAX, hide_parameters=True)
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
        return Database(engine)
    engine = create_engine(
        parsed,
        pool_size=_CONNECTIONS_MAX,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "options": f"-c lock_timeout={_POSTGRES_LOCK_MS}"},
    )
    return Database(engine)


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def upgrade(database: Database) -> str:
    """Makes or brings forward the schema and returns the revision that was found ("" where fresh).

    Safe when several processes start at once. Raises ConfigError where the database is newer than this
    program.
    """
    found = _revision(database)
    if found != tables.REVISION:
        with database.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:number)"),
                    {"number": _POSTGRES_UPGRADE_LOCK},
                )
            found = _revision_of(connection)
            if not found:
                _make(connection)
            elif found != tables.REVISION:
                _migrate(connection)
    return found


def _checked_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("database.url: not a database URL") from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigError(
            f"database.url: {parsed.drivername}: allowed are sqlite and postgresql+psycopg"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("database.url: a SQLite database needs a file")
    return parsed


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is switched off, so that ours is the only one.
    connection.isolation_level = None
    for pragma in (
        # First, for switching to WAL waits for other connections.
        f"busy_timeout={_SQLITE_BUSY_MS}",
        "journal_mode=WAL",
        "foreign_keys=ON",
        # WAL with FULL fsyncs each commit: what was answered is on disk.
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_sqlite_begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("meterhall_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _is_passing(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    return isinstance(error, OperationalError) and sqlstate in _RETRIED_SQLSTATES


def _revision(database: Database) -> str:
    with database.read() as connection:
        return _revision_of(connection)


def _revision_of(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def _make(connection: Connection) -> None:
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(
        tables.changes.insert(), [{"topic": topic, "counter": 0} for topic in tables.TOPICS]
    )
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
    connection.execute(
        text("INSERT INTO alembic_version (version_num) VALUES (:revision)"),
        {"revision": tables.REVISION},
    )


def _migrate(connection: Connection) -> None:
    # Alembic takes a third of a second to import; most starts do not need it.
    from meterhall.control.migrations import run  # noqa: PLC0415

    run.forward(connection, tables.REVISION)
