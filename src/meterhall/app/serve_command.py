"""`meterhall quickstart`, `serve` and `check-config`: settings in, a running service out."""

import asyncio
import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from meterhall.app.config import Settings, checked, load, printable
from meterhall.app.own_address import own_address
from meterhall.app.setting_types import ListenAddress, parse_duration_ms, parse_listen
from meterhall.model.errors import BadInput, MeterhallError

T = TypeVar("T")

if TYPE_CHECKING:
    from meterhall.app.wiring import Service
    from meterhall.control.local_host import LocalHost

_QUICKSTART_INTERVAL = "15s"
Announce = Callable[[ListenAddress, ListenAddress], None]
Prepare = Callable[["Service"], Announce]


@click.command("quickstart")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory [default: ./meterhall-data].",
)
@click.option("--listen", help="HOST:PORT [default: 127.0.0.1:9480].")
@click.option("--interval", help=f"Time between collections [default: {_QUICKSTART_INTERVAL}].")
def quickstart(data: Path | None, listen: str | None, interval: str | None) -> None:
    """Serve with no configuration.

    On first use makes a project, an appkey and this machine as a monitored host, and prints what to try next.
    Settings may be given in the environment, as METERHALL_<SECTION>_<KEY>.
    """
    with _one_sentence():
        settings = quickstart_settings(data, listen, interval)
        _run(settings, _prepare_quickstart)


def quickstart_settings(data: Path | None, listen: str | None, interval: str | None) -> Settings:
    """Defaults under the environment under the options. Targets may be on loopback; nothing is rationed."""
    settings = load(None)
    if "METERHALL_COLLECT_ALLOW_LOOPBACK" not in os.environ:
        settings = settings.with_values("collect", allow_loopback=True)
    for limit in ("active_series", "samples_per_second"):
        if f"METERHALL_LIMITS_{limit.upper()}" not in os.environ:
            settings = settings.with_values("limits", **{limit: 0})
    if interval or "METERHALL_COLLECT_INTERVAL" not in os.environ:
        chosen = _option("--interval", parse_duration_ms, interval or _QUICKSTART_INTERVAL)
        settings = settings.with_values("collect", interval=chosen)
    if listen:
        settings = settings.with_values("server", listen=_option("--listen", parse_listen, listen))
    if data:
        settings = settings.with_values("storage", data=str(data))
    return checked(settings, "settings")


@click.command("serve")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="TOML file."
)
@click.option("--print-config", is_flag=True, help="Print the effective settings and exit.")
def serve(config: Path | None, print_config: bool) -> None:
    """Serve from a configuration file, and from METERHALL_<SECTION>_<KEY> in the environment."""
    with _one_sentence():
        settings = load(config)
        if print_config:
            click.echo(printable(settings))
            return
        _run(settings, lambda _service: _announce_serve)


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def check_config(file: Path) -> None:
    """Check a configuration FILE; print what is wrong with it, or that it is right."""
    with _one_sentence():
        load(file, {})
    click.echo(f"{file} is right")


def _prepare_quickstart(service: "Service") -> Announce:
    from meterhall.control.local_host import ensure_local_host

    host = ensure_local_host(service.control.context, socket.gethostname(), own_address())
    data = service.settings.storage.data
    return lambda public, admin: click.echo(_welcome(host, public, admin, data))


def _welcome(host: "LocalHost", public: ListenAddress, admin: ListenAddress, data: str) -> str:
    url = f"http://{public}"
    key = host.key.secret if host.key else "the one shown at the first start"
    shown = host.key.secret if host.key else "$METERHALL_APPKEY"
    question = shlex.quote("query=sum by (mode) (rate(node_cpu_seconds_total[1m]))")
    lines = [
        "",
        f"Meterhall serves on {url} (its own metrics: http://{admin}/metrics)",
        "",
        f"  project  {host.project_id}",
        f"  appkey   {key}",
    ]
    if host.key is None:
        make = f"meterhall keys create --project {host.project_id} --data {shlex.quote(data)}"
        lines += ["", f"The appkey is shown once. If it is lost, make another: {make}"]
    else:
        lines += ["", "The appkey is shown only now; it goes on working when you start again."]
    lines += [
        "",
        "Ask (after two intervals there are rates):",
        f'  curl -H "X-TC-APP-KEY: {shown}" {url}/prometheus/api/v1/query --data-urlencode {question}',
        "",
        "Grafana, data source Prometheus:",
        f"  URL      {url}/prometheus",
        f"  Header   x-tc-app-key: {shown}",
        "",
        f"Calls of the REST API: {url}/docs",
        "",
    ]
    return "\n".join(lines)


def _announce_serve(public: ListenAddress, admin: ListenAddress) -> None:
    click.echo(f"Meterhall serves on http://{public} (its own metrics: http://{admin}/metrics)")


def _run(settings: Settings, prepare: Prepare) -> None:
    """Serves until a signal comes."""
    from meterhall.app import process

    process.tune()
    # These import NumPy, which must find the process tuned.
    import uvloop

    from meterhall.app import server
    from meterhall.app.wiring import open_service
    from meterhall.telemetry import log

    log.configure(settings.log.format, settings.log.level)  # type: ignore[arg-type]
    with (
        open_service(settings) as service,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
    ):
        loop.run(server.run(service, prepare(service)))


def _option(name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except BadInput as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=name) from None


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """A refusal ends the command with its sentence and exit status 1, never with a traceback."""
    try:
        yield
    except MeterhallError as error:
        click.echo(f"meterhall: {error}", err=True)
        sys.exit(1)
