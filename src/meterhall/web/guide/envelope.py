"""The envelope around every answer under /v1.0, and the codes that go into it.

    {"header": {"isSuccessful", "resultCode", "resultMessage"[, "detail"]}, "body"}

Business refusals are HTTP 200 with the guide's negative code; what HTTP itself refuses carries its status
as the code. `detail` is ours and stands only on refusals.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from meterhall.model.errors import ControlCode

RESULT_CODES: Mapping[ControlCode, int] = {
    "ALREADY_EXIST": -40001,
    "BAD_INPUT_VALUE": -40002,
    "INVALID_HOST_OR_PROJECT": -40004,
    "NOT_FOUND_JOB": -40006,
    "NOT_FOUND_TARGET": -40007,
    "SYSTEM_RESERVED_JOB": -40012,
    "LIMIT_EXCEEDED": -40013,
}
INTERNAL_SERVER_ERROR = -50000

# HTTP's own refusals. Spelled out, for Python renames its statuses from time to time.
HTTP_MESSAGES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
}

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def success(body: Any) -> Response:
    """200 with `SUCCESS`."""
    return _answer(200, _header(True, 0, "SUCCESS"), body)


def refusal(code: ControlCode, detail: str) -> Response:
    """200 with one of the guide's codes."""
    header = _header(False, RESULT_CODES[code], code) | {"detail": detail}
    return _answer(200, header, None)


def internal_error(request_id: str) -> Response:
    """200 with -50000. The log has the request id and the traceback; the caller has the id only."""
    header = _header(False, INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR")
    header |= {"detail": f"the server's log has the cause under request id {request_id}"}
    return _answer(200, header, None)


def http_refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """One of HTTP_MESSAGES, in the same envelope."""
    header = _header(False, status, HTTP_MESSAGES[status]) | {"detail": detail}
    return _answer(status, header, None, headers)


def _header(successful: bool, code: int, message: str) -> dict[str, Any]:
    return {"isSuccessful": successful, "resultCode": code, "resultMessage": message}


def _answer(
    status: int,
    header: Mapping[str, Any],
    body: Any,
    headers: Mapping[str, str] | None = None,
) -> Response:
    content = orjson.dumps({"header": header, "body": body})
    return Response(content, status, dict(headers or {}) | _HEADERS, media_type="application/json")
