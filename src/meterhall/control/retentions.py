"""How long projects and workspaces keep their samples where a rule of their own says so, and which projects are gone.

Implements `ports.retention.RetentionSource` out of memory; the `access` topic tells when to load anew. A rule of a
workspace goes by its name: it holds in every region, and for what was pushed with that `job`.
"""

from collections.abc import Collection, Mapping
from itertools import product

from sqlalchemy import Connection, delete, insert, select

from meterhall.control import tables
from meterhall.control.changes import ChangeWatcher
from meterhall.control.context import Context
from meterhall.control.locks import hold_project
from meterhall.model.errors import BadInput
from meterhall.model.retention import ProjectRetention, Retention
from meterhall.ports.retention import Whose

_RULES = tables.retentions
_GONE = tables.deleted_projects
OWN = ""
_DAY_MS = 86_400_000
_JOB_CHARS_MAX = 64
# Collections and pushes in hand when a project is deleted have ended by then.
_GRACE_MS = 10_000


class Retentions:
    """Thread-safe."""

    def __init__(self, context: Context, watcher: ChangeWatcher) -> None:
        self._context = context
        self._rules: Mapping[Whose, ProjectRetention] = {}
        self._deleted_ms: Mapping[str, int] = {}
        watcher.listen(tables.ACCESS_TOPIC, self.refresh)
        self.refresh()

    def retentions(self) -> Mapping[Whose, ProjectRetention]:
        """By region and project, of those that have a rule."""
        return self._rules

    def departed(self) -> Collection[Whose]:
        """Deleted projects, in every region, some seconds after nobody can write as them any more."""
        before_ms = self._context.clock.now_ms() - _GRACE_MS
        gone = [project for project, at_ms in self._deleted_ms.items() if at_ms <= before_ms]
        return list(product(self._context.settings.regions, gone))

    def of_project(self, project_id: str) -> dict[str, Retention]:
        """The rules of a project by workspace, its own under OWN. Raises ControlError."""

        def work(connection: Connection) -> dict[str, Retention]:
            hold_project(connection, project_id)
            rows = connection.execute(select(_RULES).where(_RULES.c.project_id == project_id))
            return {row.job: Retention(row.time_ms, row.bytes) for row in rows}

        return self._context.database.write(work, topics=())

    def change(self, project_id: str, job: str, rule: Retention) -> None:
        """Sets the rule of a workspace, or with OWN the project's; an empty rule takes it away.

        Raises ControlError where there is no such project, BadInput on a wrong rule.
        """
        if rule.time_ms and rule.time_ms < _DAY_MS:
            raise BadInput("a retention by time is 1d or more")
        if min(rule.time_ms, rule.bytes) < 0 or len(job) > _JOB_CHARS_MAX:
            raise BadInput("not a retention")

        def work(connection: Connection) -> None:
            hold_project(connection, project_id)
            same = (_RULES.c.project_id == project_id) & (_RULES.c.job == job)
            connection.execute(delete(_RULES).where(same))
            if rule != Retention():
                row = insert(_RULES).values(
                    project_id=project_id, job=job, time_ms=rule.time_ms, bytes=rule.bytes
                )
                connection.execute(row)

        self._context.change_access(work)

    def refresh(self) -> None:
        """Loads everything."""
        own: dict[str, Retention] = {}
        jobs: dict[str, dict[str, Retention]] = {}
        with self._context.database.read() as connection:
            for row in connection.execute(select(_RULES)):
                of_jobs = jobs.setdefault(row.project_id, {})
                rule = Retention(row.time_ms, row.bytes)
                if row.job == OWN:
                    own[row.project_id] = rule
                else:
                    of_jobs[row.job] = rule
            gone = {row.id: row.deleted_ms for row in connection.execute(select(_GONE))}
        self._deleted_ms = gone
        self._rules = {
            (region, project): ProjectRetention(own.get(project, Retention()), of_jobs)
            for region in self._context.settings.regions
            for project, of_jobs in jobs.items()
        }
