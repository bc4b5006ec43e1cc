"""Rows that a transaction holds while it checks and inserts below them.

On PostgreSQL `SELECT … FOR UPDATE` makes two such transactions wait for each other; on SQLite the clause
is left out, for every write holds the one write lock already. Locks are taken from the top down
(project, then job, then host), so that no two transactions wait in a circle.
"""

from sqlalchemy import Connection, Table, select
from sqlalchemy.sql import ColumnElement

from meterhall.control import fields, tables
from meterhall.control.identifiers import is_code
from meterhall.model.errors import ControlError


def hold_project(connection: Connection, project_id: str) -> None:
    """Raises ControlError INVALID_HOST_OR_PROJECT where there is no such project."""
    same = tables.projects.c.id == project_id
    if not is_code(project_id) or not hold(connection, tables.projects, same):
        detail = f"there is no project {fields.shown(project_id)}"
        raise ControlError("INVALID_HOST_OR_PROJECT", detail)


def hold(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> bool:
    """Whether a row meets the conditions; if so it is held until the transaction ends."""
    query = select(table.c.seq).where(*conditions).with_for_update()
    return connection.execute(query).first() is not None
