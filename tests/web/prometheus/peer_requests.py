"""The requests that ours and the real Prometheus 3.5.3 are asked alike; run this file to record its answers.

    PYTHONPATH=src:. python -m tests.web.prometheus.peer_requests .peers/prometheus

writes `data/prometheus-3.5.3.json`, which `test_peer.py` holds our answers against. Requests are (method, path below
/prometheus, headers, body). Every time is given, so that no answer depends on when it was asked.
"""

import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from tests.web.prometheus.samples import SAMPLE_DATA, T0, write_body

RECORDED = Path(__file__).parent / "data" / "prometheus-3.5.3.json"

END = T0 + 600
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def get(endpoint: str) -> tuple:
    return ("GET", f"/api/v1/{endpoint}", {}, None)


def post(endpoint: str, body: str, headers: dict[str, str] = FORM) -> tuple:
    return ("POST", f"/api/v1/{endpoint}", headers, body)


def q(text: str) -> str:
    return quote(text, safe="")


_EXPRESSIONS = [
    "1+1",
    '"hi"',
    "requests_total",
    "special",
    "late",
    "late[5m]",
    "requests_total[1m]",
    "sum by (job) (rate(requests_total[1m]))",
    "topk(1, requests_total)",
    "sort_desc(requests_total)",
    "absent(nothing)",
    "1e-9",
    "1e22",
    "vector(1e-9)",
    "vector(1e22)",
    "-0",
    "time()",
    'requests_total{job=~"a.*"}',
    '{"http.status_code"="200"}',
    "odd_total",
    "nothing",
    "rate(special[5m])",
    "quantile(2, requests_total)",
    "requests_total == bool 40",
    # refused:
    "",
    "sum(",
    "up{",
    "{}",
    'up{a=~"(?=a)"}',
    'up{a=~"("}',
    "requests_total + on() requests_total",
    'label_replace(requests_total, "instance", "x", "job", ".*")',
    "foo(1)",
    "rate(up)",
    "up[5m",
    "1 + ",
    "sum(up) by",
    "\u00e9",
]

# The same label sets under two names.
_TWICE = 'requests_total or on(__name__) label_replace(requests_total, "__name__", "other_total", "", "")'

