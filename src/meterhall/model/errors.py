"""Every kind of failure that crosses a floor, in one tree. Kinds, not status codes.

    MeterhallError
    ├── BadInput                    the caller sent something wrong; the text names it
    │   ├── ExpositionError         a page that cannot be parsed; knows its line
    │   ├── PromQLError             an expression that cannot be parsed; knows its position
    │   ├── WriteRequestError       a push body that cannot be decoded
    │   └── TooLarge                a body, name or value over its limit
    ├── Unauthorized                no key, or none that is valid
    ├── Forbidden                   a valid key that may not do this
    ├── ControlError                a business refusal of the control plane; see its `code`
    ├── QueryError                  an expression that is sound but cannot be answered
    │   ├── QueryTimeout            the deadline passed
    │   └── QueryCanceled           the caller went away
    ├── StoreError
    │   ├── StoreLocked             another process holds the data directory
    │   └── StoreUnavailable        cannot take writes now (disk full, I/O error); try again
    ├── Overloaded                  a queue is full; try again later
    ├── LimitExceeded               a project is over one of its ceilings; other projects go on
    └── ConfigError                 a wrong setting; names file, key and what is allowed

Broken invariants are assertions, never one of these. HTTP statuses are chosen at the edge, by table.
"""

from typing import Literal


class MeterhallError(Exception):
    """Root of all failures that this package raises on purpose."""


class BadInput(MeterhallError):
    """The caller sent something wrong; the text names the culprit."""


class ExpositionError(BadInput):
    """An exposition page that cannot be parsed. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class PromQLError(BadInput):
    """A PromQL text that does not parse or type-check.

    The text is Prometheus' own: `LINE:COL: parse error: …`, or `unknown position: parse error: …`.
    """


class WriteRequestError(BadInput):
    """A remote-write body that cannot be decoded."""


class TooLarge(BadInput):
    """A body, a name or a value over its limit."""


class Unauthorized(MeterhallError):
    """No appkey, or none that is valid."""


class Forbidden(MeterhallError):
    """A valid appkey that may not do this."""


ControlCode = Literal[
    "ALREADY_EXIST",
    "BAD_INPUT_VALUE",
    "INVALID_HOST_OR_PROJECT",
    "NOT_FOUND_JOB",
    "NOT_FOUND_TARGET",
    "SYSTEM_RESERVED_JOB",
    "LIMIT_EXCEEDED",
]


class ControlError(MeterhallError):
    """A business refusal of the control plane. `code` is the guide's resultMessage."""

    def __init__(self, code: ControlCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ControlCode = code
        self.detail = detail


class QueryError(MeterhallError):
    """A sound expression that cannot be answered (Prometheus' errorType `execution`)."""


class QueryTimeout(QueryError):
    """The query's deadline passed."""


class QueryCanceled(QueryError):
    """The caller went away."""


class StoreError(MeterhallError):
    """The store cannot do what was asked."""


class StoreLocked(StoreError):
    """Another process holds the data directory."""


class StoreUnavailable(StoreError):
    """Writes cannot be made durable now; the same request may succeed later."""


class Overloaded(MeterhallError):
    """A queue is full. `retry_after_s` says when to try again."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class LimitExceeded(MeterhallError):
    """A project is over one of its ceilings. `retry_after_s` says when that may have changed."""

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ConfigError(MeterhallError):
    """A wrong setting; the text names file, key and what is allowed."""
