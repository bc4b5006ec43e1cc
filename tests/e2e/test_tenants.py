"""Two projects with the same metric names: neither sees the other, on any path, through any matcher."""

import time
import urllib.parse

import pytest

from e2e.service import Service


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """(service, key of A, key of B, B's project); every value of A is 1, of B 2."""
    service = Service(tmp_path_factory.mktemp("tenants") / "data").start()
    other = service.cli("projects", "create", "other")
    now_ms = int(time.time() * 1000)
    for key, value, name in ((service.key, 1, "alpha"), (other["appkey"], 2, "beta")):
        series = [
            ({"__name__": "shared", "job": "app", "who": name}, [(now_ms, value)]),
            ({"__name__": f"only_{name}", "job": "app"}, [(now_ms, value)]),
        ]
        deadline = time.monotonic() + 10
        while service.push(series, key)[0] != 204:
            assert time.monotonic() < deadline, "the key of the new project is not taken"
            time.sleep(0.2)
    yield service, service.key, other["appkey"], other["projectId"]
    service.stop()


# Threats S3: constructions that escaped services which put the tenant into the query's text.
ESCAPES = [
    "shared",
    '{__name__=~".+"}',
    '{__name__=~".+"} or {x="y"}',
    '{__name__=~".+",project_id=~".*"}',
    '{__name__=~".+",project_id!="A"}',
    '{__name__=~".+",__tenant_id__=~".*"}',
    '{__name__=~".+",vm_account_id=~".*"}',
    '{"shared"}',
    '{"shared",}',
    "shared @ end()",
    "shared @ start() or shared # }",
    'label_replace(shared, "project_id", "B", "", "")',
    'label_replace(shared, "dst", "}) or {__name__=~\\".+\\"", "", "")',
    "max_over_time(shared[10m:1s])",
    'count by (who) ({__name__=~".+"})',
    'shared{who!="alpha"}',
    "only_beta",
    "absent(only_beta)",
    "sum(shared) by (who)",
    "last_over_time({__name__=~'.*'}[1h])",
]


@pytest.mark.parametrize("expression", ESCAPES)
def test_no_expression_reaches_the_other_project(two, expression):
    service, key_a, key_b, _ = two
    form = urllib.parse.urlencode({"query": expression})
    for key, secret in ((key_a, "beta"), (key_b, "alpha")):
        _, answer = service.request("GET", f"/prometheus/api/v1/query?{form}", key=key)
        assert f"'who': '{secret}'" not in str(answer)
        assert f"'__name__': 'only_{secret}'" not in str(answer)


PATHS = [
    "series?match[]={__name__=~'.%2B'}",
    "series?match[]=shared&match[]={__name__=~'.%2B'}",
    "labels",
    "label/who/values",
    "label/__name__/values",
    "label/who/values?match[]={__name__=~'.%2B'}",
    "metadata",
    "status/tsdb",
    "query_exemplars?query=shared",
    "rules",
    "alerts",
    "targets",
    "query_range?query=shared&start=0&end=99999999999&step=86400000",
    "query?query=sum(shared)%20/%20no_such(",
    "query?query=shared%20/%20ignoring(who)%20group_left%20only_beta",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_side_door_shows_the_other_project(two, path):
    service, key_a, key_b, project_b = two
    _, answer = service.request("GET", f"/prometheus/api/v1/{path}", key=key_a)
    assert "'beta'" not in str(answer)
    assert project_b not in str(answer)
    _, answer = service.request("GET", f"/prometheus/api/v1/{path}", key=key_b)
    assert "alpha" not in str(answer)
    assert service.project not in str(answer)


def test_the_same_question_asked_by_both_is_answered_for_each(two):
    """Threats S5: no cache answers one with the other's series."""
    service, key_a, key_b, _ = two
    at = str(int(time.time()) + 2)
    for _ in range(3):
        assert service.value("sum(shared)", key=key_a, time=at) == 1
        assert service.value("sum(shared)", key=key_b, time=at) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Scope-OrgID": "B"},
        {"AccountID": "1", "ProjectID": "1"},
        {"THANOS-TENANT": "B"},
        {"X-Forwarded-For": "10.0.0.1", "X-Original-URL": "/v1.0"},
    ],
)
def test_no_header_but_the_appkey_names_a_tenant(two, headers):
    service, key_a, _, project_b = two
    status, answer = service.request(
        "GET", "/prometheus/api/v1/label/who/values", key=key_a, headers=headers
    )
    assert (status, answer["data"]) == (200, ["alpha"])
    status, _ = service.request("GET", f"/v1.0/projects/{project_b}/jobs", key=key_a)
    assert status == 403


def test_keys_that_open_nothing(two):
    service, key_a, _, project_b = two
    for key in ("nonsense", " ", f"{key_a}x", key_a[:-1], "null"):
        status, answer = service.request("GET", "/prometheus/api/v1/labels", key=key)
        assert (status, answer["errorType"]) == (401, "unauthorized")
    # A project of someone else and one that never was look alike.
    other = service.request("GET", f"/v1.0/projects/{project_b}/jobs", key=key_a)
    nobody = service.request("GET", "/v1.0/projects/nobody00/jobs", key=key_a)
    assert other == nobody
    assert other[0] == 403
