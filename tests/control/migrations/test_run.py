"""The steps of `migrations/` and the tables of `tables.py` make the same schema."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from meterhall.control import tables
from meterhall.control.database import open_database, upgrade
from meterhall.control.migrations import run


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = open_database(database_url)
    with database.engine.begin() as opened:
        yield opened
    database.close()


def test_the_newest_step_is_the_one_that_fresh_databases_are_stamped_with() -> None:
    assert run.newest() == tables.REVISION


def test_the_steps_make_the_declared_tables(connection: Connection) -> None:
    run.forward(connection, tables.REVISION)
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, tables.metadata) == []
    assert context.get_current_revision() == tables.REVISION
    rows = connection.execute(text("SELECT topic, counter FROM changes ORDER BY topic")).all()
    assert [tuple(row) for row in rows] == [(topic, 0) for topic in sorted(tables.TOPICS)]


def test_the_steps_and_the_short_way_make_the_same_constraints(
    connection: Connection, database_url: str
) -> None:
    """compare_metadata looks at neither checks nor names; the catalogues have them."""
    tables.metadata.create_all(connection, checkfirst=False)
    made = _catalogue(connection)
    tables.metadata.drop_all(connection)
    run.forward(connection, tables.REVISION)
    assert _catalogue(connection) == made


def test_a_migrated_database_is_current(database_url: str) -> None:
    database = open_database(database_url)
    with database.engine.begin() as connection:
        run.forward(connection, tables.REVISION)
    assert upgrade(database) == tables.REVISION
    database.close()


def _catalogue(connection: Connection) -> list[tuple[object, ...]]:
    if connection.dialect.name == "postgresql":
        query = (
            "SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> "
            "'alembic_version' ORDER BY 1"
        )
        return [tuple(row) for row in connection.execute(text(query))]
    query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'"
    rows = connection.execute(text(query)).all()
    # Columns and constraints may be spelled in another order.
    return sorted(
        (name, table, *sorted(part.strip(" \t,)") for part in (sql or "").splitlines()))
        for name, table, sql in rows
    )
