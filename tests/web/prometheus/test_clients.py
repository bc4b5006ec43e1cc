"""Clients that nobody here wrote: promtool, and prometheus-api-client from PyPI."""

import subprocess
import warnings
from datetime import UTC, datetime

import pytest
from tests.web.prometheus.samples import T0

END = T0 + 600


@pytest.fixture(scope="module")
def promtool(served, peers, tmp_path_factory):
    config = tmp_path_factory.mktemp("promtool") / "http.yml"
    config.write_text(f"http_headers: {{X-TC-APP-KEY: {{values: [{served.keys['a']}]}}}}\n")

    def run(command: str, *arguments: str) -> str:
        done = subprocess.run(
            [peers / "promtool", "query", command, f"--http.config.file={config}", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.needs("promtool")
def test_promtool(served, promtool):
    url = f"{served.url}/prometheus"
    instant = promtool("instant", f"--time={END}", url, "sum(requests_total)")
    assert instant == f"{{}} => 124 @[{END}]\n"
    spans = (f"--start={T0}", f"--end={END}", "--step=60s")
    assert promtool("range", *spans, url, "requests_total").count(" @[") == 33
    series = promtool("series", "--match=requests_total", f"--start={T0}", f"--end={END}", url)
    assert series.count("requests_total") == 3
    assert promtool("labels", f"--start={T0}", f"--end={END}", url, "job") == "api\nweb\n"


def test_prometheus_api_client(served):
    with warnings.catch_warnings():
        # Its own dependencies warn at import.
        warnings.simplefilter("ignore")
        from prometheus_api_client import PrometheusConnect

    client = PrometheusConnect(
        f"{served.url}/prometheus", headers={"X-TC-APP-KEY": served.keys["a"]}
    )
    try:
        assert client.check_prometheus_connection()
        assert client.all_metrics() == ["late", "odd_total", "requests_total", "special"]
        assert client.get_label_values("job") == ["api", "web"]
        (found,) = client.custom_query("sum(requests_total)", params={"time": END})
        assert found == {"metric": {}, "value": [END, "124"]}
        begin, end = (datetime.fromtimestamp(second, UTC) for second in (T0, END))
        found = client.custom_query_range("requests_total", begin, end, "60")
        assert [len(entry["values"]) for entry in found] == [11, 11, 11]
    finally:
        client._session.close()
