"""Who is calling, methods, CORS, compression, limits, isolation: through a real uvicorn."""

import asyncio
import concurrent.futures
import gzip
import json
import socket
import time
from urllib.parse import urlencode

import pytest
from tests.web.prometheus.samples import T0, a_counter, write_body

from meterhall.query.budget import QueryLimits
from meterhall.web.body import BodySettings
from meterhall.web.prometheus import api
from meterhall.web.prometheus.api import ENDPOINTS
from meterhall.web.prometheus.call import ActiveTarget, PrometheusSettings
from meterhall.web.prometheus.runner import RunnerSettings

END = T0 + 600
QUERY = "/prometheus/api/v1/query"
PATHS = [*sorted(ENDPOINTS), "/prometheus/api/v1/label/job/values"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("path", PATHS)
def test_no_endpoint_answers_without_a_key(served, path):
    method = "POST" if path.endswith("/write") else "GET"
    for headers in ({}, {"X-TC-APP-KEY": ""}, {"X-TC-APP-KEY": "nope"}, {"Authorization": "x"}):
        answer = served.call(method, path + "?appkey=" + served.keys["a"], None, headers, key=None)
        status, error_type, _ = answer.error
        assert (status, error_type) == (401, "unauthorized")
        assert "www-authenticate" not in answer.headers
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
def test_a_scope_is_needed(served, path):
    method, needed = ("POST", "write") if path.endswith("/write") else ("GET", "query")
    for scope in {"query", "write", "manage"} - {needed}:
        status, error_type, text = served.call(method, path, key=f"a:{scope}").error
        assert (status, error_type) == (403, "forbidden")
        assert needed in text
    assert served.call(method, path, key=f"a:{needed}").status != 403


def test_two_keys_are_none(served):
    request = (
        f"GET {QUERY}?query=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"X-TC-APP-KEY: {served.keys['a']}\r\nx-tc-app-key: {served.keys['b']}\r\n\r\n"
    )
    assert raw(served, request.encode()).startswith(b"HTTP/1.1 401")


def raw(served, request: bytes) -> bytes:
    """Everything that the server sends until it closes."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(request)
        chunks = []
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)


TENANT_HEADERS = {
    "X-Scope-OrgID": "a",
    "AccountID": "0",
    "ProjectID": "a",
    "THANOS-TENANT": "a",
    "X-Forwarded-For": "1.2.3.4",
    "X-Original-URL": "/prometheus/api/v1/series",
}

SIDE_DOORS = [
    ("query", {"query": '{__name__=~".+"} or {x="y"}', "time": END}),
    ("query", {"query": 'label_replace({__name__=~".+"}, "a", "b", "", "")', "time": END}),
    ("query", {"query": '{__name__!="", project_id!="b"}', "time": END}),
    ("query", {"query": '{__tenant_id__=~".*", __name__!=""}', "time": END}),
    ("query", {"query": "requests_total @ end() # }", "time": END}),
    ("query", {"query": 'max_over_time({__name__!=""}[1h:1m])', "time": END}),
    ("query_range", {"query": '{__name__!=""}', "start": T0, "end": END, "step": 60}),
    ("series", {"match[]": ['{__name__!=""}', "requests_total"]}),
    ("labels", {}),
    ("label/__name__/values", {}),
    ("label/job/values", {"match[]": '{__name__=~".+"}'}),
    ("metadata", {}),
    ("query_exemplars", {"query": "requests_total"}),
    ("targets", {}),
]


@pytest.mark.parametrize(("endpoint", "parameters"), SIDE_DOORS)
def test_another_project_sees_nothing(served, endpoint, parameters):
    path = f"/prometheus/api/v1/{endpoint}?{urlencode(parameters, doseq=True)}"
    for _ in range(2):
        served.call("GET", path, key="a")
        answer = served.call("GET", path, None, TENANT_HEADERS, key="b")
        data = answer.data
        found = data.get("result", data.get("activeTargets")) if isinstance(data, dict) else data
        assert not found, answer
    stats = served.get("status/tsdb", key="b").data["headStats"]
    assert (stats["numSeries"], stats["chunkCount"]) == (0, 0)


def test_a_revoked_key_is_refused(serve):
    server = serve()
    assert server.get("query", query="1").status == 200
    keys = {key.key_id for key in server.control.keys.list()}
    for key_id in keys:
        server.control.keys.revoke(key_id)
    server.control.access.refresh()
    assert server.get("query", query="1").status == 401


@pytest.mark.parametrize(
    ("headers", "region"),
    [
        ({}, "kr"),
        ({"Host": "JP.example:9480"}, "jp"),
        ({"Host": "other.example"}, "kr"),
        ({"X-SYSMON-REGION": "jp"}, "jp"),
        ({"Host": "jp.example", "x-sysmon-region": "kr"}, "kr"),
        ({"X-SYSMON-REGION": ""}, "kr"),
    ],
)
def test_the_region_comes_from_the_host_or_the_header(served, headers, region):
    answer = served.call("GET", "/prometheus/api/v1/label/job/values", None, headers)
    assert answer.data == (["api", "web"] if region == "kr" else [])


def test_an_unknown_region_is_refused(served):
    answer = served.call("GET", f"{QUERY}?query=1", None, {"X-SYSMON-REGION": "mars"})
    status, error_type, text = answer.error
    assert (status, error_type) == (400, "bad_data")
    assert "mars" not in text


def test_cors_as_prometheus_with_our_headers_allowed(served):
    plain = served.get("query", query="1")
    assert plain.headers["vary"] == "Origin, Accept-Encoding"
    assert not [name for name in plain.headers if name.startswith("access-control")]
    for method, key in (("GET", "a"), ("OPTIONS", None), ("GET", None)):
        answer = served.call(method, f"{QUERY}?query=1", None, {"Origin": "https://x.example"}, key)
        assert answer.headers["access-control-allow-origin"] == "https://x.example"
        assert "X-TC-APP-KEY" in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert "access-control-allow-credentials" not in answer.headers
    assert served.call("OPTIONS", QUERY, key=None).status == 204


@pytest.mark.parametrize(
    ("accepted", "is_gzip"),
    [
        ("gzip", True),
        ("deflate, gzip", True),
        ("br, gzip;q=1, deflate", False),
        ("gzip;q=0", False),
        ("deflate", False),
        ("zstd", False),
        ("xgzip", False),
        ("*", False),
    ],
)
def test_gzip_only_where_it_is_asked_for_by_name(served, accepted, is_gzip):
    for path in (f"{QUERY}?query=1&time=4", f"{QUERY}?query=("):
        answer = served.call("GET", path, None, {"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == ("gzip" if is_gzip else None)
        assert json.loads(gzip.decompress(answer.body) if is_gzip else answer.body)["status"]


@pytest.mark.parametrize("path", ["/prometheus/x", "/prometheus/api/v2/query", f"{QUERY}/", "/prometheus/api/v1/status/flags", "/prometheus/api/v1/status/config", "/prometheus/api/v1/label//values", "/prometheus/api/v1/admin/tsdb/delete_series", "/prometheus/federate"])  # fmt: skip
def test_unknown_paths_are_404_in_json(served, path):
    assert served.call("GET", path).error[:2] == (404, "not_found")
    assert served.call("POST", path, b"x" * 100_000).error[:2] == (404, "not_found")


def test_methods_cannot_be_smuggled(served):
    answer = served.call(
        "GET", "/prometheus/api/v1/write", None, {"X-HTTP-Method-Override": "POST"}
    )
    assert answer.error[:2] == (405, "method_not_allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert served.call("DELETE", QUERY).headers["allow"] == "GET, OPTIONS, POST"
    assert served.call("HEAD", QUERY).status == 405


def test_error_texts_stay_inside_json(served):
    hostile = '"><img src=x onerror=alert(1)>\r\nX-Evil: 1'
    answer = served.get("query", query=hostile)
    assert answer.headers["content-type"] == "application/json"
    assert "x-evil" not in answer.headers
    assert answer.json["errorType"] == "bad_data"


def test_limits_on_bodies_expressions_and_answers(serve):
    server = serve(
        PrometheusSettings(
            form_bytes_max=2000,
            push_bytes_max=2000,
            expression_bytes_max=1000,
            answer_bytes_max=4000,
        )
    )
    server.push([a_counter("m", {"i": str(i)}, count=5) for i in range(3)])
    big = b"query=1&x=" + b"y" * 3000
    assert server.call("POST", QUERY, big, FORM).error[:2] == (413, "bad_data")
    assert server.call("POST", "/prometheus/api/v1/write", bytes(3000)).status == 413
    chunked = (
        f"POST {QUERY} HTTP/1.1\r\nHost: x\r\nX-TC-APP-KEY: {server.keys['a']}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1000\r\n" + "y" * 4096 + "\r\n0\r\n\r\n"
    )
    assert raw(server, chunked.encode()).startswith(b"HTTP/1.1 413")
    status, error_type, text = server.get("query", query="1" + "+1" * 600).error
    assert (status, error_type) == (400, "bad_data")
    assert "longer than the 1000 bytes" in text
    status, error_type, text = server.get(
        "query_range", query="m", start=T0, end=T0 + 300, step=1
    ).error
    assert (status, error_type) == (422, "execution")
    assert "4000" in text
    assert server.get("query", query="1").status == 200


def test_compressed_forms_are_not_accepted(served):
    headers = {**FORM, "Content-Encoding": "gzip"}
    answer = served.call("POST", QUERY, gzip.compress(b"query=1"), headers)
    assert answer.error[:2] == (415, "bad_data")


def test_the_sample_budget_is_prometheus_error(serve):
    server = serve(PrometheusSettings(queries=RunnerSettings(limits=QueryLimits(samples_max=10))))
    server.push([a_counter("m", {"i": str(i)}) for i in range(20)])
    assert server.get("query", query="m[10m]", time=END).error == (
        422,
        "execution",
        "query processing would load too many samples into memory in query execution",
    )


HEAVY = "sum(" * 3 + "max_over_time(rate(busy[5m])[2h:1s])" + ")" * 3


@pytest.fixture
def busy(serve):
    """A server with series that keep HEAVY busy for many seconds."""
    server = serve(PrometheusSettings(queries=RunnerSettings(concurrency=4, tenant_concurrency=2)))
    server.push([a_counter("busy", {"i": str(i)}, count=400) for i in range(300)])
    server.push([a_counter("calm", {})], key="b")
    return server


def heavy_path(timeout: str = "60s") -> str:
    parameters = {
        "query": HEAVY, "start": T0, "end": T0 + 11_000, "step": 1, "timeout": timeout
    }  # fmt: skip
    return "/prometheus/api/v1/query_range?" + urlencode(parameters)


def test_a_timeout_ends_the_query_soon(busy):
    begun = time.monotonic()
    status, error_type, text = busy.call("GET", heavy_path("300ms")).error
    assert (status, error_type) == (503, "timeout")
    assert text == "query timed out in expression evaluation"
    assert time.monotonic() - begun < 10


def test_work_stops_when_the_client_hangs_up_and_peers_go_on(busy):
    request = (
        f"GET {heavy_path()} HTTP/1.1\r\nHost: x\r\nX-TC-APP-KEY: {busy.keys['a']}\r\n\r\n".encode()
    )
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        connections = []
        for _ in range(4):
            connection = socket.create_connection(("127.0.0.1", busy.port))
            connection.sendall(request)
            connections.append(connection)
        answers = pool.map(lambda _: busy.get("query", query="calm", time=END, key="b"), range(20))
        assert all(answer.data["result"] for answer in answers)
        for connection in connections:
            connection.close()
    # Both workers of project a come free long before the queries could have been answered.
    deadline = time.monotonic() + 15
    while busy.get("query", query="vector(1)", timeout="14s").status != 200:
        assert time.monotonic() < deadline


def test_a_large_answer_is_streamed_and_whole(serve):
    server = serve()
    series = 120
    server.push([a_counter("m", {"i": f"{i:04d}"}, 0.1, count=200) for i in range(series)])
    path = f"/prometheus/api/v1/query_range?query=m&start={T0}&end={T0 + 2900}&step=1"
    plain = server.call("GET", path)
    assert plain.headers.get("transfer-encoding") == "chunked"
    assert len(plain.body) > 4 << 20
    found = plain.data["result"]
    assert [entry["metric"]["i"] for entry in found] == [f"{i:04d}" for i in range(series)]
    assert all(len(entry["values"]) == 2901 for entry in found)
    packed = server.call("GET", path, None, {"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == plain.body


def test_no_further_piece_is_made_for_a_client_that_has_gone():
    made: list[int] = []

    def rest():
        for number in range(1000):
            made.append(number)
            yield b"x"

    async def stream() -> None:
        left = asyncio.Event()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            left.set()
            await asyncio.sleep(0)

        await api._stream(rest(), receive, send)

    asyncio.run(stream())
    # The one that was sent, the one that was made meanwhile, and perhaps one more.
    assert len(made) <= 3


def test_a_slow_body_is_cut_off(serve):
    server = serve(PrometheusSettings(bodies=BodySettings(grace_s=0.2)))
    request = (
        f"POST {QUERY} HTTP/1.1\r\nHost: x\r\nX-TC-APP-KEY: {server.keys['a']}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nquery="
    )
    answer = raw(server, request.encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"status":"error"' in answer


def test_bodies_in_hand_are_bounded(serve):
    server = serve(PrometheusSettings(bodies=BodySettings(in_hand_bytes_max=1000)))
    answer = server.call("POST", QUERY, b"query=1&x=" + b"y" * 2000, FORM)
    assert answer.error[:2] == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    for _ in range(50):
        assert server.post("query", query="1+1", time=4).data["result"] == [4, "2"]


def test_status_pages(served):
    for method in ("GET", "POST"):
        data = served.call(method, "/prometheus/api/v1/status/buildinfo").data
        assert data["version"].split(".")[0] == "3"
        assert all(isinstance(value, str) for value in data.values())
        assert "features" not in data
    runtime = served.get("status/runtimeinfo").data
    assert runtime["storageRetention"] == "365d"
    assert runtime["CWD"] == runtime["hostname"] == ""
    tsdb = served.get("status/tsdb", limit=1).data
    assert tsdb["headStats"]["numSeries"] == 12
    assert tsdb["seriesCountByMetricName"] == [{"name": "special", "value": 7}]


def test_stats_where_they_are_asked_for(served):
    assert "stats" not in served.get("query", query="requests_total", time=END).data
    stats = served.get("query", query="requests_total", time=END, stats="all").data["stats"]
    assert stats["timings"].keys() >= {"evalTotalTime", "execTotalTime", "execQueueTime"}
    assert stats["samples"]["totalQueryableSamples"] >= 3


class Targets:
    """What a collector would tell; the one target is project a's."""

    def __init__(self, project: str) -> None:
        self.project = project

    def active_targets(self, tenant):
        if tenant.project != self.project:
            return []
        labels = (("instance", "h:9100"), ("job", "node"))
        return [
            ActiveTarget(labels, labels, "node", "http://h:9100/metrics", "", END * 1000, 0.25, "up", 60_000, 1500)
        ]  # fmt: skip


def test_targets_have_health_and_belong_to_their_project(serve):
    server = serve()
    object.__setattr__(
        server.backend, "targets", Targets(server.control.projects.list()[0].project_id)
    )
    (target,) = server.get("targets").data["activeTargets"]
    assert target["health"] == "up"
    assert target["lastScrape"] == "2023-11-14T22:23:20.000Z"
    assert (target["scrapeInterval"], target["scrapeTimeout"]) == ("60s", "1500ms")
    assert server.get("targets", key="b").data["activeTargets"] == []
    assert server.get("targets", state="dropped").data["activeTargets"] == []
    assert server.get("scrape_pools").data == {"scrapePools": ["node"]}


def test_a_bug_is_told_without_its_cause(serve):
    server = serve()
    object.__setattr__(server.backend, "engine", None)
    status, error_type, text = server.get("query", query="1").error
    assert (status, error_type) == (500, "internal")
    assert "NoneType" not in text
    assert "request id test-" in text


QUERIES_OF_DEATH = [
    '{__name__=~".+"}[5y:1s]',
    "max_over_time(" * 6 + "busy" + "[1h:1s])" * 6,
    "(" * 10_000 + "1" + ")" * 10_000,
    " or ".join(["busy"] * 5_000),
    "sum(" * 3_000 + "busy" + ")" * 3_000,
    'busy{a=~"' + "(a|b)*" * 2_000 + '"}',
    "1" * 1_000_000,
    "-" * 15_000 + "1",
]


@pytest.mark.parametrize("text", QUERIES_OF_DEATH, ids=lambda text: text[:20])
def test_queries_of_death_are_prometheus_errors(served, text):
    answer = served.post("query", query=text, timeout="2s", time=END)
    if answer.status != 200:
        status, error_type, _ = answer.error
        assert (status, error_type) in {
            (400, "bad_data"), (422, "execution"), (503, "timeout")
        }  # fmt: skip


def test_pushes_are_seen_by_the_next_query(serve):
    server = serve()
    for value in range(20):
        body = write_body([({"__name__": "p"}, [(T0 * 1000 + value * 1000, float(value))])])
        assert server.call("POST", "/prometheus/api/v1/write", body).status == 204
        result = server.get("query", query="p", time=T0 + value).data["result"]
        assert result[0]["value"] == [T0 + value, str(value)]
