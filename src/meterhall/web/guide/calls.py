"""The ten calls, as plain functions from what was asked to the `body` of the answer.

They run on a worker thread, for they wait for the database. Who is calling has been checked by then.
Refusals are ControlError.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from meterhall.control.fields import bad_input, shown
from meterhall.control.hosts import Host
from meterhall.control.jobs import Job, JobChange, JobDraft, JobRef
from meterhall.control.plane import Control
from meterhall.control.settings import ControlSettings
from meterhall.control.targets import Target, TargetDraft
from meterhall.web.guide import bodies

REGION_HEADER = "X-SYSMON-REGION"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, checked for who sends it. `path` holds the ids of its path."""

    control: Control
    project_id: str
    path: Mapping[str, str]
    regions: tuple[str, ...]
    content_type: str | None
    content: bytes

    def body(self) -> bodies.Body:
        """The JSON object that was sent."""
        return bodies.parse_object(self.content_type, self.content)

    def region(self) -> str:
        """The region header of a call that requires it."""
        region = self._region_if_sent()
        if region is None:
            raise bad_input(f"the header {REGION_HEADER} is missing")
        return region

    def job(self) -> JobRef:
        """The job of the path, which the region header must not contradict."""
        return JobRef(self.project_id, self.path["jobId"], self._region_if_sent())

    def _region_if_sent(self) -> str | None:
        if not self.regions:
            return None
        if len(self.regions) > 1:
            raise bad_input(f"the header {REGION_HEADER} was sent {len(self.regions)} times")
        known = self.control.context.settings.regions
        if self.regions[0] not in known:
            raise bad_input(
                f"{REGION_HEADER} {shown(self.regions[0])} is not one of {', '.join(known)}"
            )
        return self.regions[0]


def list_jobs(asked: Asked) -> Any:
    """Query all OpenMetrics dashboard workspaces"""
    jobs = asked.control.jobs.list(asked.project_id, asked.region())
    return [_job(asked, job) for job in jobs]


def create_job(asked: Asked) -> Any:
    """Create an OpenMetrics dashboard workspace"""
    region, body = asked.region(), asked.body()
    draft = JobDraft(
        region,
        bodies.required_text(body, "jobName"),
        bodies.required_text(body, "metricsPath"),
        bodies.optional_text(body, "description"),
    )
    return _job(asked, asked.control.jobs.create(asked.project_id, draft))


def get_job(asked: Asked) -> Any:
    """Query an individual OpenMetrics dashboard workspace"""
    return _job(asked, asked.control.jobs.get(asked.job()))


def change_job(asked: Asked) -> Any:
    """Modify the OpenMetrics dashboard workspace"""
    ref, body = asked.job(), asked.body()
    change = JobChange(
        bodies.required_text(body, "metricsPath"),
        bodies.required_text(body, "jobName") if "jobName" in body else None,
        bodies.optional_text(body, "description"),
        describes="description" in body,
    )
    return _job(asked, asked.control.jobs.change(ref, change))


def delete_job(asked: Asked) -> Any:
    """Delete the OpenMetrics Dashboard workspace"""
    ref = asked.job()
    asked.control.jobs.delete(ref)
    return ref.job_id


def list_targets(asked: Asked) -> Any:
    """Query all OpenMetrics dashboard collection targets"""
    return [_target(asked, target) for target in asked.control.targets.list(asked.job())]


def list_servers(asked: Asked) -> Any:
    """Query an OpenMetrics dashboard collection target server"""
    return [_server(host) for host in asked.control.hosts.list(asked.project_id, asked.region())]


def create_target(asked: Asked) -> Any:
    """Create an OpenMetrics dashboard collection target"""
    ref, body = asked.job(), asked.body()
    draft = TargetDraft(bodies.required_text(body, "hostId"), bodies.required_port(body, "port"))
    return asked.control.targets.create(ref, draft).target_id


def get_target(asked: Asked) -> Any:
    """Query an individual OpenMetrics dashboard collection target"""
    return _target(asked, asked.control.targets.get(asked.job(), asked.path["targetId"]))


def delete_target(asked: Asked) -> Any:
    """Delete an OpenMetrics dashboard collection target"""
    target_id = asked.path["targetId"]
    asked.control.targets.delete(asked.job(), target_id)
    return target_id


def local_time(settings: ControlSettings, region: str, time_ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS`, without offset, in the region's time zone."""
    zone = settings.time_zones.get(region)
    # UTC is built in; naming it would need a time zone database, which a bare machine lacks.
    where: tzinfo = UTC if zone is None else ZoneInfo(zone)
    return datetime.fromtimestamp(time_ms // 1000, where).strftime("%Y-%m-%dT%H:%M:%S")


def _job(asked: Asked, job: Job) -> dict[str, Any]:
    return {
        "jobId": job.job_id,
        "projectId": job.project_id,
        "jobName": job.name,
        "metricsPath": job.metrics_path,
        "description": job.description,
        "lstModifier": job.modifier,
        "lstModYmdt": local_time(asked.control.context.settings, job.region, job.modified_ms),
        "reservedJobCd": job.reserved_code,
    }


def _target(asked: Asked, target: Target) -> dict[str, Any]:
    return {
        "targetId": target.target_id,
        "jobId": target.job_id,
        "hostId": target.host_id,
        "port": target.port,
        "resultCd": target.result_code,
        "failReason": target.fail_reason,
        "mntrnStatCd": target.status,
        "lstModifier": target.modifier,
        "lstModYmdt": local_time(asked.control.context.settings, target.region, target.modified_ms),
        "hostNm": target.host_name,
        "svrIp": target.address,
    }


def _server(host: Host) -> dict[str, Any]:
    return {
        "hostId": host.host_id,
        "hostNm": host.name,
        "svrIp": host.address,
        "projectId": host.project_id,
        "instanceId": host.instance_id,
    }