# Right by grammar and types, and refused when evaluated: asked at an instant and over a range.
_FAILING = [
    "requests_total + on(job) requests_total",
    "requests_total + on() group_left() requests_total",
    "requests_total * on(job) group_right() requests_total",
    "requests_total - ignoring(instance) requests_total",
    "requests_total / ignoring(instance) group_left() requests_total",
    'requests_total{instance="a:80"} + on(job) requests_total{job="api"}',
    'requests_total{job="api"} + on(job) requests_total{instance="a:80"}',
    'requests_total{job="api"} == bool on(job) requests_total{instance="a:80"}',
    'requests_total{job="api"} >= on(job) requests_total{instance="a:80"}',
    'requests_total{job="api"} * on(job) group_left(instance) requests_total{instance="a:80"}',
    "requests_total % on(nothing) requests_total",
    "requests_total ^ on(__name__) requests_total",
    "requests_total atan2 ignoring(job, instance) requests_total",
    "sum(requests_total + on(job) requests_total)",
    "rate((requests_total + on(job) requests_total)[1m:15s])",
    "absent(requests_total + on(job) requests_total)",
    f"-({_TWICE})",
    f"({_TWICE}) * 2",
    f"2 - ({_TWICE})",
    f"({_TWICE}) == bool 3",
    f"abs({_TWICE})",
    f"clamp({_TWICE}, 0, 1)",
    f"rate(({_TWICE})[1m:15s])",
    f"max_over_time(({_TWICE})[1m:])",
    f"timestamp({_TWICE})",
    f"hour({_TWICE})",
    'label_replace(requests_total, "instance", "", "job", ".*")',
    'label_replace(requests_total, "instance", "x", "", "")',
    'label_replace(requests_total, "x", "y", "job", "(")',
    'label_replace(requests_total, "x", "y", "job", "(?=a)")',
    'label_replace(nothing, "x", "y", "job", "*")',
    'label_replace(requests_total, "", "y", "job", ".*")',
    'label_replace(nothing, "", "y", "job", ".*")',
    'label_join(requests_total, "instance", "-", "nothing")',
    'label_join(requests_total, "", "-", "job")',
    'label_join(requests_total, "x", "-", "")',
    'label_join(nothing, "x", "-", "job", "")',
    'count_values("", requests_total)',
    'count_values by (job) ("", requests_total)',
    'count_values("", nothing)',
    "topk(Inf, requests_total)",
    "bottomk(+Inf, requests_total)",
    "topk(1e19, requests_total)",
    "bottomk(9223372036854775808, requests_total)",
    "topk by (job) (1e300, requests_total)",
    "topk(time() * 1e15, requests_total)",
    "sum(topk(1e20, requests_total))",
    "topk(scalar(requests_total + on(job) requests_total), requests_total)",
    "vector(scalar(requests_total + on(job) requests_total))",
    "quantile_over_time(scalar(requests_total + on(job) requests_total), requests_total[1m])",
    "requests_total[1m] offset 1m",
    "predict_linear((requests_total + on(job) requests_total)[1m:], 60)",
    'histogram_quantile(0.9, label_replace(requests_total, "instance", "", "job", ".*"))',
    "requests_total + on(job) requests_total or vector(1)",
    "vector(1) or requests_total + on(job) requests_total",
    "vector(1) unless requests_total + on(job) requests_total",
    "nothing and (requests_total + on(job) requests_total)",
    f"requests_total + on(job) group_left() ({_TWICE})",
    f"({_TWICE}) * on(job) group_left() requests_total",
    "sort(requests_total + on(job) requests_total)",
    "round(requests_total / on(job) requests_total, 5)",
    "requests_total > on(job) requests_total > on(job) requests_total",
]

_RANGES = [
    f"start={T0}&end={END}&step=60",
    f"start={T0}.5&end={END}&step=7.5",
    f"start={T0 - 30}&end={T0 - 30}&step=15",
    f"start={T0}&end={T0 - 1}&step=15",
    f"start={T0}&end={END}",
    f"start={T0}&end={END}&step=0",
    f"start={T0}&end={END}&step=-1",
    f"start={T0}&end={END}&step=nan",
    f"start={T0}&end={END}&step=1d12h",
    f"start={T0}&end={END}&step=1.5h",
    f"start={T0}&end={END}&step=1e300",
    f"start={T0}&end={END}&step=1h30m",
    f"start={T0}&end={END}&step=1s1m",
    "start=0&end=11000&step=1",
    "start=0&end=11000.5&step=1",
    "start=0&end=11001&step=1",
    f"end={END}&step=1",
    f"start={T0}&step=1",
    f"start=x&end={END}&step=1",
    f"start={T0}&end=x&step=1",
    f"start={T0}&end={END}&step=60&limit=1",
    f"start={T0}&end={END}&step=60&limit=x",
    f"start={T0}&end={END}&step=60&timeout=x",
    f"start={T0}&end={END}&step=60&timeout=0",
    f"start={T0}&end={END}&step=60&lookback_delta=1",
    f"start={T0}&end={END}&step=60&lookback_delta=z",
    "start=2023-11-14T22:13:20Z&end=2023-11-14T23:23:20%2B01:00&step=5m",
]

_TIMES = [
    "4", "-1.5", "1_0", "1__0", "_1", "0x1p2", "0x10", "1e3", "1e999", ".5", "5.", "+4", " 4", "4 ", "",
    "1970-01-01", "1970-01-01T00:00:04Z", "1970-01-01T00:00:04.5Z", "1970-01-01T01:00:04+01:00",
    "1970-01-01t00:00:04z", "1970-02-30T00:00:04Z", "1970-01-01T00:00:60Z", "1970-01-01T00:00:04",
    "abc", "4s", "1,5", "\uff11",
]  # fmt: skip

