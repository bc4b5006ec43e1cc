"""The page and the document that describe the ten calls."""

from pathlib import Path

import pytest

from meterhall.web.guide.app import create_guide
from meterhall.web.guide.docs import openapi_of

GUIDE = (Path(__file__).parent / "data" / "api-guide.md").read_text()


@pytest.fixture
def guide(served):
    return create_guide(served.control, served.control.access, None)


def test_the_document_has_the_guides_calls_and_no_other(guide) -> None:
    calls = {
        tuple(line[1:].split("] ", 1))
        for line in GUIDE.splitlines()
        if line.startswith("[") and "] /v1.0/" in line
    }
    paths = openapi_of(guide)["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert len(calls) == 10
    assert described == calls


def test_titles_are_the_guides(guide) -> None:
    for item in openapi_of(guide)["paths"].values():
        for operation in item.values():
            assert f". {operation['summary']}\n" in GUIDE


def test_every_call_names_its_headers_and_answers(guide) -> None:
    document = openapi_of(guide)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            headers = {
                one["name"]: one["required"]
                for one in operation["parameters"]
                if one["in"] == "header"
            }
            wants_region = path.endswith(("/jobs", "/servers"))
            assert headers == {"X-TC-APP-KEY": True, "X-SYSMON-REGION": wants_region}
            assert ("requestBody" in operation) == (method in ("post", "put"))
            assert "$ref" in operation["responses"]["200"]["content"]["application/json"]["schema"]


def test_the_page_loads_nothing_from_elsewhere(served) -> None:
    answer = served.send("GET", "/docs", [])
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"GET /v1.0/projects/{projectId}/jobs/{jobId}/targets/{targetId}" in answer.content
    assert b"-40012 SYSTEM_RESERVED_JOB" in answer.content
    for word in (b"<script", b"http://", b"https://"):
        assert word not in answer.content


def test_the_document_is_served(served, guide) -> None:
    answer = served.send("GET", "/openapi.json", [])
    assert answer.headers["content-type"] == "application/json"
    assert answer.envelope == openapi_of(guide)


def test_the_shapes_have_the_keys_of_the_answers(tenancy, guide) -> None:
    job_id = tenancy.make_job()
    target_id = tenancy.make_target(job_id)
    answers = {
        "Workspace": tenancy.call("GET", f"/jobs/{job_id}").body,
        "CollectionTarget": tenancy.call("GET", f"/jobs/{job_id}/targets/{target_id}").body,
        "Server": tenancy.call("GET", "/servers").body[0],
        "Header": tenancy.call("GET", "/jobs", key="x").envelope["header"],
    }
    schemas = openapi_of(guide)["components"]["schemas"]
    for name, answer in answers.items():
        assert set(schemas[name]["properties"]) == set(answer)
