"""Request by request: what Prometheus 3.5.3 answered (data/prometheus-3.5.3.json), and what we answer.

Where ours is meant to differ, DIFFERENT says how and why; everything else agrees in status, content type and JSON.
Instant vectors and single-selector series are compared as sets, because Prometheus promises no order.
"""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.web.prometheus.peer_requests import ask

RECORDED = json.loads((Path(__file__).parent / "data" / "prometheus-3.5.3.json").read_text("utf-8"))


def name_of(request: list) -> str:
    method, path, _, body = request
    return unquote(f"{method} {path}" + (f" <- {body}" if body else ""))


# Name of a request → (status, reason). Only the status, and that the body is an error envelope, are held.
_RACE = "422 by contract 1.3; Prometheus answers 400, 422 or 503 by where it looks first"
DIFFERENT: dict[str, tuple[int, str]] = {
    "GET /api/v1/query_range?query=requests_total"
    "&start=1700000000&end=1700000600&step=60&timeout=0": (422, _RACE),
    "GET /api/v1/query?query=1&time=1700000000&timeout=0": (422, _RACE),
    "GET /api/v1/query?query=sum(&time=1700000000&timeout=0": (400, _RACE),
    "GET /api/v1/query?query=1&time=1700000000&timeout=-1": (422, _RACE),
    "GET /api/v1/query_range?query=topk(time() * 1e15, requests_total)"
    "&start=1700000000&end=1700000600&step=60": (422, "names the greatest parameter, as 3.14 does"),
    "GET /api/v1/label/__name__/values?limit=1": (
        200,
        "the first of the sorted list by contract 1.9; Prometheus cuts before it sorts",
    ),
    "PUT /api/v1/series": (405, "without the DELETE that Prometheus lists and then refuses"),
    "HEAD /-/ready": (200, "with the content type that a GET would have"),
}


def comparable(answer: dict, is_sorted: bool) -> tuple:
    body = answer["body"]
    if answer["content_type"] != "application/json":
        return answer["status"], answer["content_type"], body
    parsed = json.loads(body)
    data = parsed.get("data")
    if isinstance(data, dict) and data.get("resultType") == "vector" and not is_sorted:
        data["result"].sort(key=lambda entry: sorted(entry["metric"].items()))
    if isinstance(data, list) and data and isinstance(data[0], dict):
        data.sort(key=lambda labels: sorted(labels.items()))
    for member in ("warnings", "infos"):
        if member in parsed:
            parsed[member].sort()
    return answer["status"], answer["content_type"], parsed


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: name_of(entry["request"]))
def test_our_answer_is_prometheus(entry, served):
    request, theirs = entry["request"], entry["answer"]
    ours = ask(served.port, request, {"X-TC-APP-KEY": served.keys["a"]})
    name = name_of(request)
    if name in DIFFERENT:
        assert ours["status"] == DIFFERENT[name][0], ours
        return
    if theirs["status"] in (404, 405):
        # Ours has the JSON envelope, as Grafana prints other bodies as they are.
        assert (ours["status"], ours["allow"]) == (theirs["status"], theirs["allow"])
        if request[0] != "HEAD":
            assert json.loads(ours["body"])["status"] == "error"
        return
    is_sorted = "sort" in request[1] or "topk" in request[1]
    assert comparable(ours, is_sorted) == comparable(theirs, is_sorted)
