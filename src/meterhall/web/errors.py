"""From kinds of failure to HTTP: one table, used by the Prometheus API.

Statuses and errorTypes are Prometheus' where it has them (contract 1.2), with the contract's 401, 403, 404
and 405 beside them. What is not in the table is a bug: 500, and a request id instead of a cause.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from starlette.types import Scope

from meterhall.model.errors import (
    BadInput,
    Forbidden,
    LimitExceeded,
    MeterhallError,
    Overloaded,
    QueryCanceled,
    QueryError,
    QueryTimeout,
    StoreError,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
)
from meterhall.web.encode import encode_error

T = TypeVar("T")

_log = structlog.get_logger()

# Where the outermost middleware leaves the id of the request, in the scope's `state`.
REQUEST_ID = "request_id"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as the edge tells it. `retry_after_s` becomes Retry-After."""

    status: int
    error_type: str
    text: str
    retry_after_s: int | None = None

    @property
    def body(self) -> bytes:
        """Prometheus' error envelope."""
        return encode_error(self.error_type, self.text)


class Refused(MeterhallError):
    """A failure that is HTTP's own business: a path, a method, a media type, a slow body."""

    def __init__(self, status: int, error_type: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.error_type = error_type


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


# The most derived kinds stand first: the first that fits counts.
_TABLE: tuple[tuple[type[MeterhallError], int, str], ...] = (
    (TooLarge, 413, "bad_data"),
    (BadInput, 400, "bad_data"),
    (Unauthorized, 401, "unauthorized"),
    (Forbidden, 403, "forbidden"),
    (QueryTimeout, 503, "timeout"),
    (QueryCanceled, 499, "canceled"),
    (QueryError, 422, "execution"),
    (StoreUnavailable, 503, "unavailable"),
    (StoreError, 500, "internal"),
    (Overloaded, 503, "unavailable"),
    (LimitExceeded, 429, "too_many_requests"),
)


def failure_of(error: MeterhallError) -> Failure:
    """How to tell this failure to the caller."""
    if isinstance(error, Refused):
        return Failure(error.status, error.error_type, str(error))
    for kind, status, error_type in _TABLE:
        if isinstance(error, kind):
            return Failure(status, error_type, str(error), _retry_after_s(error))
    return Failure(500, "internal", str(error))


def _retry_after_s(error: MeterhallError) -> int | None:
    """Seconds after which the same request may succeed; None where it is not a matter of time."""
    if isinstance(error, Overloaded | LimitExceeded):
        return error.retry_after_s
    return 1 if isinstance(error, StoreUnavailable) else None


async def answered(answering: Awaitable[T], scope: Scope) -> T:
    """The answer. What is no failure of ours is a bug, which costs its own request: the log has it, and
    the caller gets a MeterhallError that names the request.
    """
    try:
        return await answering
    except (MeterhallError, ClientGone):
        raise
    except Exception:  # noqa: BLE001 - the last resort
        request_id = str(scope.get("state", {}).get(REQUEST_ID, ""))
        _log.exception("request failed", path=scope["path"], request_id=request_id)
        raise MeterhallError(internal_failure(request_id).text) from None


def internal_failure(request_id: str) -> Failure:
    """A bug of ours: the cause is in the log under this id, and nowhere else."""
    return Failure(500, "internal", f"internal error; the log has it under request id {request_id}")