_LABEL_CALLS = [
    "labels",
    "labels?limit=2",
    "labels?limit=x",
    "labels?limit=-1",
    "labels?match[]=requests_total",
    "labels?match[]=requests_total&match[]=special",
    "labels?match[]={}",
    "labels?match[]={a=%22%22}",
    "labels?match[]={a=~%22.*%22}",
    "labels?match[]={__name__!=%22%22}",
    "labels?match[]={__name__=~%22%22}",
    "labels?match[]=up[5m]",
    "labels?match[]=up%20offset%205m",
    "labels?match[]={x",
    "labels?start=x",
    "labels?end=x",
    "label/job/values",
    "label/nothing/values",
    "label/__name__/values",
    "label/__name__/values?match[]={__name__=~%22.*spec.*%22}&limit=1000",
    "label/__name__/values?limit=1",
    "label/__name__/values?limit=1_0",
    "label/instance/values?match[]=requests_total{job=%22api%22}",
    "label/U__http_2e_status__code/values",
    "label/http.status_code/values",
    "label/a%3Cb/values",
    "label/U__/values",
    "label/U__zz/values",
    "label/job/values?match[]={}",
    "label/job/values?start=x&limit=x",
    "series",
    "series?limit=x",
    "series?match[]=requests_total",
    "series?match[]=requests_total&match[]=special",
    "series?match[]=requests_total&match[]=special&limit=2",
    "series?match[]=nothing",
    "series?match[]={}",
    "series?match[]={x",
    "series?match[]=requests_total&limit=x&start=x",
    "series?match[]=requests_total&start=x",
    f"series?match[]=requests_total&start={END}&end={T0}",
    "series?match[]=requests_total&x=%zz",
    "series?match[]=requests_total&x=1;y=2",
]

_OTHERS = [
    "metadata",
    "metadata?limit=0",
    "metadata?limit=x",
    "metadata?limit_per_metric=x",
    "query_exemplars?query=test&start=1600000000000&end=1600000001000",
    "query_exemplars?query=up&start=5&end=3",
    "query_exemplars?query=",
    "query_exemplars?query=up&start=x",
    "format_query?query=foo/bar",
    "format_query?query=",
    "parse_query?query=foo%7Bbar%3D%22baz%22%7D",
    "parse_query?query=rate(foo[5m])%20%2B%201",
    "parse_query?query=%28",
    "rules",
    "rules?type=x",
    "rules?type=alert",
    "rules?match[]={x",
    "rules?exclude_alerts=x",
    "rules?exclude_alerts=true",
    "rules?group_limit=x",
    "rules?group_next_token=x",
    "alerts",
    "targets",
    "targets?state=dropped",
    "targets/metadata",
    "scrape_pools",
    "alertmanagers",
    "status/tsdb?limit=x",
    "status/tsdb?limit=0",
    "status/tsdb?limit=-3",
    f"query?query=1&time={T0}&limit=99999999999999999999",
    f"query?query=1&time={T0}&limit=%2B1",
    f"query?query=requests_total&time={END}&limit=1",
    f"query?query=requests_total&time={END}&limit=3",
    f"query?query=requests_total[1m]&time={END}&limit=2",
    f"query?query=1&time={T0}&timeout=x",
    f"query?query=1&time={T0}&timeout=0",
    f"query?query=sum(&time={T0}&timeout=0",
    f"query?query=1&time={T0}&timeout=-1",
    f"query?query=1&time={T0}&lookback_delta=z",
    f"query?query=requests_total&time={END + 100}&lookback_delta=99",
    f"query?query=requests_total&time={END + 100}&lookback_delta=-1",
    "query?query=1&time=x&limit=x&timeout=x",
    "query?query=(&time=x",
    "query?query=(&time=4&lookback_delta=z",
]

