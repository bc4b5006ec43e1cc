"""What OpenAPI says of the ten calls: shapes of bodies and answers, headers, and the errors of each.

Only the description lives here. Requests are read by `bodies`, answers written by `envelope`.
"""

from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from meterhall.control import fields
from meterhall.model.errors import ControlCode
from meterhall.web.auth import APPKEY_HEADER
from meterhall.web.guide.calls import REGION_HEADER
from meterhall.web.guide.envelope import INTERNAL_SERVER_ERROR, RESULT_CODES

Body = TypeVar("Body")
RegionRule = Literal["required", "optional"]


class _Shape(BaseModel):
    """Spells its keys as the guide does: lst_mod_ymdt is `lstModYmdt`."""

    model_config = ConfigDict(alias_generator=to_camel)


class Header(_Shape):
    """The head of every answer."""

    is_successful: bool
    result_code: int
    result_message: str
    detail: str | None = Field(None, description="One sentence on what was wrong; errors only.")


class Envelope(_Shape, Generic[Body]):
    """Every answer."""

    header: Header
    body: Body | None


class Workspace(_Shape):
    """A workspace (job)."""

    job_id: str
    project_id: str
    job_name: str
    metrics_path: str
    description: str | None
    lst_modifier: str | None = Field(description="Console user's UUID; null after an appkey.")
    lst_mod_ymdt: str = Field(examples=["2021-08-17T10:32:09"])
    reserved_job_cd: str | None = Field(description="LINUX, WINDOWS, or null.")


class CollectionTarget(_Shape):
    """A collection target."""

    target_id: str
    job_id: str
    host_id: str
    port: int
    result_cd: int
    fail_reason: str | None
    mntrn_stat_cd: Literal["NORMAL", "HTTP_ERROR", "UNREACHABLE", "STOPPED"] | None
    lst_modifier: str | None
    lst_mod_ymdt: str
    host_nm: str
    svr_ip: str


class Server(_Shape):
    """A host on which collection can run."""

    host_id: str
    host_nm: str
    svr_ip: str
    project_id: str
    instance_id: str | None


_METRICS_PATH = {"type": "string", "pattern": "^/", "maxLength": fields.METRICS_PATH_CHARS_MAX}
_DESCRIPTION = {"type": ["string", "null"], "maxLength": fields.DESCRIPTION_CHARS_MAX}

WORKSPACE_DRAFT = {
    "type": "object",
    "required": ["jobName", "metricsPath"],
    "properties": {
        "jobName": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]+$",
            "maxLength": fields.JOB_NAME_CHARS_MAX,
        },
        "metricsPath": _METRICS_PATH,
        "description": _DESCRIPTION,
    },
}
WORKSPACE_CHANGE = {
    "type": "object",
    "required": ["metricsPath"],
    "properties": {"metricsPath": _METRICS_PATH, "description": _DESCRIPTION},
}
TARGET_DRAFT = {
    "type": "object",
    "required": ["hostId", "port"],
    "properties": {
        "hostId": {"type": "string"},
        "port": {
            "oneOf": [
                {"type": "integer", "minimum": 1, "maximum": fields.PORT_MAX},
                {"type": "string", "pattern": "^[0-9]+$"},
            ]
        },
    },
}


def operation(
    path: str, region: RegionRule, body: dict[str, Any] | None, codes: Sequence[ControlCode]
) -> dict[str, Any]:
    """The parts of an OpenAPI operation that cannot be read off its function."""
    ids = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [_parameter("path", name, required=True) for name in ids]
    parameters.append(_parameter("header", APPKEY_HEADER, required=True))
    parameters.append(_parameter("header", REGION_HEADER, required=region == "required"))
    described: dict[str, Any] = {
        "parameters": parameters,
        "description": "\n".join(
            ["Refusals, each HTTP 200 with `isSuccessful` false:", ""]
            + [f"- `{RESULT_CODES[code]} {code}`" for code in codes]
            + [f"- `{INTERNAL_SERVER_ERROR} INTERNAL_SERVER_ERROR`"]
        ),
    }
    if body is not None:
        content = {"application/json": {"schema": body}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(where: str, name: str, *, required: bool) -> dict[str, Any]:
    return {"in": where, "name": name, "required": required, "schema": {"type": "string"}}
