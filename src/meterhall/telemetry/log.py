"""Structured log events: one line each, harmless to a terminal, and without secrets.

`configure` sets up structlog, and routes the standard library's logging (uvicorn, SQLAlchemy, …) through
the same processors, so that three promises hold for every line: text from outside cannot forge or colour
lines (control characters, newlines, ANSI escapes and bidirectional marks are escaped), the value of a
field that is named like a secret is masked wherever it is nested, and a line is always one event.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

LogFormat = Literal["json", "console"]

MASK = "***"
# Compared without case, `-` and `_`; a field whose name ends in one of these words is masked too.
_SECRET_NAMES = (
    "key",
    "appkey",
    "xtcappkey",
    "token",
    "authorization",
    "password",
    "secret",
    "cookie",
)
_NOT_SECRET = frozenset(("cachekey",))
# A header or parameter that was formatted into a text, such as "X-TC-APP-KEY: abc" or "appkey=abc".
# Our own pattern, linear: each alternative is a literal and each repetition one character class.
_SECRET_IN_TEXT = re.compile(  # noqa: TID251 - a constant of ours, not a user's pattern.
    r"(?i)((?:x-tc-app-key|app-?key|authorization|token|password)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer\s|basic\s)?)[^\s\"',;&}]+"
)
_NESTING_MAX = 6


def configure(
    log_format: LogFormat = "json", level: str = "info", stream: TextIO | None = None
) -> None:
    """Sets up logging for the process. Call it once, at the start; a second call replaces the first."""
    out = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        mask_secrets,
        escape_fields,
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(log_format, colors=out.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def mask_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replaces the values of fields that are named like secrets, and secrets spelt out in texts."""
    return {
        name: MASK if _is_secret(name) else _masked(value, _NESTING_MAX)
        for name, value in event.items()
    }


def escape_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Makes every field printable on one line. Values that are not plain data become their repr."""
    return {
        one_line(name): value if name.startswith("_") else _escaped(value, _NESTING_MAX)
        for name, value in event.items()
    }


def one_line(text: str) -> str:
    """`text` with everything that is not printable spelt as a Python escape; a space stays."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _renderer(log_format: LogFormat, *, colors: bool) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    console = structlog.dev.ConsoleRenderer(colors=colors)

    def render(logger: Any, method: str, event: EventDict) -> str:
        # The console renderer would set a field of this name on lines of its own.
        if "exception" in event:
            event["traceback"] = event.pop("exception")
        return console(logger, method, event)

    return render


def _is_secret(name: str) -> bool:
    bare = name.lower().replace("-", "").replace("_", "")
    return bare.endswith(_SECRET_NAMES) and bare not in _NOT_SECRET


def _masked(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _SECRET_IN_TEXT.sub(rf"\1{MASK}", value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {
            name: MASK if isinstance(name, str) and _is_secret(name) else _masked(item, depth - 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item, depth - 1) for item in value]
    return value


def _escaped(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, MutableMapping):
        return {one_line(str(name)): _escaped(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escaped(item, depth - 1) for item in value]
    return one_line(repr(value))
