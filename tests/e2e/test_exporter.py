"""A real node_exporter becomes a target, goes away and comes back."""

import http.server
import threading

import pytest

from e2e.service import eventually


def add_target(service, port, path="/metrics", job="node"):
    """(host id, job id, target id) of a new direct host with one target."""
    host = service.cli(
        *("hosts", "add", "--project", service.project, "--region", "kr", "--name", job),
        *("--address", "127.0.0.1", "--collect", "direct"),
    )["hostId"]
    job = service.guide("POST", "/jobs", {"jobName": job, "metricsPath": path})["jobId"]
    body = {"hostId": host, "port": str(port)}
    target = eventually(lambda: try_add(service, job, body))
    return host, job, target


def try_add(service, job, body):
    """None while the service has not noticed the host that another process made."""
    path = f"/v1.0/projects/{service.project}/jobs/{job}/targets"
    _, answer = service.request("POST", path, body)
    assert answer["header"]["resultCode"] in (0, -40004), answer
    return answer["body"]


def state(service, job, target):
    found = service.guide("GET", f"/jobs/{job}/targets/{target}")
    return found["mntrnStatCd"], found["resultCd"], found["failReason"]


def test_an_exporter_lives_and_dies(service, node_exporter):
    host, job, target = add_target(service, node_exporter.port)
    instance = f"node:{node_exporter.port}"
    labels = f'job="node",instance="{instance}",openmetrics_id="{host}"'
    eventually(lambda: service.value(f"up{{{labels}}}") == 1)
    assert eventually(lambda: service.query(f"node_cpu_seconds_total{{{labels}}}"))
    eventually(lambda: state(service, job, target) == ("NORMAL", 0, None))
    assert service.prometheus("metadata", metric="node_load1")["node_load1"][0]["type"] == "gauge"

    node_exporter.stop()
    eventually(lambda: service.value(f"up{{{labels}}}") == 0)
    assert service.query(f"node_load1{{{labels}}}") == {}, "stale at once"
    status, code, reason = eventually(
        lambda: state(service, job, target)[0] == "UNREACHABLE" and state(service, job, target)
    )
    assert (status, code) == ("UNREACHABLE", -1)
    assert "connection refused" in reason

    node_exporter.start()
    eventually(lambda: service.value(f"up{{{labels}}}") == 1)
    eventually(lambda: service.query(f"node_load1{{{labels}}}"))
    eventually(lambda: state(service, job, target) == ("NORMAL", 0, None))

    service.guide("DELETE", f"/jobs/{job}/targets/{target}")
    eventually(lambda: service.query(f"up{{{labels}}}") == {})


class BadExporter(http.server.BaseHTTPRequestHandler):
    """Answers the status in its path; 200 carries rubbish."""

    def do_GET(self):
        status = int(self.path.strip("/"))
        body = b"ok_metric 1\nsecret-token=hunter2 is rubbish\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        if status in (301, 302, 307):
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing on the terminal."""


@pytest.fixture
def bad_exporter():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), BadExporter)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


BAD = {
    "/404": ("HTTP_ERROR", 404, "404 Not Found"),
    "/503": ("HTTP_ERROR", 503, "503 Service Unavailable"),
    "/302": ("HTTP_ERROR", 302, "302 Found"),
    "/200": ("UNREACHABLE", -3, "line 2"),
}


def test_what_a_bad_exporter_shows(service, bad_exporter):
    host = None
    for path, expected in BAD.items():
        name = f"bad-{path[1:]}"
        host, job, target = add_target(service, bad_exporter, path, name)
        found = eventually(
            lambda job=job, target=target: (
                state(service, job, target)[0] and state(service, job, target)
            )
        )
        assert found[:2] == expected[:2]
        assert expected[2] in found[2]
        assert "hunter2" not in found[2]
        eventually(lambda name=name: service.value(f'up{{job="{name}"}}') == 0)
        assert service.query(f'ok_metric{{job="{name}"}}') == {}
    assert host
