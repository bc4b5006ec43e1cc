"""Who may call, what HTTP refuses, and every code of the guide's tables, over a real socket."""

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from meterhall.control.keys import KeyDraft
from meterhall.control.local_host import ensure_local_host
from meterhall.telemetry.metrics import REGISTRY
from meterhall.web.guide.app import GuideSettings

JOB = {"jobName": "api", "metricsPath": "/m"}
CALLS = [
    ("GET", "/jobs"),
    ("POST", "/jobs"),
    ("GET", "/jobs/{job}"),
    ("PUT", "/jobs/{job}"),
    ("DELETE", "/jobs/{job}"),
    ("POST", "/jobs/{job}"),
    ("GET", "/jobs/{job}/targets"),
    ("POST", "/jobs/{job}/targets"),
    ("GET", "/jobs/{job}/targets/{target}"),
    ("DELETE", "/jobs/{job}/targets/{target}"),
    ("GET", "/servers"),
]


def refused(answer, code: int, message: str, status: int = 200) -> None:
    """The envelope of a refusal: nothing missing, nothing beside it, keys in order."""
    assert answer.status == status, answer.content
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.envelope) == ["header", "body"]
    header = answer.envelope["header"]
    assert list(header) == ["isSuccessful", "resultCode", "resultMessage", "detail"]
    assert header["isSuccessful"] is False
    assert (header["resultCode"], header["resultMessage"]) == (code, message), header
    assert header["detail"]
    assert "\n" not in header["detail"]
    assert answer.envelope["body"] is None


def unauthorized(answer) -> None:
    refused(answer, 401, "UNAUTHORIZED", 401)


def forbidden(answer) -> None:
    refused(answer, 403, "FORBIDDEN", 403)


def bad_input(answer) -> None:
    refused(answer, -40002, "BAD_INPUT_VALUE")


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_wants_a_key_of_its_project(
    tenancy, make_tenancy, never_was, method: str, path: str
) -> None:
    path = path.format(job=never_was, target=never_was)
    for key in ("", " ", "wrong", "null", tenancy.key + "x", tenancy.key[:-1], "\xe9"):
        unauthorized(tenancy.call(method, path, JOB, key=key))
    other = make_tenancy()
    forbidden(tenancy.call(method, path, JOB, key=other.key))


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_scopes(tenancy, never_was, method: str, path: str) -> None:
    """Changes want `manage`; reads want `query` or `manage`; `write` alone may do neither."""
    path = path.format(job=never_was, target=never_was)
    allowed = {"manage", "query"} if method == "GET" else {"manage"}
    for scope in ("manage", "query", "write"):
        answer = tenancy.call(method, path, JOB, key=tenancy.scoped_key(scope))
        if scope in allowed:
            assert answer.status == 200
        else:
            forbidden(answer)


def test_keys_of_one_class_are_refused_in_the_same_words(tenancy) -> None:
    """S17: unknown, revoked and expired keys look alike."""
    keys = tenancy.served.control.keys
    revoked = keys.create(tenancy.project_id, KeyDraft("revoked"))
    keys.revoke(revoked.key_id)
    answers = {
        tenancy.call("GET", "/jobs", key=key).content
        for key in (revoked.secret, "x" * 43, tenancy.key[:-1], "y", "k" * 5000)
    }
    assert len(answers) == 1


def test_projects_of_others_look_like_projects_that_never_were(tenancy, make_tenancy) -> None:
    other = make_tenancy()
    answers = {
        tenancy.served.send(
            "GET", f"/v1.0/projects/{project}/jobs", [("X-TC-APP-KEY", tenancy.key)]
        ).content
        for project in (
            other.project_id, "aOpreudC", "%2e%2e", "%5c..", "%00", "x" * 300, "CON",
            "%D0%B0OpreudC", "%E2%80%AE", tenancy.project_id.swapcase(), tenancy.project_id + "%20",
        )
    }  # fmt: skip
    assert len(answers) == 1


