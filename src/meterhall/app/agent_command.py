"""`meterhall agent run`: the host agent, which imports nothing of the service but its collection."""

import asyncio
import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meterhall.app.clock import SystemClock
from meterhall.app.own_address import own_address
from meterhall.app.process import share_one_arena
from meterhall.app.setting_types import parse_bytes, parse_duration_ms
from meterhall.model.errors import BadInput, ConfigError, MeterhallError
from meterhall.telemetry.log import LogFormat

if TYPE_CHECKING:
    from meterhall.agent.agent import Agent, AgentSettings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_KEY_CHARS_MAX = 1024


@dataclass(frozen=True, slots=True)
class _Options:
    """What was given to `agent run`."""

    server: str
    key: str | None
    key_file: Path | None
    spool: Path
    spool_size: str
    spool_age: str
    name: str | None
    address: str | None
    region: str | None
    ca_file: Path | None
    allow_plain_http: bool
    no_metadata: bool
    log_format: LogFormat


@click.group("agent")
def agent() -> None:
    """The host agent: collects on its own host, and pushes."""


@agent.command("run")
@click.option(
    "--server", required=True, envvar="METERHALL_AGENT_SERVER", help="URL of the service."
)
@click.option(
    "--key",
    envvar="METERHALL_AGENT_KEY",
    help="Key of scope write, or a one-time token; needed once. Everyone on the host can read a "
    "command line: --key-file or METERHALL_AGENT_KEY is better.",
)
@click.option(
    "--key-file", type=_FILE, envvar="METERHALL_AGENT_KEY_FILE", help="File that holds the key."
)
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    default="meterhall-agent",
    show_default=True,
    envvar="METERHALL_AGENT_SPOOL",
    help="Directory of the agent: its credential, and what is not delivered yet.",
)
@click.option(
    "--spool-size",
    default="512MiB",
    show_default=True,
    envvar="METERHALL_AGENT_SPOOL_SIZE",
    help="Bytes that may wait; the oldest go first.",
)
@click.option(
    "--spool-age",
    default="24h",
    show_default=True,
    envvar="METERHALL_AGENT_SPOOL_AGE",
    help="How long scrapes may wait.",
)
@click.option("--name", envvar="METERHALL_AGENT_NAME", help="Host name [default: the system's].")
@click.option("--address", envvar="METERHALL_AGENT_ADDRESS", help="Address to show for this host.")
@click.option("--region", envvar="METERHALL_AGENT_REGION", help="Region [default: the service's].")
@click.option(
    "--ca-file",
    type=_FILE,
    envvar="METERHALL_AGENT_CA_FILE",
    help="Certificates to trust instead of the system's.",
)
@click.option("--allow-plain-http", is_flag=True, help="Send key and data unencrypted to any host.")
@click.option("--no-metadata", is_flag=True, help="Do not ask the cloud for the instance's id.")
@click.option(
    "--log-format", type=click.Choice(["json", "console"]), default="json", show_default=True
)
def run(**given: Any) -> None:
    """Run the agent of this host.

    The first start enrols the host and gets a credential of its own, kept in the spool's directory; the key is
    not needed after that. Targets are what the service names, fetched on this host alone. An option may be
    given in the environment, as METERHALL_AGENT_<OPTION>.
    """
    options = _Options(**given)
    try:
        _run(options)
    except MeterhallError as error:
        raise click.ClickException(str(error)) from None


def _run(options: _Options) -> None:
    """Runs until a signal comes."""
    from meterhall.agent.agent import Agent
    from meterhall.telemetry import log
    from meterhall.tsdb.disk import Disk
    from meterhall.tsdb.lock import DirectoryLock

    share_one_arena()
    settings = _settings(options)
    log.configure(options.log_format)
    settings.state.open()
    lock = DirectoryLock(options.spool)
    try:
        agent = Agent(settings, SystemClock(), Disk())
        asyncio.run(_until_signal(agent))
    except OSError as error:
        raise ConfigError(f"the directory {options.spool} cannot be used: {error}") from None
    finally:
        lock.release()


async def _until_signal(agent: "Agent") -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await agent.run(stopping)


def _settings(options: _Options) -> "AgentSettings":
    from meterhall.agent.agent import AgentSettings
    from meterhall.agent.channel import ServerSettings
    from meterhall.agent.instance import METADATA_URL
    from meterhall.agent.spool import SpoolSettings
    from meterhall.agent.state import StateDirectory

    server = ServerSettings(options.server, options.ca_file, options.allow_plain_http)
    # A wrong URL is told at once, before anything is made.
    server.base()
    return AgentSettings(
        server=server,
        state=StateDirectory(options.spool),
        key=_secret(options),
        hostname=options.name or platform.node() or "localhost",
        address=options.address or own_address(),
        region=options.region,
        metadata_url=None if options.no_metadata else METADATA_URL,
        spool=SpoolSettings(
            bytes_max=_parsed("--spool-size", parse_bytes, options.spool_size),
            age_ms_max=_parsed("--spool-age", parse_duration_ms, options.spool_age),
        ),
    )


def _secret(options: _Options) -> str | None:
    if options.key_file is None:
        return options.key
    try:
        return options.key_file.read_text("utf-8")[:_KEY_CHARS_MAX].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--key-file cannot be read: {error}") from None


def _parsed(option: str, parse: Callable[[str], int], text: str) -> int:
    try:
        return parse(text)
    except BadInput as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint=option) from None
