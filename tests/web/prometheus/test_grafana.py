"""Grafana's request sequences, byte for byte as contract 4.2, 4.4 and 4.5 have them."""

import json
import socket

from tests.web.prometheus.samples import T0

END = T0 + 600
HEADERS = (
    "Host: 127.0.0.1\r\nUser-Agent: Grafana/12.4.0\r\nX-Datasource-Uid: P1\r\nX-Grafana-Org-Id: 1\r\n"
    "x-tc-app-key: {key}\r\nAccept-Encoding: gzip\r\n"
)


def exchange(served, head: str, body: bytes = b"") -> tuple[bytes, bytes]:
    """One request as raw bytes; status line with headers, and the body (gzip undone by the header's word)."""
    request = head + HEADERS.format(key=served.keys["a"])
    if body:
        request += (
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        )
    request += "Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(request.encode() + body)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    answer_head, _, content = received.partition(b"\r\n\r\n")
    if b"content-encoding: gzip" in answer_head:
        import gzip

        content = gzip.decompress(content)
    return answer_head, content


SCALAR = b'{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'


def test_save_and_test(served):
    head, body = exchange(
        served, "POST /prometheus/api/v1/query HTTP/1.1\r\n", b"query=1%2B1&time=4"
    )
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-type: application/json\r\n" in head + b"\r\n"
    assert body == SCALAR
    _, body = exchange(served, "GET /prometheus/api/v1/query?query=1%2B1&time=4 HTTP/1.1\r\n")
    assert body == SCALAR
    # Custom query parameters stay in the URL of a POST.
    _, body = exchange(
        served,
        "POST /prometheus/api/v1/query?timeout=60s&max_x=1 HTTP/1.1\r\n",
        b"query=1%2B1&time=4",
    )
    assert body == SCALAR
    for method, content in (("GET", b""), ("POST", b"x=1")):
        head, body = exchange(
            served, f"{method} /prometheus/api/v1/status/buildinfo HTTP/1.1\r\n", content
        )
        assert head.startswith(b"HTTP/1.1 200 ")
        assert "features" not in json.loads(body)["data"]


def test_start_up(served):
    _, body = exchange(served, "GET /prometheus/api/v1/rules HTTP/1.1\r\n")
    assert body == b'{"status":"success","data":{"groups":[]}}'
    _, body = exchange(
        served,
        "POST /prometheus/api/v1/query_exemplars HTTP/1.1\r\n",
        b"query=test&start=1600000000000&end=1600003600000",
    )
    assert body == b'{"status":"success","data":[]}'
    _, body = exchange(served, "GET /prometheus/api/v1/alerts HTTP/1.1\r\n")
    assert body == b'{"status":"success","data":{"alerts":[]}}'
    _, body = exchange(served, "GET /prometheus/api/v1/metadata?limit=40000 HTTP/1.1\r\n")
    assert isinstance(json.loads(body)["data"], dict)


def data(served, head: str, body: bytes = b""):
    return json.loads(exchange(served, head, body)[1])["data"]


def test_explore(served):
    span = f"start={T0 // 60 * 60}&end={END // 60 * 60}"
    names = data(
        served, f"GET /prometheus/api/v1/label/__name__/values?limit=40000&{span} HTTP/1.1\r\n"
    )
    assert names == ["late", "odd_total", "requests_total", "special"]
    found = data(
        served,
        "GET /prometheus/api/v1/label/__name__/values?limit=1000"
        f"&match%5B%5D=%7B__name__%3D~%22.*requ.*%22%7D&{span} HTTP/1.1\r\n",
    )
    assert found == ["requests_total"]
    found = data(
        served,
        "GET /prometheus/api/v1/label/__name__/values?limit=1000"
        f"&match%5B%5D=%7B__name__%3D~%22%28%3Fi%29.*REQU.*%22%7D&{span} HTTP/1.1\r\n",
    )
    assert found == ["requests_total"]
    labels = data(
        served,
        "POST /prometheus/api/v1/labels HTTP/1.1\r\n",
        f"match%5B%5D=requests_total&{span}&limit=40000".encode(),
    )
    assert labels == ["__name__", "instance", "job"]
    # With the data source's method, parameters in the URL and an empty body.
    values = data(
        served,
        f"POST /prometheus/api/v1/label/job/values?match%5B%5D=requests_total&{span} HTTP/1.1\r\n",
        b"x=",
    )
    assert values == ["api", "web"]
    values = data(
        served, f"GET /prometheus/api/v1/label/U__http_2e_status__code/values?{span} HTTP/1.1\r\n"
    )
    assert values == ["200"]
    head, _ = exchange(
        served,
        "POST /prometheus/api/v1/labels HTTP/1.1\r\n",
        b"match%5B%5D=%7B__name__%3D~%22%22%7D",
    )
    assert head.startswith(b"HTTP/1.1 400 ")


def test_a_metrics_browser_with_thousands_of_alternatives(served):
    names = "|".join(["requests_total", *(f"metric_number_{n}_of_many" for n in range(2_000))])
    answer = served.post("labels", **{"match[]": f'{{__name__=~"{names}"}}'})
    assert answer.data == ["__name__", "instance", "job"]


def test_both_queries_of_explore(served):
    matrix = data(
        served,
        "POST /prometheus/api/v1/query_range HTTP/1.1\r\n",
        f"end={END}&query=sum%28rate%28requests_total%5B1m0s%5D%29%29&start={T0}&step=15".encode(),
    )
    assert matrix["resultType"] == "matrix"
    assert len(matrix["result"]) == 1
    vector = data(
        served,
        "POST /prometheus/api/v1/query?stats=all HTTP/1.1\r\n",
        f"query=requests_total&time={END}.413".encode(),
    )
    assert vector["resultType"] == "vector"
    assert vector["result"][0]["value"][0] == END + 0.413
