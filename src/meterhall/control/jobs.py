"""Jobs: workspaces, as the console calls them. A job owns its collection targets.

A name that begins with `@` belongs to a job that the system made; those carry a `reserved_code` and
refuse every change with SYSTEM_RESERVED_JOB.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from meterhall.control import fields, tables
from meterhall.control.context import Context
from meterhall.control.identifiers import is_uuid
from meterhall.control.locks import hold_project
from meterhall.model.errors import ControlError

_JOBS = tables.jobs


@dataclass(frozen=True, slots=True)
class JobRef:
    """A job as a caller names it. `region`, where the caller sent one, must be the job's own."""

    project_id: str
    job_id: str
    region: str | None = None


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job to create. `modifier` is the console user's UUID, None where an appkey did it."""

    region: str
    name: str
    metrics_path: str
    description: str | None = None
    modifier: str | None = None


@dataclass(frozen=True, slots=True)
class JobChange:
    """A PUT. `name`, where given, must be the job's own; the description stays unless `describes`."""

    metrics_path: str
    name: str | None = None
    description: str | None = None
    describes: bool = False
    modifier: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job."""

    job_id: str
    project_id: str
    region: str
    name: str
    metrics_path: str
    description: str | None
    interval_ms: int | None
    reserved_code: str | None
    modifier: str | None
    modified_ms: int


class Jobs:
    """Use cases of jobs, each one transaction. All raise ControlError."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, project_id: str, region: str) -> list[Job]:
        """Jobs of a project in a region: the reserved ones first, then by creation."""
        query = (
            select(_JOBS)
            .where(_JOBS.c.project_id == project_id, _JOBS.c.region == region)
            .order_by(_JOBS.c.reserved_code.is_(None), _JOBS.c.seq)
        )
        with self._context.database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def get(self, ref: JobRef) -> Job:
        """One job."""
        with self._context.database.read() as connection:
            return find(connection, ref)

    def create(self, project_id: str, draft: JobDraft) -> Job:
        """A user's job. ALREADY_EXIST where the project has one of that name in the region."""
        fields.job_name(draft.name)

        def work(connection: Connection) -> Job:
            hold_project(connection, project_id)
            return add(connection, self._context, project_id, draft)

        try:
            return self._context.change_inventory(work)
        except IntegrityError:
            # The held row makes this unreachable; the constraint is the guard should that ever fail.
            raise _already_exists(draft) from None

    def change(self, ref: JobRef, change: JobChange) -> Job:
        """Sets path and description."""
        values = {
            "metrics_path": fields.metrics_path(change.metrics_path),
            "modifier": change.modifier,
            "modified_ms": self._context.clock.now_ms(),
        }
        if change.describes:
            values["description"] = fields.description(change.description)

        def work(connection: Connection) -> Job:
            job = hold_own(connection, ref)
            if change.name is not None and change.name != job.name:
                raise fields.bad_input(
                    f"jobName cannot be changed: it is {fields.shown(job.name)}, "
                    f"not {fields.shown(change.name)}"
                )
            connection.execute(update(_JOBS).where(_JOBS.c.id == job.job_id).values(values))
            return find(connection, ref)

        return self._context.change_inventory(work)

    def set_interval(self, ref: JobRef, interval_ms: int | None) -> None:
        """How often the job's targets are collected; None leaves it to the server."""
        fields.interval_ms(interval_ms)

        def work(connection: Connection) -> None:
            job = find(connection, ref)
            connection.execute(
                update(_JOBS).where(_JOBS.c.id == job.job_id).values(interval_ms=interval_ms)
            )

        self._context.change_inventory(work)

    def delete(self, ref: JobRef) -> None:
        """Deletes the job and its targets. Stored samples stay until their retention ends."""

        def work(connection: Connection) -> None:
            job = hold_own(connection, ref)
            connection.execute(delete(_JOBS).where(_JOBS.c.id == job.job_id))

        self._context.change_inventory(work)


def add(
    connection: Connection,
    context: Context,
    project_id: str,
    draft: JobDraft,
    reserved_code: Literal["LINUX", "WINDOWS"] | None = None,
) -> Job:
    """Inserts a job of a project whose row is held."""
    if draft.region not in context.settings.regions:
        raise fields.bad_input(f"region {fields.shown(draft.region)} is not one of this server's")
    metrics_path = fields.metrics_path(draft.metrics_path)
    description = fields.description(draft.description)
    same_name = select(_JOBS.c.seq).where(
        _JOBS.c.project_id == project_id,
        _JOBS.c.region == draft.region,
        _JOBS.c.name == draft.name,
    )
    if connection.execute(same_name).first() is not None:
        raise _already_exists(draft)
    job_id = context.identifiers.uuid()
    connection.execute(
        insert(_JOBS).values(
            id=job_id,
            project_id=project_id,
            region=draft.region,
            name=draft.name,
            metrics_path=metrics_path,
            description=description,
            reserved_code=reserved_code,
            modifier=draft.modifier,
            modified_ms=context.clock.now_ms(),
        )
    )
    return find(connection, JobRef(project_id, job_id))


def find(connection: Connection, ref: JobRef, *, hold: bool = False) -> Job:
    """The job, held where asked. One of another project is missing like one that never was."""
    row = None
    if is_uuid(ref.job_id):
        query = select(_JOBS).where(_JOBS.c.id == ref.job_id, _JOBS.c.project_id == ref.project_id)
        row = connection.execute(query.with_for_update() if hold else query).first()
    if row is None:
        raise ControlError("NOT_FOUND_JOB", f"there is no workspace {fields.shown(ref.job_id)}")
    if ref.region not in (None, row.region):
        raise fields.bad_input(
            f"the region {fields.shown(ref.region)} contradicts the workspace's, {row.region!r}"
        )
    return _job(row)


def hold_own(connection: Connection, ref: JobRef) -> Job:
    """The user's own job, held until the transaction ends; a reserved one is refused."""
    job = find(connection, ref, hold=True)
    if job.reserved_code is not None:
        raise ControlError(
            "SYSTEM_RESERVED_JOB", f"the workspace {job.name!r} belongs to the system"
        )
    return job


def _job(row: Row[*tuple[Any, ...]]) -> Job:
    return Job(
        row.id,
        row.project_id,
        row.region,
        row.name,
        row.metrics_path,
        row.description,
        row.interval_ms,
        row.reserved_code,
        row.modifier,
        row.modified_ms,
    )


def _already_exists(draft: JobDraft) -> ControlError:
    return ControlError(
        "ALREADY_EXIST", f"a workspace {draft.name!r} exists in region {draft.region!r}"
    )
