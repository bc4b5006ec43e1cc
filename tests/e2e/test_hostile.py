"""Threats against the running service: bombs, slow clients, regexes, queries of death, method confusion, leaks.

One service for the module; a second project asks a cheap question all the while and must be answered quickly.
"""

import http.client
import json
import re
import socket
import threading
import time
import urllib.parse

import psutil
import pytest

from e2e.service import Service, eventually

CAP_BYTES = 32 << 20
QUERY_TIMEOUT_S = 3
# What a query may take beyond its timeout, and the other project's cheap one in the meantime: it takes
# milliseconds, but the machine that tests this may have more to do.
GRACE_S = 1.0
NEIGHBOUR_S = 5.0
SERIES, SAMPLES, STEP_MS = 1_000, 200, 15_000


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """(service, neighbour's key): a thousand series of an hour, and a neighbour with one of its own."""
    service = Service(tmp_path_factory.mktemp("hostile") / "data").start()
    neighbour = service.cli("projects", "create", "neighbour")["appkey"]
    now_ms = int(time.time() * 1000) // STEP_MS * STEP_MS
    times = [now_ms - STEP_MS * (SAMPLES - place) for place in range(SAMPLES)]
    series = [
        (
            {"__name__": "big", "job": "load", "id": f"{number:06d}", "long": "a" * 2_000},
            [
                (time_ms, float((number * 7919 + place) % 1000))
                for place, time_ms in enumerate(times)
            ],
        )
        for number in range(SERIES)
    ]
    assert service.push(series)[0] == 204
    mine = [({"__name__": "mine"}, [(now_ms, 1.0)])]
    eventually(lambda: service.push(mine, neighbour)[0] == 204)
    yield service, neighbour
    service.stop()


@pytest.fixture
def quick_neighbour(attacked):
    """Fails the test where the other project waited for an answer."""
    service, key = attacked
    done, slowest = threading.Event(), [0.0]

    def ask():
        while not done.wait(0.05):
            begun = time.monotonic()
            assert service.prometheus("query", key=key, query="mine")["resultType"] == "vector"
            slowest[0] = max(slowest[0], time.monotonic() - begun)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    done.set()
    thread.join()
    assert slowest[0] < NEIGHBOUR_S