def test_only_the_one_genuine_header_counts(tenancy, make_tenancy) -> None:
    """S2: no other header, no query string and no second key names a tenant."""
    other = make_tenancy()
    send, path = tenancy.served.send, f"{tenancy.root}/servers"
    region = ("X-SYSMON-REGION", "kr")
    forged = [
        ("X-Scope-OrgID", other.project_id),
        ("AccountID", other.project_id),
        ("ProjectID", other.project_id),
        ("THANOS-TENANT", other.project_id),
        ("X-Forwarded-Host", "evil"),
        ("X-Original-URL", f"{other.root}/servers"),
        ("Cookie", f"X-TC-APP-KEY={other.key}"),
        ("Authorization", f"Bearer {other.key}"),
    ]
    good = send("GET", path, [("x-tc-app-key", tenancy.key), region, *forged])
    assert [server["hostId"] for server in good.body] == [tenancy.host_id]
    for keys in ([tenancy.key, tenancy.key], [tenancy.key, other.key], [tenancy.key, ""]):
        twice = [("X-TC-APP-KEY", keys[0]), ("x-tc-app-key", keys[1]), region]
        unauthorized(send("GET", path, twice))
    unauthorized(send("GET", f"{path}?X-TC-APP-KEY={tenancy.key}", [region, *forged]))
    unauthorized(send("GET", f"{path}?appkey={tenancy.key}", [region]))
    both = send("GET", f"{path}?X-TC-APP-KEY={other.key}", [("X-Tc-App-Key", tenancy.key), region])
    assert [server["hostId"] for server in both.body] == [tenancy.host_id]


def test_no_method_is_smuggled(tenancy) -> None:
    """S18: what changes state wants its own method, the header and a JSON body."""
    job_id = tenancy.make_job()
    override = [
        ("X-TC-APP-KEY", tenancy.key),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
    ]
    tenancy.served.send("GET", f"{tenancy.root}/jobs/{job_id}?_method=DELETE", override)
    tenancy.served.send("HEAD", f"{tenancy.root}/jobs/{job_id}", override)
    assert tenancy.call("GET", f"/jobs/{job_id}").body["jobId"] == job_id
    form = [
        ("X-TC-APP-KEY", tenancy.key),
        ("X-SYSMON-REGION", "kr"),
        ("Origin", "https://evil.example"),
    ]
    for content_type, content in (
        ("application/x-www-form-urlencoded", b"jobName=x&metricsPath=/m"),
        ("text/plain", b'{"jobName": "x", "metricsPath": "/m"}'),
        ("multipart/form-data; boundary=b", b"--b--"),
    ):
        answer = tenancy.served.send(
            "POST", f"{tenancy.root}/jobs", [*form, ("Content-Type", content_type)], content
        )
        bad_input(answer)
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
    assert len(tenancy.call("GET", "/jobs").body) == 1


@pytest.mark.parametrize(
    "path",
    ["/", "", "/jobs/", "/job", "/jobs/x/targets/y/z", "/jobs/x/other", "/hosts", "/../../etc/passwd",
     "/jobs/x/targets/", "//jobs", "/JOBS", "/jobs/..%2f..%2f..%2fx", "%2f..%2fx/jobs"],
)  # fmt: skip
def test_unknown_paths(tenancy, path: str) -> None:
    refused(tenancy.call("GET", path), 404, "NOT_FOUND", 404)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/jobs", "GET, POST"),
        ("/jobs/x", "DELETE, GET, POST, PUT"),
        ("/jobs/x/targets", "GET, POST"),
        ("/jobs/x/targets/y", "DELETE, GET"),
        ("/servers", "GET"),
    ],
)
def test_wrong_methods(tenancy, path: str, allow: str) -> None:
    for method in {"DELETE", "PATCH", "PUT", "POST", "OPTIONS", "TRACE"} - set(allow.split(", ")):
        answer = tenancy.call(method, path)
        refused(answer, 405, "METHOD_NOT_ALLOWED", 405)
        assert answer.headers["allow"] == allow
    assert tenancy.call("HEAD", path).status == 405


def test_regions(tenancy) -> None:
    for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("GET", "/servers")):
        for region in (None, "", "us", "KR", "kr,jp", "kr2"):
            bad_input(tenancy.call(method, path, JOB, region=region))
    job = tenancy.call("POST", "/jobs", JOB, region="jp").body
    assert tenancy.call("GET", "/jobs", region="jp").body == [job]
    assert tenancy.call("GET", "/jobs").body == []
    path = f"/jobs/{job['jobId']}"
    for region in (None, "jp"):
        assert tenancy.call("GET", path, region=region).body == job
    for region in ("kr", "us", ""):
        bad_input(tenancy.call("GET", path, region=region))
        bad_input(tenancy.call("PUT", path, {"metricsPath": "/m"}, region=region))
        bad_input(tenancy.call("DELETE", path, region=region))
        bad_input(tenancy.call("GET", f"{path}/targets", region=region))
    twice = [("X-TC-APP-KEY", tenancy.key), ("X-SYSMON-REGION", "kr"), ("X-SYSMON-REGION", "kr")]
    bad_input(tenancy.served.send("GET", f"{tenancy.root}/jobs", twice))
    # The host is in kr, the workspace in jp.
    draft = {"hostId": tenancy.host_id, "port": 9100}
    answer = tenancy.call("POST", f"{path}/targets", draft, region=None)
    refused(answer, -40004, "INVALID_HOST_OR_PROJECT")