_BODIES = [
    post("query?query=7&time=9", "query=1%2B1"),
    post("query", "query=1%2B1&time=4"),
    post("query?time=4", "query=2&query=3"),
    post("query?query=2&time=4", ""),
    post("query?query=2&time=4", '{"query":"3"}', {"Content-Type": "application/json"}),
    post("query?time=4", '{"query":"3"}', {"Content-Type": "application/json"}),
    post("query", "query=%zz&query=2&time=4"),
    post("query", "query=1;time=4&query=2&time=5"),
    post(
        "query",
        "query=1&time=4",
        {**FORM, "Content-Type": f"{FORM['Content-Type']}; charset=UTF-8"},
    ),
    post("series?match[]=special", "match[]=requests_total"),
    post("labels", "match[]=requests_total"),
    post("query_range", f"query=late&start={T0}&end={T0 + 5}&step=1"),
    post("format_query", "query=a%2Bb"),
    post("query_exemplars", "query=test&start=1600000000000&end=1600000001000"),
]

_METHODS = [
    (method, f"/api/v1/{path}", {}, None)
    for method, path in [
        ("HEAD", "query"),
        ("DELETE", "query"),
        ("PUT", "series"),
        ("POST", "rules"),
        ("POST", "metadata"),
        ("GET", "write"),
        ("OPTIONS", "query"),
        ("OPTIONS", "no/such"),
        ("GET", "no/such"),
        ("GET", "label/a%2Fb/values"),
    ]
] + [("GET", "/-/healthy", {}, None), ("GET", "/-/ready", {}, None), ("HEAD", "/-/ready", {}, None)]

REQUESTS: list[tuple] = [
    *(get(f"query?query={q(text)}&time={END if 'special' not in text and 'late' not in text else T0 + 1}")
      for text in _EXPRESSIONS),
    *(get(f"query?query={q(text)}&time={END}") for text in _FAILING),
    *(get(f"query_range?query={q(text)}&start={T0}&end={END}&step=60") for text in _FAILING),
    *(get(f"query?query=1&time={q(text)}") for text in _TIMES if text),
    *(get(f"query_range?query=requests_total&{text}") for text in _RANGES),
    *(get(f"query_range?query={q(text)}&start={T0}&end={END}&step=300")
      for text in ("1", "requests_total[5m]", '"x"', "sum(", "special", "vector(0.1)")),
    *(get(path) for path in (*_LABEL_CALLS, *_OTHERS)),
    *_BODIES,
    *_METHODS,
]  # fmt: skip


def ask(port: int, request: tuple, headers: dict[str, str] | None = None) -> dict:
    """The answer as it is recorded."""
    method, path, sent, body = request
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        url = "/prometheus" + path.replace(" ", "%20")
        connection.request(method, url, body and body.encode(), {**sent, **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
        found = {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
    return {
        "status": response.status,
        "content_type": found.get("content-type", ""),
        "allow": found.get("allow", ""),
        "body": text,
    }


def main(program: str) -> None:
    """Starts Prometheus, loads SAMPLE_DATA, records."""
    port = 19778
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text("")
        options = [
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.external-url=http://127.0.0.1:{port}/prometheus",
            "--web.enable-remote-write-receiver",
            "--log.level=error",
        ]
        process = subprocess.Popen([program, *options])
        try:
            _wait(port)
            for entry in SAMPLE_DATA:
                _push(port, write_body([entry]))
            recorded = [{"request": request, "answer": ask(port, request)} for request in REQUESTS]
        finally:
            process.terminate()
            process.wait()
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in recorded)
    RECORDED.write_text(f"[\n{lines}\n]\n", "utf-8")


def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if ask(port, ("GET", "/-/ready", {}, None))["status"] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "Prometheus did not start"
        time.sleep(0.1)


def _push(port: int, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/prometheus/api/v1/write", body, {"Content-Encoding": "snappy"})
    response = connection.getresponse()
    assert response.status == 204, response.read()
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
