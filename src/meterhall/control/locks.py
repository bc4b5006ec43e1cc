"""Rows that a transaction holds while it checks and inserts below them.

On PostgreSQL `SELECT … FOR UPDATE` makes two such transactions wait for each other; on SQLite the clause
is left out, for every write holds the one write lock already. Locks are taken from the top down
(project, then job, then host), so that no two transactions wait in a circle.
"""

from typing import Any

from sqlalchemy import Connection, Row, Table, select
from sqlalchemy.sql import ColumnElement

from meterhall.control import fields, tables
from meterhall.model.errors import ControlError


def hold_project(connection: Connection, project_id: str) -> None:
    """Raises ControlError INVALID_HOST_OR_PROJECT where there is no such project."""
    if (
        "\0" in project_id
        or hold(connection, tables.projects, tables.projects.c.id == project_id) is None
    ):
        raise no_project(project_id)


def hold(
    connection: Connection, table: Table, *conditions: ColumnElement[bool]
) -> Row[*tuple[Any, ...]] | None:
    """The one row that meets the conditions, held until the transaction ends."""
    return connection.execute(select(table).where(*conditions).with_for_update()).first()


def no_project(project_id: str) -> ControlError:
    """What is said of a project that does not exist."""
    detail = f"there is no project {fields.shown(project_id)}"
    return ControlError("INVALID_HOST_OR_PROJECT", detail)
