"""`/docs`: the guide's OpenAPI as one plain page, and `/openapi.json` for programs.

The usual viewers load scripts from elsewhere; a private cloud has no elsewhere, and a page without scripts
needs no exception from the content security policy.
"""

import functools
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code{background:#8882;padding:0 .2em}td,th{text-align:left;padding:.1em 1em .1em 0;vertical-align:top}
h2{border-top:1px solid #8884;padding-top:1rem}:root{color-scheme:light dark}"""
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def docs_routes(guide: FastAPI) -> list[Route]:
    """Routes `/docs` and `/openapi.json`. Both are made at their first request, not at the start."""

    @functools.cache
    def page() -> str:
        return _page(openapi_of(guide))

    @functools.cache
    def document() -> bytes:
        return orjson.dumps(openapi_of(guide))

    # Plain functions: Starlette runs them on a worker thread.
    def show(_request: Request) -> Response:
        return HTMLResponse(page(), headers=_SECURITY)

    def download(_request: Request) -> Response:
        return Response(document(), media_type="application/json")

    return [Route("/docs", show), Route("/openapi.json", download)]


def openapi_of(guide: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    return get_openapi(title=guide.title, version=guide.version, routes=guide.routes)


def _page(document: Mapping[str, Any]) -> str:
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>",
        "<p>Also as <a href=/openapi.json>OpenAPI</a>, for programs.</p>",
    ]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parts.extend(_operation(method, path, operation))
    return "".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(operation['summary'])}</h2>"
    yield f"<p><code>{method.upper()} {escape(path)}</code></p>"
    yield "<table><tr><th>Parameter<th>In<th>Required"
    for parameter in operation["parameters"]:
        needed = "yes" if parameter["required"] else "no"
        yield f"<tr><td><code>{escape(parameter['name'])}</code><td>{parameter['in']}<td>{needed}"
    yield "</table>"
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        yield "<table><tr><th>Key of the body<th>Required"
        for key in schema["properties"]:
            needed = "yes" if key in schema["required"] else "no"
            yield f"<tr><td><code>{escape(key)}</code><td>{needed}"
        yield "</table>"
    head, *codes = operation["description"].split("\n- ")
    yield f"<p>{escape(head.replace('`', ''))}<ul>"
    for code in codes:
        yield f"<li><code>{escape(code.strip('`'))}</code>"
    yield "</ul>"