@pytest.mark.parametrize(
    "change",
    [{"jobName": None}, {"jobName": 5}, {"jobName": "@x"}, {"jobName": ""}, {"jobName": "x" * 65},
     {"jobName": "a b"}, {"metricsPath": None}, {"metricsPath": "m"}, {"metricsPath": ["/m"]},
     {"metricsPath": "/m\r\nX: y"}, {"metricsPath": "http://169.254.169.254/"}, {"metricsPath": "//h/m"},
     {"description": 5}, {"description": "x" * 1025}, {"description": "\0"}, {"jobName": True}],
)  # fmt: skip
def test_wrong_workspaces(tenancy, change: dict[str, object]) -> None:
    bad_input(tenancy.call("POST", "/jobs", JOB | change))
    assert tenancy.call("GET", "/jobs").body == []


def test_workspace_bodies(tenancy) -> None:
    made = tenancy.call("POST", "/jobs", JOB | {"description": "", "port": 1, "x": {"y": [1]}}).body
    assert made["description"] is None
    refused(tenancy.call("POST", "/jobs", JOB), -40001, "ALREADY_EXIST")
    path = f"/jobs/{made['jobId']}"
    bad_input(tenancy.call("PUT", path, {"description": "x"}))
    bad_input(tenancy.call("PUT", path, {"metricsPath": "/m", "jobName": "other"}))
    bad_input(tenancy.call("PUT", path, {"metricsPath": "/m", "jobName": None}))
    put = tenancy.call("PUT", path, {"metricsPath": "/m?a=b", "jobName": "api", "description": "d"})
    assert (put.body["metricsPath"], put.body["description"]) == ("/m?a=b", "d")
    assert tenancy.call("PUT", path, {"metricsPath": "/n"}).body["description"] == "d"
    for empty in (None, ""):
        body = {"metricsPath": "/n", "description": empty}
        assert tenancy.call("PUT", path, body).body["description"] is None
        tenancy.call("PUT", path, {"metricsPath": "/n", "description": "d"})


@pytest.mark.parametrize("job_id", ["never", "%2e%2e", "%00", "x" * 300, "%E2%80%AE", "CON", "%ff"])
def test_missing_jobs(tenancy, never_was, job_id: str) -> None:
    """S1: an id is looked up or missing, whatever it spells."""
    for path in (f"/jobs/{never_was}", f"/jobs/{job_id}"):
        target = {"hostId": tenancy.host_id, "port": 1}
        for answer in (
            tenancy.call("GET", path),
            tenancy.call("PUT", path, {"metricsPath": "/m"}),
            tenancy.call("DELETE", path),
            tenancy.call("GET", f"{path}/targets"),
            tenancy.call("POST", f"{path}/targets", target),
            tenancy.call("POST", path, target),
            tenancy.call("GET", f"{path}/targets/{never_was}"),
            tenancy.call("DELETE", f"{path}/targets/{never_was}"),
        ):
            refused(answer, -40006, "NOT_FOUND_JOB")


def test_no_id_becomes_a_file(tenancy) -> None:
    """S1: the data directory holds the database and nothing that a request named."""
    before = {file.name for file in tenancy.served.folder.parent.iterdir()}
    for name in ("..%2fx", "%2e%2e%2fx", "x" * 200, "CON", "a%00b"):
        tenancy.served.send("GET", f"/v1.0/projects/{name}/jobs", [("X-TC-APP-KEY", tenancy.key)])
        tenancy.call("GET", f"/jobs/{name}")
        tenancy.call("POST", "/jobs", {"jobName": "j", "metricsPath": f"/../{name}"})
    assert {file.name for file in tenancy.served.folder.parent.iterdir()} == before
    assert all(file.name.startswith("control.db") for file in tenancy.served.folder.iterdir())


def test_missing_targets(tenancy, never_was) -> None:
    job_id = tenancy.make_job()
    for target_id in (never_was, "x", "%00", "x" * 300):
        path = f"/jobs/{job_id}/targets/{target_id}"
        refused(tenancy.call("GET", path), -40007, "NOT_FOUND_TARGET")
        refused(tenancy.call("DELETE", path), -40007, "NOT_FOUND_TARGET")


