"""The operator's listener."""

import json

from prometheus_client import CollectorRegistry, Counter
from tests.web.listening import fetch, listening

from meterhall.model.errors import StoreUnavailable
from meterhall.web.admin import create_admin


def test_metrics_and_probe():
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    with listening(create_admin(registry)) as port:
        _, headers, text = fetch(port, "/metrics")
        assert headers["content-type"].startswith("text/plain; version=")
        assert "things_total 3.0" in text
        accept = {"Accept": "application/openmetrics-text"}
        _, headers, text = fetch(port, "/metrics", headers=accept)
        assert headers["content-type"].startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")
        assert fetch(port, "/-/healthy")[0] == 200


def test_a_snapshot_is_taken_by_a_call_of_prometheus():
    taken = []

    def snapshot(skip_head):
        taken.append(skip_head)
        if len(taken) > 2:
            raise StoreUnavailable("the disk refuses")
        return f"snapshot-{len(taken)}"

    with listening(create_admin(CollectorRegistry(), snapshot=snapshot)) as port:
        path = "/api/v1/admin/tsdb/snapshot"
        status, _, text = fetch(port, path, "POST")
        assert (status, json.loads(text)["data"]) == (200, {"name": "snapshot-1"})
        assert fetch(port, f"{path}?skip_head=true", "PUT")[0] == 200
        assert taken == [False, True]
        assert fetch(port, f"{path}?skip_head=maybe", "POST")[0] == 400
        assert fetch(port, path)[0] == 405
        assert fetch(port, path, "POST", headers={"Origin": "http://evil.example"})[0] == 403
        assert len(taken) == 2
        status, _, text = fetch(port, path, "POST")
        assert (status, json.loads(text)["status"]) == (503, "error")