def post(service, endpoint, **form):
    """(status, body, seconds until the answer began) of a form sent to the Prometheus API.

    The body is parsed where it is an error: others may be hundreds of megabytes.
    """
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    begun = time.monotonic()
    try:
        connection.request(
            "POST",
            f"/prometheus/api/v1/{endpoint}",
            urllib.parse.urlencode(form),
            {
                "X-TC-APP-KEY": service.key,
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        answer = connection.getresponse()
        took_s = time.monotonic() - begun
        if answer.status == 200:
            return 200, None, took_s
        return answer.status, json.loads(answer.read()), took_s
    finally:
        connection.close()


def hour(**form):
    """A range query over the last hour at about 11,000 steps."""
    now = time.time()
    return {"start": now - 3_600, "end": now, "step": "0.33", **form}


DEATHS = {
    "everything for five years": {"query": '{__name__=~".+"}[5y:1s]'},
    "six subqueries": {"query": "max_over_time(" * 6 + "big" + "[10m:1s])" * 6},
    "distinct floats": hour(query='count_values("v", big + time())'),
    "many to many": {"query": "big * on(job) group_left big"},
    "quantiles": hour(query="quantile_over_time(0.5, big[1h])"),
    "regressions": hour(query="predict_linear(big[1h], 60)"),
    "rates": hour(query="rate(big[1h])"),
    "terms of or": hour(query=" or ".join(["big"] * 2_000)),
    "five thousand terms": {"query": " or ".join(["x"] * 5_000)},
    "ten thousand parentheses": {"query": "(" * 10_000 + "1" + ")" * 10_000},
    "a hundred times a hundred": {"query": "(" * 2_000 + "1" + ")" * 2_000},
    "a megabyte": {"query": "1+" * 500_000 + "1"},
    "a label of ten thousand": {
        "query": f"big * on(job) group_left({','.join(f'l{n}' for n in range(1_500))}) big"
    },
    "11,002 points": {"query": "1", "start": 0, "end": 11_001, "step": 1},
    "no step": {"query": "1", "start": 0, "end": 1, "step": "0.0000001"},
    "negative step": {"query": "1", "start": 0, "end": 1, "step": "-1"},
    "NaN": {"query": "1", "start": 0, "end": 1, "step": "NaN"},
    "year 292278025": {"query": "big", "time": "+292278025-01-01T00:00:00Z"},
}


@pytest.mark.usefixtures("quick_neighbour")
@pytest.mark.parametrize("name", DEATHS)
def test_queries_of_death_are_refused_or_answered_in_time(attacked, name):
    """S13: 400, 422 or 503 with a Prometheus error (or an answer) within timeout + 1 s."""
    service, _ = attacked
    form = {"timeout": QUERY_TIMEOUT_S, **DEATHS[name]}
    status, answer, took_s = post(service, "query_range" if "step" in form else "query", **form)
    if status != 200:
        kinds = {400: "bad_data", 422: "execution", 503: "timeout"}
        assert (answer["status"], answer["errorType"]) == ("error", kinds[status]), answer
        assert took_s < QUERY_TIMEOUT_S + GRACE_S
    # The timeout ends with the evaluation; an answer of hundreds of megabytes has yet to be begun.
    assert took_s < 2 * (QUERY_TIMEOUT_S + GRACE_S)


@pytest.mark.parametrize(
    "query", ["quantile_over_time(0.5, big[1h])", " or ".join(["big"] * 2_000)]
)
def test_the_work_stops_when_the_client_hangs_up(attacked, query):
    """S13: nobody computes for someone who has gone."""
    service, _ = attacked
    process = psutil.Process(service.process.pid)
    body = urllib.parse.urlencode(hour(query=query)).encode()
    head = (
        "POST /prometheus/api/v1/query_range HTTP/1.1\r\nHost: x\r\n"
        f"X-TC-APP-KEY: {service.key}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(head.encode() + body)
        eventually(lambda: process.cpu_percent(0.2) > 30)
    eventually(lambda: process.cpu_percent(0.5) < 30, seconds=QUERY_TIMEOUT_S)


PATTERNS = {
    '{long=~"(a+)+$"}': 200,
    '{long=~"(x*)*y"}': 200,
    '{long=~"' + "(.*)" * 50 + 'z"}': 200,
    '{long=~"' + "|".join(f"alternative{n}" for n in range(800)) + '"}': 200,
    '{long=~"(?s).{1000}{1000}"}': 400,
    r'{long=~"\\C"}': 400,
    r'{long=~"(a)\\1"}': 400,
    '{long=~"(?=a)"}': 400,
    '{long=~"(?<!a)b"}': 400,
    '{long=~"((a{100}){100}){100}"}': 400,
    'label_replace(big, "x", "$1", "long", "(a+)+$")': 200,
    'label_replace(big, "x", "$1", "long", "(?=a)")': 422,
}


@pytest.mark.usefixtures("quick_neighbour")
@pytest.mark.parametrize("expression", PATTERNS, ids=lambda text: text[:30])
def test_a_pattern_is_linear_or_refused(attacked, expression):
    """S12: on a thousand labels of 2 KB."""
    service, _ = attacked
    status, answer, took_s = post(service, "query", query=expression, timeout=QUERY_TIMEOUT_S)
    assert status == PATTERNS[expression], answer
    assert took_s < GRACE_S


def test_a_pattern_of_100_kilobytes_is_refused(attacked):
    service, _ = attacked
    pattern = "|".join(f"alternative{number}" for number in range(7_000))
    status, answer, _ = post(service, "series", **{"match[]": f'big{{long=~"{pattern}"}}'})
    assert (status, answer["errorType"]) == (400, "bad_data")


def raw_push(service, body, **headers):
    """(status, text) of a body that is posted to remote write as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        sent = {
            "X-TC-APP-KEY": service.key,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            **headers,
        }
        connection.request("POST", "/prometheus/api/v1/write", body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_push_bombs_are_refused_before_they_are_inflated(attacked):
    """S10: memory grows by less than two caps, over all of them together."""
    service, _ = attacked
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    filler = b"\0" * 4096
    for declared in (b"\x80\x80\x80\x80\x04", b"\xff\xff\xff\xff\x0f"):
        status, text = raw_push(service, declared + filler)
        assert status == 400
        assert "exceeds limit 33554432" in text
    # 33 MiB declared honestly, as copies of one byte: 64 bytes for every three.
    status, _ = raw_push(service, b"\x80\x80\x80\x10" + b"\0a" + b"\xfe\x01\0" * 500_000)
    assert status == 400
    assert raw_push(service, filler, **{"Content-Encoding": "gzip, gzip"})[0] == 415
    assert raw_push(service, filler, **{"Content-Encoding": "gzip"})[0] == 415
    assert raw_push(service, b"\0" * (CAP_BYTES + 1))[0] == 413
    assert process.memory_info().rss - before < 2 * CAP_BYTES


BAD_JSON = {
    "nested": b"[" * 100_000,
    "a million keys": b"{" + b",".join(b'"%d":1' % number for number in range(60_000)) + b"}",
    "number": b'{"jobName":"x","metricsPath":"/m","z":1e999999}',
    "digits": b'{"jobName":"x","metricsPath":"/m","z":' + b"9" * 10_000 + b"}",
    "key twice": b'{"jobName":"x","jobName":"y","metricsPath":"/m"}',
    "not UTF-8": b'{"jobName":"\xff","metricsPath":"/m"}',
    "no JSON": b"{",
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_bad_input(attacked, name):
    """S10 and "malformed JSON -40002"."""
    service, _ = attacked
    status, answer = guide(service, "POST", "/jobs", BAD_JSON[name])
    assert (status, answer["header"]["resultCode"]) == (200, -40002)


def guide(service, method, path, body=b"", **headers):
    """(status, parsed envelope) of a call of the guide with a body as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    sent = {
        "X-TC-APP-KEY": service.key,
        "X-SYSMON-REGION": "kr",
        "Content-Type": "application/json",
        **headers,
    }
    try:
        connection.request(method, f"/v1.0/projects/{service.project}{path}", body, sent)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


@pytest.mark.usefixtures("quick_neighbour")
def test_slow_clients_keep_nobody_waiting(attacked):
    """S11: a hundred heads and a hundred bodies that never end."""
    service, key = attacked
    clients = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(200)]
    try:
        for number, client in enumerate(clients):
            head = f"POST /prometheus/api/v1/query HTTP/1.1\r\nX-TC-APP-KEY: {service.key}\r\n"
            if number % 2:
                head += "Transfer-Encoding: chunked\r\nHost: x\r\n\r\n1\r\nq\r\n"
            client.sendall(head.encode())
        for _ in range(5):
            begun = time.monotonic()
            assert service.value("mine", key=key) == 1
            assert time.monotonic() - begun < NEIGHBOUR_S
    finally:
        for client in clients:
            client.close()


def test_nothing_is_changed_by_a_method_that_may_not(attacked):
    """S18: neither by GET, nor by a form of another origin, nor by an override header."""
    service, _ = attacked
    draft = b'{"jobName":"forged","metricsPath":"/m"}'
    for method, headers in (
        ("POST", {"Content-Type": "text/plain", "Origin": "http://evil.example"}),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("GET", {"X-HTTP-Method-Override": "POST"}),
        ("HEAD", {}),
        ("OPTIONS", {"Origin": "http://evil.example"}),
    ):
        guide(service, method, "/jobs", draft, **headers)
    listed = service.guide("GET", "/jobs")
    assert [job["jobName"] for job in listed] == ["@Linux"]
    job = service.guide("POST", "/jobs", {"jobName": "kept", "metricsPath": "/m"})["jobId"]
    for method in ("GET", "HEAD", "POST", "PATCH"):
        guide(service, method, f"/jobs/{job}", **{"X-HTTP-Method-Override": "DELETE"})
    assert service.guide("GET", f"/jobs/{job}")["jobName"] == "kept"
    assert service.guide("DELETE", f"/jobs/{job}") == job


HOSTILE_IDS = [
    *("..", "../x", "%2e%2e", "%2f", "%2e%2e%2f%2e%2e", "%00", "a" * 300, "CON", "nul.txt"),
    *("p%D0%B0", "%E2%80%AEabc", "//evil.example", "%5Cevil", "%0d%0aSet-Cookie:%20x=1", "%1b[31m"),
]


def test_ids_reach_no_file_no_header_and_no_log_line(attacked):
    """S1, S19: ids out of a path are 403, 404 or missing, and leave nothing behind."""
    service, _ = attacked
    root = service.data.parent
    before = {path for path in root.rglob("*") if path.is_dir()}
    lines = len(service.output)
    for bad in HOSTILE_IDS:
        for path in (f"/v1.0/projects/{bad}/jobs", f"/v1.0/projects/{service.project}/jobs/{bad}"):
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
            headers = {"X-TC-APP-KEY": service.key, "X-SYSMON-REGION": "kr"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
            connection.close()
            assert answer.getheader("Set-Cookie") is None
            assert answer.getheader("Location") is None
            found = (answer.status, body["header"]["resultCode"])
            assert found in {(403, 403), (404, 404), (200, -40006)}, (path, found)
    assert {path for path in root.rglob("*") if path.is_dir()} == before
    for line in service.output[lines:]:
        assert line.rstrip("\n").isprintable()


def test_the_key_and_tenants_words_are_not_in_the_services_own_voice(attacked):
    """S17: not in the process list, the log, /metrics or an error; nor is a project's own text."""
    service, neighbour = attacked
    for path in (
        f"/prometheus/api/v1/query?query={service.key}{{",
        f"/prometheus/api/v1/{service.key}",
        f"/v1.0/projects/{service.project}/jobs?appkey={service.key}",
    ):
        service.request("GET", path, key="wrong")
    process = psutil.Process(service.process.pid)
    shown = " ".join(process.cmdline())
    everyone = psutil.process_iter(["cmdline"])
    listed = "\n".join(" ".join(each.info["cmdline"] or ()) for each in everyone)
    with socket.create_connection(("127.0.0.1", service.admin_port)) as admin:
        admin.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        metrics = b"".join(iter(lambda: admin.recv(65_536), b"")).decode()
    log = "".join(line for line in service.output if line.startswith("{"))
    for text in (shown, listed, metrics, log):
        assert service.key not in text
        assert neighbour not in text
    # The operator sees who uses how much of which limit, and nothing else by project.
    ours = [line for line in metrics.splitlines() if service.project in line]
    assert all(re.match(r"meterhall_project_(limit|usage|refused)\{", line) for line in ours)
    assert "big" not in re.findall(r'="([^"]*)"', metrics)


def test_its_own_metrics_move(attacked):
    """Scrapes, samples, queries, latencies, loop lag and log size, on the admin listener."""
    service, _ = attacked

    def read():
        connection = http.client.HTTPConnection("127.0.0.1", service.admin_port, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return dict(
            line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
        )

    growing = [
        *('meterhall_scrapes_total{outcome="ok"}', "meterhall_scrape_duration_seconds_count"),
        *('meterhall_samples_appended_total{source="scrape"}', "meterhall_wal_bytes"),
        *(
            'meterhall_samples_appended_total{source="push"}',
            "meterhall_query_duration_seconds_count",
        ),
        *(
            'meterhall_queries_total{outcome="answered"}',
            "meterhall_wal_fsync_duration_seconds_count",
        ),
        'meterhall_http_requests_total{status="2xx"}',
    ]
    first = read()
    service.prometheus("query", query="big")
    now_ms = int(time.time() * 1000)
    assert service.push([({"__name__": "moved"}, [(now_ms, 1.0)])])[0] == 204
    eventually(lambda: all(float(read()[name]) > float(first[name]) for name in growing))
    assert 0 <= float(first["meterhall_event_loop_lag_seconds"]) < 60
    # Told every few seconds.
    eventually(lambda: float(read()["meterhall_head_series"]) > SERIES)


@pytest.mark.parametrize("key", ["", " ", "null", "a,,b", ",", "undefined", "\u00e9", "x" * 5_000])
def test_keys_that_are_none(attacked, key):
    """S20: an empty or stray key opens nothing."""
    service, _ = attacked
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("GET", "/prometheus/api/v1/labels", headers={"X-TC-APP-KEY": key})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert (answer.status, body["errorType"]) == (401, "unauthorized")


def test_the_key_counts_in_its_one_header_only(attacked):
    """S2: twice is once too often; the query string, a cookie or another header is no place for it."""
    service, _ = attacked
    name, key = "X-TC-APP-KEY", service.key
    for headers in (
        [(name, key), (name.lower(), key)],
        [(name, f"{key}, {key}")],
        [("Cookie", f"{name}={key}")],
        [("Authorization", f"Bearer {key}")],
        [("X-Original-URL", f"/prometheus/api/v1/labels?appkey={key}")],
        [],
    ):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.putrequest("GET", f"/prometheus/api/v1/labels?{name}={key}&appkey={key}")
        for header in headers:
            connection.putheader(*header)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 401, headers
