"""Clients that nobody here wrote: promtool, prometheus-api-client; Prometheus, as a server and as an agent, and vmagent pushing to us."""

import json
import os
import subprocess
from contextlib import contextmanager

import pytest
from prometheus_api_client import PrometheusConnect

from e2e.service import eventually, free_port


@pytest.fixture
def promtool(peers, service, tmp_path):
    header = tmp_path / "http.yml"
    header.write_text(f"http_headers:\n  X-TC-APP-KEY:\n    secrets: ['{service.key}']\n")

    def run(*arguments):
        command, *rest = arguments
        done = subprocess.run(
            [
                *(peers / "promtool", "query", command, f"--http.config.file={header}"),
                *("--format=json", f"{service.url}/prometheus", *rest),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_promtool_queries(service, promtool):
    eventually(lambda: service.query("rate(node_cpu_seconds_total[1m])"))
    (found,) = json.loads(promtool("instant", "count(node_load1)"))
    assert found["value"][1] == "1"
    (found,) = json.loads(promtool("range", "--step=1s", "node_load1"))
    assert found["metric"]["job"] == "@Linux"
    assert "@Linux" in promtool("series", "--match=node_load1")
    assert "@Linux" in promtool("labels", "job")


def test_prometheus_api_client(service):
    eventually(lambda: service.query("node_load1"))
    client = PrometheusConnect(f"{service.url}/prometheus", headers={"X-TC-APP-KEY": service.key})
    assert client.check_prometheus_connection()
    assert "node_load1" in client.all_metrics()
    assert client.get_current_metric_value("node_load1", {"job": "@Linux"})
    assert client.custom_query("sum(node_load1)")[0]["metric"] == {}
    assert "@Linux" in client.get_label_values("job")


def prometheus_server(peers, config, data):
    return [peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}"]


def prometheus_agent(peers, config, data):
    return [
        *(peers / "prometheus", "--agent", f"--config.file={config}"),
        f"--storage.agent.path={data}",
    ]


@pytest.mark.parametrize("command", [prometheus_server, prometheus_agent])
def test_prometheus_pushes_to_us(service, peers, node_exporter, tmp_path, command):
    config = tmp_path / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: pushed
  static_configs: [{{targets: ["127.0.0.1:{node_exporter.port}"]}}]
remote_write:
- url: {service.url}/prometheus/api/v1/write
  headers: {{X-TC-APP-KEY: {service.key}}}
  queue_config: {{batch_send_deadline: 1s}}
"""
    )
    listen = f"--web.listen-address=127.0.0.1:{free_port()}"
    with running([*command(peers, config, tmp_path / "data"), listen]):
        eventually(lambda: service.value('up{job="pushed"}') == 1)
        instance = f"127.0.0.1:{node_exporter.port}"
        eventually(lambda: service.query(f'node_load1{{job="pushed",instance="{instance}"}}'))
        eventually(lambda: service.prometheus("metadata", metric="node_load1"))
        node_exporter.stop()
        # Its staleness markers end the series here as they do there; `up` may come in another push.
        eventually(lambda: not service.query('node_load1{job="pushed"}'))
        eventually(lambda: service.value('up{job="pushed"}') == 0)
        assert service.value('max_over_time(node_load1{job="pushed"}[5m])') is not None


def test_vmagent_pushes_to_us(service, peers, node_exporter, tmp_path):
    config = tmp_path / "vmagent.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: vmagent
  static_configs: [{{targets: ["127.0.0.1:{node_exporter.port}"]}}]
"""
    )
    command = [
        *(peers / "vmagent", f"-promscrape.config={config}", "-envflag.enable"),
        f"-remoteWrite.url={service.url}/prometheus/api/v1/write",
        *(f"-remoteWrite.tmpDataPath={tmp_path / 'data'}", "-remoteWrite.flushInterval=1s"),
        f"-httpListenAddr=127.0.0.1:{free_port()}",
    ]
    with running(command, remoteWrite_headers=f"X-TC-APP-KEY: {service.key}"):
        eventually(lambda: service.value('up{job="vmagent"}') == 1)
        eventually(lambda: service.query('node_load1{job="vmagent"}'))
        node_exporter.stop()
        eventually(lambda: not service.query('node_load1{job="vmagent"}'))
        eventually(lambda: service.value('up{job="vmagent"}') == 0)


@contextmanager
def running(command, **environment):
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