def test_target_bodies(tenancy, never_was) -> None:
    job_id = tenancy.make_job()
    path = f"/jobs/{job_id}/targets"

    def post(**change: object):
        return tenancy.call("POST", path, {"hostId": tenancy.host_id, "port": 9100} | change)

    wrong_ports = (
        None, "", "post number", "9100.5", 9100.5, True, False, 0, -1, 65536, "0", "65536", "-1", "+1",
        " 9100", "9100 ", "\u0669\u0661", "0x10", [9100], {"port": 1}, 10**40, "9" * 5000, 1e300, "1_0",
    )  # fmt: skip
    for port in wrong_ports:
        bad_input(post(port=port))
    for host_id in (None, 5, True, [tenancy.host_id]):
        bad_input(post(hostId=host_id))
    for host_id in ("host id", "", never_was, "\0", tenancy.host_id.upper()):
        refused(post(hostId=host_id), -40004, "INVALID_HOST_OR_PROJECT")
    assert tenancy.call("GET", path).body == []
    for port in (1, "65535", "09100", 9101.0):
        assert len(post(port=port).body) == 36
    refused(post(port=9100), -40001, "ALREADY_EXIST")
    assert [target["port"] for target in tenancy.call("GET", path).body] == [1, 65535, 9100, 9101]
    post(port=2)
    refused(post(port=3), -40013, "LIMIT_EXCEEDED")


def test_reserved_workspaces(tenancy) -> None:
    control = tenancy.served.control
    local = ensure_local_host(control.context, "me", "127.0.0.1")
    key = control.keys.create(local.project_id, KeyDraft("test")).secret
    root = f"/v1.0/projects/{local.project_id}/jobs"
    path = f"{root}/{local.job_id}"
    headers = [("X-TC-APP-KEY", key), ("Content-Type", "application/json")]
    target = b'{"hostId": "%s", "port": 1}' % local.host_id.encode()
    for method, url, content in (
        ("PUT", path, b'{"metricsPath": "/m"}'),
        ("DELETE", path, None),
        ("POST", path, target),
        ("POST", f"{path}/targets", target),
        ("DELETE", f"{path}/targets/{local.target_id}", None),
    ):
        answer = tenancy.served.send(method, url, headers, content)
        refused(answer, -40012, "SYSTEM_RESERVED_JOB")
    listed = tenancy.served.send("GET", root, [*headers, ("X-SYSMON-REGION", "kr")]).body
    assert (listed[0]["jobName"], listed[0]["reservedJobCd"]) == ("@Linux", "LINUX")


def test_fifty_at_once_over_http(tenancy) -> None:
    """S21, from the outside."""
    job_id = tenancy.make_job()

    def create(number: int) -> int:
        body = {"hostId": tenancy.host_id, "port": 1 + number}
        return tenancy.call("POST", f"/jobs/{job_id}/targets", body).code

    with ThreadPoolExecutor(50) as pool:
        codes = sorted(pool.map(create, range(50)))
    assert codes == [-40013] * 45 + [0] * 5


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"x"', b"5", b"\xff", b"\xef\xbb\xbf{}", b"{'a': 1}", b"{}{}",
     b"[" * 100_000, b'{"a":' * 100_000, b"{" + b'"a": 1' + b"}" * 5, b'{"a": 1e999999}', b'{"a": NaN}',
     b'{"a": -Infinity}', b'{"a": ' + b"9" * 10_000 + b"}", b'{"jobName": "a", "jobName": "b"}',
     b'{"jobName": "a", "metricsPath": "/\\ud800"}', b'{"jobName": "\\u0000"}',
     b'{"x": {"y": 1, "y": 2}, "jobName": "a", "metricsPath": "/m"}', "{}".encode("utf-16")],
)  # fmt: skip
def test_bodies_that_are_no_request(tenancy, content: bytes) -> None:
    job_id = tenancy.make_job("base")
    for method, path in (
        ("POST", "/jobs"),
        ("PUT", f"/jobs/{job_id}"),
        ("POST", f"/jobs/{job_id}/targets"),
    ):
        bad_input(tenancy.call(method, path, content))


def test_a_body_over_the_limit_is_refused(tenancy) -> None:
    limit = GuideSettings().body_bytes_max
    fits = b'{"jobName":"a","metricsPath":"/m"}'.ljust(limit)
    assert tenancy.call("POST", "/jobs", fits).code == 0
    refused(tenancy.call("POST", "/jobs", fits + b" "), 413, "PAYLOAD_TOO_LARGE", 413)


