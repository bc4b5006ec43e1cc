"""A project over its limits, over HTTP: 429 with names and Retry-After, and nothing for its neighbours (S14)."""

import pytest
from prometheus_client import CollectorRegistry
from tests.web.listening import fetch, listening
from tests.web.prometheus.samples import T0, write_body

from meterhall.app.project_meter import ProjectMeter
from meterhall.telemetry import metrics
from meterhall.web.admin import create_admin

WRITE = "/prometheus/api/v1/write"


@pytest.fixture
def server(serve):
    return serve()


def limit(server, project, **values):
    by_name = {each.name: each.project_id for each in server.control.projects.list()}
    server.control.limits.change(by_name[project], values)


def push(server, names, key="a", at=T0):
    body = write_body([({"__name__": name}, [(at * 1000, 1.0)]) for name in names])
    return server.call("POST", WRITE, body, key=key)


def test_new_series_are_429_and_named_and_old_ones_go_on(server):
    limit(server, "a", active_series=2)
    assert push(server, ["one", "two"]).status == 204
    answer = push(server, ["one", "three", "two", "four"], at=T0 + 1)
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert answer.body.decode().splitlines() == [
        "over the limit of 2 active series: 2 new series refused",
        'refused: {__name__="three"}',
        'refused: {__name__="four"}',
    ]
    assert push(server, ["one", "two"], at=T0 + 2).status == 204
    both = "sum(count_over_time(one[1m])) + sum(count_over_time(two[1m]))"
    assert server.get("query", query=both, time=T0 + 2).data["result"][0]["value"][1] == "6"
    assert push(server, ["three", "four", "five"], key="b").status == 204
    usage = server.get("status/tsdb").data["limits"]["active_series"]
    assert usage == {"limit": 2, "used": 2, "refused": 2}
    limit(server, "a", active_series=4)
    assert push(server, ["three", "four"], at=T0 + 3).status == 204


def test_over_the_rate_pushes_are_429_until_it_is_paid_and_reading_goes_on(server):
    limit(server, "a", samples_per_second=1, samples_burst=2)
    assert push(server, ["one", "two", "three"]).status == 204
    answer = push(server, ["one"], at=T0 + 1)
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert b"1 samples a second (burst 2)" in answer.body
    assert server.get("query", query="one", time=T0).data["result"]
    assert push(server, ["one"], key="b").status == 204
    limit(server, "a", samples_per_second=0)
    assert push(server, ["one"], at=T0 + 1).status == 204


def test_labels_over_a_projects_own_limit_are_400_with_the_culprit(server):
    limit(server, "a", label_value_bytes=5)
    answer = push(server, ["short", "too_long"])
    assert (answer.status, answer.body) == (
        400,
        b"label value length limit exceeded: 8 bytes, limit 5\n",
    )
    assert push(server, ["too_long"], key="b").status == 204


def test_the_operator_sees_limits_and_usage_and_no_name_of_a_series(server):
    limit(server, "a", active_series=2)
    push(server, ["secret_name", "two", "three"])
    meter = ProjectMeter(server.backend.allowances, server.backend.store)
    registry = CollectorRegistry()
    for gauge in (metrics.PROJECT_LIMIT, metrics.PROJECT_USAGE, metrics.PROJECT_REFUSED):
        registry.register(gauge)
    with listening(create_admin(registry, meter.measure)) as port:
        _, _, text = fetch(port, "/metrics")
    project = next(each.project_id for each in server.control.projects.list() if each.name == "a")
    where = f'{{limit="active_series",project="{project}",region="kr"}}'
    for name, value in (("limit", 2), ("usage", 2), ("refused", 1)):
        assert f"meterhall_project_{name}{where} {value}.0" in text
    assert "secret_name" not in text
