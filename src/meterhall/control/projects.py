"""Projects: the tenants. A project is made with its first appkey, and its deletion takes all with it."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from meterhall.control import fields, keys, tables
from meterhall.control.context import Context
from meterhall.control.locks import hold_project

_PROJECTS = tables.projects
_FIRST_KEY = keys.KeyDraft(name="default")


@dataclass(frozen=True, slots=True)
class Project:
    """One project."""

    project_id: str
    name: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class NewProject:
    """A project with the only sight of its first key."""

    project: Project
    key: keys.NewKey


class Projects:
    """Use cases of projects, each one transaction."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(self, name: str) -> NewProject:
        """Names need not differ: the id is the identity."""
        return self._context.change_access(lambda connection: add(connection, self._context, name))

    def list(self) -> list[Project]:
        """All, by creation."""
        with self._context.database.read() as connection:
            rows = connection.execute(select(_PROJECTS).order_by(_PROJECTS.c.seq))
            return [Project(row.id, row.name, row.created_ms) for row in rows]

    def delete(self, project_id: str) -> None:
        """Deletes its keys, hosts, workspaces and targets too. The store drops its samples some seconds later."""

        def work(connection: Connection) -> None:
            hold_project(connection, project_id)
            connection.execute(delete(_PROJECTS).where(_PROJECTS.c.id == project_id))
            gone = {"id": project_id, "deleted_ms": self._context.clock.now_ms()}
            connection.execute(insert(tables.deleted_projects).values(gone))

        self._context.change_all(work)


def add(connection: Connection, context: Context, name: str) -> NewProject:
    """Inserts a project and its first key."""
    project_id = context.identifiers.project_id()
    while _is_taken(connection, project_id):
        project_id = context.identifiers.project_id()
    project = Project(project_id, fields.name("project name", name), context.clock.now_ms())
    connection.execute(
        insert(_PROJECTS).values(
            id=project.project_id, name=project.name, created_ms=project.created_ms
        )
    )
    return NewProject(project, keys.add(connection, context, project_id, _FIRST_KEY))


def _is_taken(connection: Connection, project_id: str) -> bool:
    """Whether there is, or ever was, such a project: a new one must not see an old one's samples."""
    ids = (_PROJECTS.c.id, tables.deleted_projects.c.id)
    return any(connection.execute(select(each).where(each == project_id)).first() for each in ids)
