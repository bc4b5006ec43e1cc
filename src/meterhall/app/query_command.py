"""`meterhall query`: asks a running service and prints a table, or a chart for a range.

It is a client like any other: it speaks the Prometheus API with an appkey, which comes from the environment or
a file, so that it never stands in the process list.
"""

import json
import math
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from meterhall.app.chart import draw

APPKEY_VARIABLE = "METERHALL_APPKEY"
_TIMEOUT_S = 150


@click.command("query")
@click.argument("expression")
@click.option("--server", default="http://127.0.0.1:9480", show_default=True, help="Base URL.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"File that holds the appkey; without it, the variable {APPKEY_VARIABLE}.",
)
@click.option("--time", "at", help="Evaluation time: Unix seconds or RFC 3339. Default: now.")
@click.option("--start", help="Begin of a range: as --time, or relative, such as -1h.")
@click.option("--end", help="End of a range. Default: now.")
@click.option("--step", help="Step of a range, such as 15s. Default: a hundredth of the range.")
@click.option("--json", "as_json", is_flag=True, help="Print the service's answer as it came.")
def query(**options: Any) -> None:
    """Evaluate a PromQL EXPRESSION; print a table, or a chart when --start is given."""
    path, form = _request_of(options)
    answer = _ask(options["server"], path, form, _appkey(options["key_file"]))
    for note in (*answer.get("warnings", ()), *answer.get("infos", ())):
        click.echo(note, err=True)
    if options["as_json"]:
        click.echo(json.dumps(answer))
        return
    for line in _lines(answer["data"]):
        click.echo(line)


def _appkey(file: Path | None) -> str:
    if file is not None:
        return file.read_text("utf-8").strip()
    key = os.environ.get(APPKEY_VARIABLE, "")
    if not key:
        raise click.ClickException(f"no appkey: set {APPKEY_VARIABLE}, or give --key-file")
    return key


def _request_of(options: dict[str, Any]) -> tuple[str, dict[str, str]]:
    form = {"query": options["expression"]}
    if options["start"] is None:
        if options["at"]:
            form["time"] = options["at"]
        return "query", form
    now_s = time.time()  # noqa: TID251 - a client command has no service clock.
    form["start"] = _absolute(options["start"], now_s)
    form["end"] = _absolute(options["end"] or str(now_s), now_s)
    form["step"] = options["step"] or _default_step(form["start"], form["end"])
    return "query_range", form


def _absolute(text: str, now_s: float) -> str:
    """`-1h` as Unix seconds; anything else is left to the service to read."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    if text.startswith("-") and text[-1:] in units and text[1:-1].isdecimal():
        return f"{now_s - int(text[1:-1]) * units[text[-1]]:.3f}"
    return text


def _default_step(start: str, end: str) -> str:
    try:
        return str(max(1, math.ceil((float(end) - float(start)) / 100)))
    except ValueError:
        raise click.ClickException("--step is needed when --start or --end is a date") from None


def _ask(server: str, path: str, form: dict[str, str], appkey: str) -> dict[str, Any]:
    if not server.startswith(("http://", "https://")):
        raise click.ClickException("--server must begin with http:// or https://")
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above.
        f"{server.rstrip('/')}/prometheus/api/v1/{path}",
        urllib.parse.urlencode(form).encode(),
        {"X-TC-APP-KEY": appkey},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise click.ClickException(_error_text(error)) from None
    except OSError as error:
        raise click.ClickException(f"{server} cannot be reached: {error}") from None


def _error_text(error: urllib.error.HTTPError) -> str:
    try:
        body = json.load(error)
        return f"{body['errorType']}: {body['error']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code} {error.reason}"


def _lines(data: dict[str, Any]) -> Iterator[str]:
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        yield str(result[1])
    elif kind == "vector":
        yield from _table([(_name(item["metric"]), item["value"][1]) for item in result])
    else:
        series = [
            (_name(item["metric"]), [(float(t), float(v)) for t, v in item.get("values", ())])
            for item in result
        ]
        yield from draw(series, width=_terminal_columns())


def _terminal_columns() -> int:
    return os.get_terminal_size().columns if sys.stdout.isatty() else 100


def _name(metric: dict[str, str]) -> str:
    labels = ", ".join(
        f"{name}={json.dumps(value)}" for name, value in metric.items() if name != "__name__"
    )
    return metric.get("__name__", "") + (f"{{{labels}}}" if labels or not metric else "")


def _table(rows: list[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        yield "(no series)"
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        yield f"{name:<{width}}  {value}"
