"""The guide's own curl lines, as printed: only endpoint, ids and keys are filled in.

Three of them lack the closing quote, which any shell refuses; it is added. Nothing else is touched.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

GUIDE = (Path(__file__).parent / "data" / "api-guide.md").read_text()
ENDPOINT = "https://kr1-api-sysmon.cloud.toast.com"


def _blocks(section: str) -> list[str]:
    """The text between fences, in order."""
    return [block.split("\n", 1)[1] for block in section.split("```")[1::2]]


def _calls() -> dict[str, tuple[str, Any]]:
    """Heading → (curl lines, example answer) of the ten calls."""
    calls = {}
    for chapter in GUIDE.split("\n## ")[2:]:
        for section in chapter.split("\n### ")[1:]:
            title = section.splitlines()[0].split(". ", 1)[1]
            blocks = _blocks(section)
            (curl,) = [block for block in blocks if block.lstrip().startswith("curl ")]
            example = json.loads(blocks[-1], object_pairs_hook=list)
            calls[title] = (curl, example)
    return calls


CALLS = _calls()


def run(title: str, served, tenancy, **ids: str) -> tuple[str, Any]:
    """Runs one call's curl in a shell; answers the status line and the JSON with its order kept."""
    line = CALLS[title][0].replace(ENDPOINT, served.url)
    line = line.replace("X-TC-APP-KEY:appkey", f"X-TC-APP-KEY:{tenancy.key}")
    line = line.replace("{projectId}", tenancy.project_id).replace("aOpreudC", tenancy.project_id)
    for placeholder, value in ids.items():
        line = line.replace(placeholder.replace("_", " "), value).replace(
            f"{{{placeholder}}}", value
        )
    line = line.rstrip() + ("'" if line.count("'") % 2 else "")
    done = subprocess.run(
        ["bash", "-c", line.replace("curl ", "curl -sS ", 1)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    head, _, content = done.stdout.partition("\n\n")
    return head.splitlines()[0], json.loads(content, object_pairs_hook=list)


def shape(value: Any) -> Any:
    """Keys in order, without values: what an answer and the guide's example must share."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return [(key, shape(inner)) for key, inner in value]
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return None


def plain(value: Any) -> Any:
    """Pairs back to a dict."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return {key: plain(inner) for key, inner in value}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_the_guide_has_ten_calls() -> None:
    assert len(CALLS) == 10


@pytest.mark.needs("curl")
def test_a_session_in_the_guides_own_words(served, tenancy) -> None:
    """Every call once, in an order that makes sense, each in the shape of its example."""
    answered = {}

    def call(title: str, **ids: str) -> Any:
        status, answer = run(title, served, tenancy, **ids)
        assert status.split()[1] == "200", (title, status)
        assert shape(answer) == shape(CALLS[title][1]), title
        answered[title] = plain(answer)
        assert answered[title]["header"] == {
            "isSuccessful": True, "resultCode": 0, "resultMessage": "SUCCESS"
        }  # fmt: skip
        return answered[title]["body"]

    job = call("Create an OpenMetrics dashboard workspace")
    job_id = job["jobId"]
    assert job == {
        "jobId": job_id,
        "projectId": tenancy.project_id,
        "jobName": "jobName",
        "metricsPath": "/metricPath",
        "description": "description",
        "lstModifier": None,
        "lstModYmdt": job["lstModYmdt"],
        "reservedJobCd": None,
    }
    assert call("Query all OpenMetrics dashboard workspaces") == [job]
    assert call("Query an individual OpenMetrics dashboard workspace", jobId=job_id) == job
    changed = call("Modify the OpenMetrics dashboard workspace", jobId=job_id)
    assert (changed["metricsPath"], changed["description"]) == (
        "/updatemetricsPath",
        "updatedescription",
    )
    (server,) = call("Query an OpenMetrics dashboard collection target server")
    assert server == {
        "hostId": tenancy.host_id,
        "hostNm": "web",
        "svrIp": "192.168.0.5",
        "projectId": tenancy.project_id,
        "instanceId": "i-1",
    }
    target_id = call(
        "Create an OpenMetrics dashboard collection target",
        jobId=job_id, host_id=server["hostId"], post_number="9100",
    )  # fmt: skip
    ids = {"jobId": job_id, "targetId": target_id}
    target = call("Query an individual OpenMetrics dashboard collection target", **ids)
    assert target == {
        "targetId": target_id,
        "jobId": job_id,
        "hostId": tenancy.host_id,
        "port": 9100,
        "resultCd": 0,
        "failReason": None,
        "mntrnStatCd": None,
        "lstModifier": None,
        "lstModYmdt": target["lstModYmdt"],
        "hostNm": "web",
        "svrIp": "192.168.0.5",
    }
    assert call("Query all OpenMetrics dashboard collection targets", **ids) == [target]
    assert call("Delete an OpenMetrics dashboard collection target", **ids) == target_id
    assert call("Delete the OpenMetrics Dashboard workspace", jobId=job_id) == job_id
    assert answered.keys() == CALLS.keys()
    assert tenancy.call("GET", "/jobs").body == []
