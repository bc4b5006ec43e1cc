"""Which application answers which path, request ids, and the page at the root."""

import re

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.web.listening import fetch, listening

from meterhall.telemetry.metrics import HTTP_REQUESTS
from meterhall.web.asgi import create_app


def named(name: str, *paths: str) -> Starlette:
    async def answer(request):
        return PlainTextResponse(f"{name} {request.url.path}")

    return Starlette(routes=[Route(path, answer) for path in paths])


@pytest.fixture(scope="module")
def port():
    guide = named("guide", "/v1.0/x", "/docs", "/openapi.json")
    prometheus = named("prometheus", "/prometheus/api/v1/query")
    agent = named("agent", "/agent/v1/targets")
    with listening(create_app(guide, prometheus, agent, "p1")) as port:
        yield port


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1.0/x", 200, "guide /v1.0/x"),
        ("/docs", 200, "guide /docs"),
        ("/openapi.json", 200, "guide /openapi.json"),
        ("/prometheus/api/v1/query", 200, "prometheus /prometheus/api/v1/query"),
        ("/agent/v1/targets", 200, "agent /agent/v1/targets"),
        ("/-/healthy", 200, "Meterhall is healthy."),
        ("/-/ready", 200, "Meterhall is ready."),
        ("/v1.0x", 404, "404"),
        ("/prometheusx", 404, "404"),
        ("/agentx", 404, "404"),
        ("/%2e%2e/etc/passwd", 404, "404"),
        ("//evil.example/", 404, "404"),
    ],
)
def test_paths(port, path, status, text):
    found, headers, body = fetch(port, path)
    assert found == status
    assert body.startswith(text)
    assert re.fullmatch(r"p1-\d+", headers["x-request-id"])


def test_the_root_says_what_this_is(port):
    _, headers, body = fetch(port, "/")
    assert "/docs" in body
    assert "X-TC-APP-KEY" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert fetch(port, "/", "POST")[0] == 405


def test_replies_are_counted_by_class(port):
    def count():
        return HTTP_REQUESTS.labels("4xx")._value.get()

    before = count()
    fetch(port, "/nowhere")
    assert count() == before + 1
