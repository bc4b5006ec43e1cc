"""Remote write 1.0: statuses and what a sender must never be told (contract 6.1, 6.2)."""

import subprocess
import time

import cramjam
import pytest
from tests.web.prometheus.samples import T0, write_body

from meterhall.model.errors import StoreUnavailable

WRITE = "/prometheus/api/v1/write"
GOOD = write_body([({"__name__": "w", "a": "b"}, [(T0 * 1000, 1.0)])])
V1 = "application/x-protobuf;proto=prometheus.WriteRequest"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from tests.web.prometheus.conftest import _server_factory

    for factory in _server_factory(tmp_path_factory.mktemp("write")):
        yield factory()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        ({"Content-Type": "application/x-protobuf"}, 204),
        ({"Content-Type": V1, "Content-Encoding": "snappy"}, 204),
        ({"Content-Type": "Application/X-Protobuf; proto=prometheus.WriteRequest"}, 204),
        ({"Content-Type": V2}, 415),
        ({"Content-Type": "application/x-protobuf;proto=other"}, 415),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": V1, "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": V1, "Content-Encoding": "snappy, gzip"}, 415),
        ({"X-Prometheus-Remote-Write-Version": "2.0.0"}, 204),
    ],
)
def test_media_types(server, headers, status):
    answer = server.call("POST", WRITE, GOOD, headers)
    assert answer.status == status, answer
    if status == 204:
        assert answer.body == b""
    else:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert b"send" in answer.body
    assert not [name for name in answer.headers if "written" in name]


def test_a_refused_media_type_is_told_even_while_the_body_is_coming(server):
    for _ in range(5):
        answer = server.call("POST", WRITE, bytes(900_000), {"Content-Type": V2})
        assert answer.status == 415


FRAMED = bytes.fromhex("ff060000734e61507059") + b"\x01\x05\x00\x00junk!"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        FRAMED,
        bytes(cramjam.snappy.compress_raw(b"\x0a\xff")),
        b"\xff\xff\xff\xff\x0f\x00",
    ],
    ids=["empty", "junk", "framed", "protobuf", "bomb"],
)
def test_what_cannot_be_decoded_is_400(server, body):
    answer = server.call("POST", WRITE, body)
    assert answer.status == 400, answer
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_empty_request_is_accepted(server):
    assert server.call("POST", WRITE, bytes(cramjam.snappy.compress_raw(b""))).status == 204


def test_refused_samples_are_400_with_the_reason_and_repeats_are_204(server):
    labels = {"__name__": "order", "a": "b"}
    server.push([(labels, [(T0 * 1000, 1.0)])])
    again = server.call("POST", WRITE, write_body([(labels, [(T0 * 1000, 1.0)])]))
    assert again.status == 204
    other = server.call("POST", WRITE, write_body([(labels, [(T0 * 1000, 2.0)])]))
    assert other.status == 400
    assert b"duplicate sample for timestamp" in other.body
    ahead = int(time.time() * 1000) + 3_600_000
    future = server.call("POST", WRITE, write_body([(labels, [(ahead, 2.0)])]))
    assert future.status == 400
    assert b"too far in the future" in future.body


class FullDisk:
    """A receiver whose store cannot take anything now."""

    def receive(self, tenant, body):
        raise StoreUnavailable("no space left on device")


def test_a_full_disk_is_503_so_that_senders_try_again(serve):
    server = serve()
    object.__setattr__(server.backend, "pushes", FullDisk())
    answer = server.call("POST", WRITE, GOOD)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"


@pytest.mark.needs("prometheus")
def test_prometheus_itself_writes_to_us(serve, peers, tmp_path):
    server = serve()
    (tmp_path / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: itself
  static_configs: [{{targets: ["127.0.0.1:{server.port}"]}}]
remote_write:
- url: {server.url}/prometheus/api/v1/write
  headers: {{X-TC-APP-KEY: {server.keys["a"]}}}
  queue_config: {{batch_send_deadline: 100ms}}
"""
    )
    process = subprocess.Popen(
        [
            peers / "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            "--web.listen-address=127.0.0.1:0",
            "--log.level=error",
        ]
    )
    try:
        deadline = time.monotonic() + 40
        while not server.get("query", query='up{job="itself"}').data["result"]:
            assert time.monotonic() < deadline, "nothing arrived"
            time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(20)
    assert server.get("query", query="up", key="b").data["result"] == []
