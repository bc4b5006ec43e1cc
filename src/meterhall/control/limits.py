"""Limits of projects: the configured ones, and what an operator has set for one project instead.

Implements `ports.limits.LimitSource` out of memory; the `access` topic tells when to load anew.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from sqlalchemy import Connection, delete, insert, select

from meterhall.control import tables
from meterhall.control.changes import ChangeWatcher
from meterhall.control.context import Context
from meterhall.control.locks import hold_project
from meterhall.model.errors import BadInput
from meterhall.model.limits import ProjectLimits
from meterhall.model.tenant import Tenant

_LIMITS = tables.limits
NAMES = tuple(field.name for field in fields(ProjectLimits))
_VALUE_MAX = 2**62


class Limits:
    """Thread-safe."""

    def __init__(self, context: Context, watcher: ChangeWatcher) -> None:
        self._context = context
        self._by_project: Mapping[str, ProjectLimits] = {}
        watcher.listen(tables.ACCESS_TOPIC, self.refresh)
        self.refresh()

    def limits(self, tenant: Tenant) -> ProjectLimits:
        """The ceilings of the tenant's project."""
        return self._by_project.get(tenant.project, self._context.settings.limits)

    def of_project(self, project_id: str) -> dict[str, tuple[int, bool]]:
        """Each limit by name, and whether it is the project's own. Raises ControlError."""

        def work(connection: Connection) -> dict[str, int]:
            hold_project(connection, project_id)
            rows = connection.execute(select(_LIMITS).where(_LIMITS.c.project_id == project_id))
            return {row.name: row.value for row in rows}

        own = self._context.database.write(work, topics=())
        common = asdict(self._context.settings.limits)
        return {name: (own.get(name, common[name]), name in own) for name in NAMES}

    def change(self, project_id: str, values: Mapping[str, int | None]) -> None:
        """Sets limits of one project; None gives it the configured one again, 0 none at all.

        Raises ControlError where there is no such project, BadInput on a wrong name or value.
        """
        for name, value in values.items():
            if name not in NAMES:
                raise BadInput(f"unknown limit {name!r}; there are {', '.join(NAMES)}")
            if value is not None and not 0 <= value <= _VALUE_MAX:
                raise BadInput(f"{name}: allowed is a whole number from 0, where 0 is no limit")

        def work(connection: Connection) -> None:
            hold_project(connection, project_id)
            for name, value in values.items():
                same = (_LIMITS.c.project_id == project_id) & (_LIMITS.c.name == name)
                connection.execute(delete(_LIMITS).where(same))
                if value is not None:
                    row = {"project_id": project_id, "name": name, "value": value}
                    connection.execute(insert(_LIMITS).values(row))

        self._context.change_access(work)

    def refresh(self) -> None:
        """Loads what projects have of their own."""
        own: dict[str, dict[str, int]] = {}
        with self._context.database.read() as connection:
            for row in connection.execute(select(_LIMITS)):
                # A name that only another version knows changes nothing here.
                if row.name in NAMES:
                    own.setdefault(row.project_id, {})[row.name] = row.value
        common = self._context.settings.limits
        self._by_project = {project: replace(common, **values) for project, values in own.items()}
