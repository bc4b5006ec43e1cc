"""`admin/tsdb/*` over HTTP: Prometheus' wire, the scope, the preview, and the walls between projects."""

import pytest
from tests.web.prometheus.samples import T0

DELETE = "admin/tsdb/delete_series"


@pytest.fixture
def server(serve):
    made = serve()
    for key in ("a", "b"):
        made.push(
            [
                ({"__name__": "m", "i": str(i)}, [((T0 + step) * 1000, step) for step in range(5)])
                for i in range(3)
            ],
            key=key,
        )
    return made


def left(server, key="a"):
    found = server.get("query", key=key, query="count_over_time(m[1m])", time=T0 + 5)
    return {each["metric"]["i"]: int(each["value"][1]) for each in found.data["result"]}


def test_a_preview_counts_and_deletes_nothing(server):
    chosen = {"match[]": ['m{i="1"}', 'm{i=~"1|2"}'], "start": T0 + 2, "dry_run": "true"}
    answer = server.post(DELETE, **chosen)
    assert (answer.status, answer.data) == (200, {"series": 2, "samples": 6})
    assert left(server) == {"0": 5, "1": 5, "2": 5}


@pytest.mark.parametrize("how", ["url", "form", "put"])
def test_series_are_deleted_and_a_neighbours_are_not(server, how):
    chosen = {"match[]": 'm{i="1"}', "start": T0 + 2, "end": T0 + 3}
    if how == "form":
        answer = server.post(DELETE, **chosen)
    else:
        path = f"/prometheus/api/v1/{DELETE}?match[]=m%7Bi%3D%221%22%7D&start={T0 + 2}&end={T0 + 3}"
        answer = server.call("PUT" if how == "put" else "POST", path)
    assert (answer.status, answer.body) == (204, b"")
    assert left(server) == {"0": 5, "1": 3, "2": 5}
    assert server.post(DELETE, **{"match[]": ['m{i="1"}', 'm{i="2"}']}).status == 204
    assert left(server) == {"0": 5}
    assert server.post("admin/tsdb/clean_tombstones").status == 204
    assert left(server) == {"0": 5}
    assert left(server, "b") == {"0": 5, "1": 5, "2": 5}


def test_a_quick_query_does_not_show_what_was_deleted(server):
    for _ in range(3):
        assert server.get("query", query='m{i="1"}', time=T0 + 4).data["result"]
    server.post(DELETE, **{"match[]": 'm{i="1"}'})
    assert server.get("query", query='m{i="1"}', time=T0 + 4).data["result"] == []


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "no match[] parameter provided"),
        ({"match[]": "{}"}, "match[]"),
        ({"match[]": 'm{a="'}, "match[]"),
        ({"match[]": "m", "start": "x"}, "start"),
        ({"match[]": "m", "dry_run": "maybe"}, "dry_run"),
    ],
)
def test_what_is_wrong_is_400_and_deletes_nothing(server, parameters, text):
    answer = server.post(DELETE, **parameters)
    assert answer.status == 400
    assert text in answer.body.decode()
    assert left(server) == {"0": 5, "1": 5, "2": 5}


@pytest.mark.parametrize("path", [DELETE, "admin/tsdb/clean_tombstones"])
def test_it_takes_the_scope_manage_and_a_method_that_changes(server, path):
    for key, status in [("a:query", 403), ("a:write", 403), ("a:manage", 204)]:
        assert server.post(path, key=key, **{"match[]": 'm{i="9"}'}).status == status
    for method in ("GET", "HEAD", "DELETE"):
        answer = server.call(method, f"/prometheus/api/v1/{path}?match[]=m")
        assert answer.status == 405
        assert answer.headers["allow"] == "OPTIONS, POST, PUT"
    forged = {"X-HTTP-Method-Override": "POST"}
    assert server.call("GET", f"/prometheus/api/v1/{path}?match[]=m", None, forged).status == 405
    assert server.post(path, key=None, **{"match[]": "m"}).status == 401
    assert left(server) == {"0": 5, "1": 5, "2": 5}


def test_an_end_before_the_start_deletes_nothing(server):
    assert server.post(DELETE, **{"match[]": "m", "start": T0 + 3, "end": T0}).status == 204
    assert left(server) == {"0": 5, "1": 5, "2": 5}


def test_too_many_deletions_at_once_have_to_wait(server, monkeypatch):
    monkeypatch.setattr("meterhall.tsdb.deletion._PENDING_MAX", 2)
    for i in range(2):
        assert server.post(DELETE, **{"match[]": f'm{{i="{i}"}}'}).status == 204
    answer = server.post(DELETE, **{"match[]": 'm{i="2"}'})
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert left(server) == {"2": 5}
    assert server.post(DELETE, key="b", **{"match[]": "m"}).status == 204
