"""A cardinality bomb against a running service: the operator sets a limit, and everyone else goes on (S14)."""

import time
import urllib.request
import uuid

from e2e.service import eventually, meterhall


def names(count):
    """Series with a UUID in a label, as a careless program makes them."""
    now = int(time.time() * 1000)
    return [({"__name__": "bomb", "id": str(uuid.uuid4())}, [(now, 1.0)]) for _ in range(count)]


def test_a_bomb_is_refused_by_name_and_harms_nobody(service):
    used = eventually(lambda: service.prometheus("status/tsdb")["limits"]["active_series"]["used"])
    limits = service.prometheus("status/tsdb")["limits"]
    assert limits["active_series"]["limit"] == limits["samples_per_second"]["limit"] == 0
    other = service.cli("projects", "create", "other")
    ceiling = used + 500
    words = ("projects", "limits", service.project, "--set", f"active_series={ceiling}")
    rows = {row["limit"]: row for row in service.cli(*words)}
    assert rows["active_series"] == {
        "limit": "active_series",
        "value": ceiling,
        "from": "project",
    }
    shown = eventually(
        lambda: service.prometheus("status/tsdb")["limits"]["active_series"]["limit"], seconds=5
    )
    assert shown == ceiling
    answers = [service.push(names(2000)) for _ in range(10)]
    assert {status for status, _ in answers} == {429}
    assert f"over the limit of {ceiling} active series" in answers[-1][1]
    assert 'refused: {__name__="bomb", id="' in answers[-1][1]
    assert service.prometheus("status/tsdb")["headStats"]["numSeries"] == ceiling
    eventually(lambda: service.push(names(3), key=other["appkey"])[0] == 204)

    begin = time.time()
    load = 'time() - timestamp(node_load1{job="@Linux"})'
    eventually(lambda: time.time() - begin > 3 and service.value(load) < 3)
    metrics = f"http://127.0.0.1:{service.admin_port}/metrics"
    with urllib.request.urlopen(metrics) as answer:
        text = answer.read().decode()
    where = f'{{limit="active_series",project="{service.project}",region="kr"}}'
    assert f"meterhall_project_usage{where} {float(ceiling)}" in text
    assert "bomb" not in text

    service.kill()
    service.start()
    assert service.prometheus("status/tsdb")["headStats"]["numSeries"] <= ceiling
    assert service.push(names(10))[0] == 429
    meterhall(
        *("projects", "limits", service.project, "--set", "active_series=default"),
        *("--data", str(service.data)),
    )
    eventually(lambda: service.push(names(10))[0] == 204, seconds=5)