def test_a_declared_or_chunked_body_over_the_limit_is_refused_early(tenancy) -> None:
    """The refusal comes before the body has: a client may declare what it likes."""
    head = (
        f"POST {tenancy.root}/jobs HTTP/1.1\r\nHost: x\r\nX-TC-APP-KEY: {tenancy.key}\r\n"
        "X-SYSMON-REGION: kr\r\nContent-Type: application/json\r\n"
    ).encode()
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for rest in (
        b"Content-Length: 99999999999\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n" + piece * 17,
    ):
        with socket.create_connection(("127.0.0.1", tenancy.served.port), timeout=20) as connection:
            connection.sendall(head + rest)
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            assert reply.status == 413


def test_a_body_that_never_comes_times_out(serve_with, tenancy_on) -> None:
    served = serve_with(GuideSettings(body_timeout_s=0.05))
    tenancy = tenancy_on(served)
    head = (
        f"POST {tenancy.root}/jobs HTTP/1.1\r\nHost: x\r\nX-TC-APP-KEY: {tenancy.key}\r\n"
        "X-SYSMON-REGION: kr\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    ).encode()
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(head)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        assert reply.status == 408


def test_a_client_that_goes_away_changes_nothing_and_is_no_fault_of_ours(tenancy) -> None:
    def gone() -> float:
        labels = {"call": "create_job", "result": "BAD_REQUEST"}
        return REGISTRY.get_sample_value("meterhall_guide_requests_total", labels) or 0.0

    before = gone()
    head = (
        f"POST {tenancy.root}/jobs HTTP/1.1\r\nHost: x\r\nX-TC-APP-KEY: {tenancy.key}\r\n"
        "X-SYSMON-REGION: kr\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    ).encode()
    with capture_logs() as logs:
        with socket.create_connection(("127.0.0.1", tenancy.served.port)) as connection:
            connection.sendall(head)
        deadline = time.monotonic() + 20
        while gone() == before:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert logs == []
    assert tenancy.call("GET", "/jobs").body == []


def test_the_key_is_checked_before_the_body_is_read(tenancy) -> None:
    head = f"POST {tenancy.root}/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", tenancy.served.port), timeout=20) as connection:
        connection.sendall(head)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        assert reply.status == 401


def test_a_fault_of_ours_is_a_code_and_an_id_and_no_traceback(serve_with, tenancy_on) -> None:
    """The log has the request id and the cause; neither has the key."""
    served = serve_with(GuideSettings())
    tenancy = tenancy_on(served)
    with served.control.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO lost"))
    with capture_logs() as logs:
        answer = tenancy.call("GET", "/jobs")
    refused(answer, -50000, "INTERNAL_SERVER_ERROR")
    detail = answer.envelope["header"]["detail"]
    request_id = detail.rsplit(" ", 1)[1]
    assert request_id == "from-outside"
    assert [log["request_id"] for log in logs] == [request_id]
    assert tenancy.key not in repr(logs)
    for word in ("Traceback", "sqlite", "SELECT", "jobs"):
        assert word not in answer.content.decode()


def test_the_key_is_in_no_answer(tenancy, make_tenancy) -> None:
    other = make_tenancy()
    for answer in (
        tenancy.call("GET", "/jobs"),
        tenancy.call("GET", "/jobs", key=tenancy.key + "x"),
        tenancy.call("GET", "/jobs", key=other.key),
        tenancy.call("POST", "/jobs", {"jobName": tenancy.key + "!", "metricsPath": "/m"}, key="x"),
    ):
        for secret in (tenancy.key, other.key):
            assert secret.encode() not in answer.content


def test_calls_are_counted_by_result(tenancy) -> None:
    def count(result: str) -> float:
        labels = {"call": "list_servers", "result": result}
        return REGISTRY.get_sample_value("meterhall_guide_requests_total", labels) or 0.0

    before = [count("SUCCESS"), count("UNAUTHORIZED")]
    tenancy.call("GET", "/servers")
    tenancy.call("GET", "/servers", key="x")
    assert [count("SUCCESS"), count("UNAUTHORIZED")] == [before[0] + 1, before[1] + 1]


def test_answers_are_not_cached_or_sniffed(tenancy) -> None:
    for answer in (tenancy.call("GET", "/jobs"), tenancy.call("GET", "/nope")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
