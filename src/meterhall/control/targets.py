"""Collection targets: a port of a host, collected under the path of the workspace that owns it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from meterhall.control import fields, jobs, tables
from meterhall.control.context import Context
from meterhall.control.identifiers import is_uuid
from meterhall.control.locks import hold
from meterhall.model.errors import ControlError
from meterhall.model.target import RESULT_OK

_TARGETS = tables.targets
_HOSTS = tables.hosts
_JOBS = tables.jobs


@dataclass(frozen=True, slots=True)
class Target:
    """One target with its host's name and address and the last report about it."""

    target_id: str
    job_id: str
    host_id: str
    port: int
    result_code: int
    fail_reason: str | None
    status: str | None
    modifier: str | None
    modified_ms: int
    region: str
    host_name: str
    address: str


@dataclass(frozen=True, slots=True)
class TargetDraft:
    """A target to create. `modifier` is the console user's UUID, None where an appkey did it."""

    host_id: str
    port: int
    modifier: str | None = None
    builtin: bool = False


class Targets:
    """Use cases of targets, each one transaction. All raise ControlError."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, ref: jobs.JobRef) -> list[Target]:
        """A job's targets, by creation."""
        with self._context.database.read() as connection:
            job = jobs.find(connection, ref)
            rows = connection.execute(_with_host(job).order_by(_TARGETS.c.seq))
            return [_target(row, job) for row in rows]

    def get(self, ref: jobs.JobRef, target_id: str) -> Target:
        """One target."""
        with self._context.database.read() as connection:
            return _find(connection, jobs.find(connection, ref), target_id)

    def create(self, ref: jobs.JobRef, draft: TargetDraft) -> Target:
        """INVALID_HOST_OR_PROJECT, ALREADY_EXIST or LIMIT_EXCEEDED where the host does not fit."""
        fields.port(draft.port)

        def work(connection: Connection) -> Target:
            job = jobs.hold_own(connection, ref)
            self._check(connection, job, draft)
            return add(connection, self._context, job, draft)

        try:
            return self._context.change_inventory(work)
        except IntegrityError:
            # The held rows make this unreachable; the constraint is the guard should that ever fail.
            raise _already_exists(draft) from None

    def delete(self, ref: jobs.JobRef, target_id: str) -> None:
        """Deletes one target."""

        def work(connection: Connection) -> None:
            target = _find(connection, jobs.hold_own(connection, ref), target_id)
            connection.execute(delete(_TARGETS).where(_TARGETS.c.id == target.target_id))

        self._context.change_inventory(work)

    def _check(self, connection: Connection, job: jobs.Job, draft: TargetDraft) -> None:
        """Holds the host's row: count and insert are one step for every other creator."""
        _hold_host(connection, job, draft.host_id)
        same = select(_TARGETS.c.seq).where(
            _TARGETS.c.job_id == job.job_id,
            _TARGETS.c.host_id == draft.host_id,
            _TARGETS.c.port == draft.port,
        )
        if connection.execute(same).first() is not None:
            raise _already_exists(draft)
        taken = (
            select(func.count())
            .select_from(_TARGETS.join(_JOBS, _TARGETS.c.job_id == _JOBS.c.id))
            .where(_TARGETS.c.host_id == draft.host_id, _JOBS.c.reserved_code.is_(None))
        )
        limit = self._context.settings.targets_per_host_max
        if connection.execute(taken).scalar_one() >= limit:
            raise ControlError("LIMIT_EXCEEDED", f"the host has {limit} targets, the most allowed")


def add(connection: Connection, context: Context, job: jobs.Job, draft: TargetDraft) -> Target:
    """Inserts a target that has been checked."""
    target_id = context.identifiers.uuid()
    connection.execute(
        insert(_TARGETS).values(
            id=target_id,
            job_id=job.job_id,
            host_id=draft.host_id,
            port=draft.port,
            builtin=draft.builtin,
            modifier=draft.modifier,
            modified_ms=context.clock.now_ms(),
            result_code=RESULT_OK,
        )
    )
    return _find(connection, job, target_id)


def _hold_host(connection: Connection, job: jobs.Job, host_id: str) -> None:
    mine = (
        _HOSTS.c.id == host_id,
        _HOSTS.c.project_id == job.project_id,
        _HOSTS.c.region == job.region,
    )
    if not is_uuid(host_id) or not hold(connection, _HOSTS, *mine):
        raise ControlError(
            "INVALID_HOST_OR_PROJECT",
            f"hostId {fields.shown(host_id)} is not a host of this project and region",
        )


def _with_host(job: jobs.Job) -> Any:
    return (
        select(_TARGETS, _HOSTS.c.name.label("host_name"), _HOSTS.c.address)
        .join(_HOSTS, _TARGETS.c.host_id == _HOSTS.c.id)
        .where(_TARGETS.c.job_id == job.job_id)
    )


def _find(connection: Connection, job: jobs.Job, target_id: str) -> Target:
    row = None
    if is_uuid(target_id):
        row = connection.execute(_with_host(job).where(_TARGETS.c.id == target_id)).first()
    if row is None:
        raise ControlError("NOT_FOUND_TARGET", f"there is no target {fields.shown(target_id)}")
    return _target(row, job)


def _target(row: Row[*tuple[Any, ...]], job: jobs.Job) -> Target:
    return Target(
        row.id,
        row.job_id,
        row.host_id,
        row.port,
        row.result_code,
        row.fail_reason,
        row.status,
        row.modifier,
        row.modified_ms,
        job.region,
        row.host_name,
        row.address,
    )


def _already_exists(draft: TargetDraft) -> ControlError:
    detail = f"the workspace has port {draft.port} of host {fields.shown(draft.host_id)} already"
    return ControlError("ALREADY_EXIST", detail)
