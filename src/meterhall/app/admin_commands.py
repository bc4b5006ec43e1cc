"""`meterhall projects|keys|hosts|db`: the operator's commands on the control database.

They open the database themselves, so they work with the server stopped or running; a running server
notices within seconds. `--data` and `--config` may stand behind the group or behind the command.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args

import click
from sqlalchemy.exc import DBAPIError

from meterhall.app.config import Settings
from meterhall.app.control_plane import database_url, open_control, settings_of
from meterhall.app.setting_types import DurationMs, parse_bytes, parse_duration_ms
from meterhall.control import tables
from meterhall.control.database import open_database, upgrade
from meterhall.control.hosts import Collect, Host, HostDraft, Os
from meterhall.control.keys import Key, KeyDraft
from meterhall.control.plane import Control
from meterhall.control.projects import Project
from meterhall.model.errors import BadInput, MeterhallError
from meterhall.model.retention import Retention
from meterhall.model.tenant import ALL_SCOPES, ENROL_SCOPES, Scope

_DEFAULT_DATA = Path("meterhall-data")
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Row = Mapping[str, Any]


def _settings(data: Path | None, config: Path | None) -> Settings:
    """Settings of a file or of a directory. An explicit directory is made; the default one must exist."""
    if data is None and config is None and not _DEFAULT_DATA.is_dir():
        raise BadInput(f"there is no ./{_DEFAULT_DATA}; say --data DIR or --config FILE")
    return settings_of(data, config)


def _where_options(function: Callable[..., Any]) -> Callable[..., Any]:
    data = click.option("--data", type=_FOLDER, help="Data directory [default: ./meterhall-data].")
    config = click.option("--config", type=_FILE, help="Configuration file.")
    return data(config(function))


def _group(name: str, meaning: str) -> Callable[[Callable[..., None]], click.Group]:
    """A group whose --data and --config its commands inherit."""

    def decorate(function: Callable[..., None]) -> click.Group:
        group = click.group(name, help=meaning)
        return group(_where_options(click.pass_context(function)))

    return decorate


def _where(data: Path | None, config: Path | None) -> tuple[Path | None, Path | None]:
    """The command's own options, or else those of its group."""
    context = click.get_current_context()
    outer = context.parent.params if context.parent else {}
    if data is None and config is None:
        data, config = outer.get("data"), outer.get("config")
    if data is not None and config is not None:
        raise click.UsageError("--data and --config exclude each other")
    return data, config


def _with_control(function: Callable[..., None]) -> Callable[..., Any]:
    """Runs a command with an open control plane; a refusal becomes one sentence and exit status 1."""

    @_where_options
    @functools.wraps(function)
    def run(data: Path | None, config: Path | None, **arguments: Any) -> None:
        where = _where(data, config)
        try:
            control = open_control(_settings(*where))
            try:
                function(control, **arguments)
            finally:
                control.close()
        except MeterhallError as error:
            raise click.ClickException(str(error)) from None

    return run


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_project_option = click.option("--project", required=True, metavar="ID", help="The project's id.")
_project_filter = click.option("--project", metavar="ID", help="Only this project's.")


def _show(rows: Sequence[Row], as_json: bool) -> None:
    """A JSON array, or a table with the keys as its head."""
    if as_json:
        click.echo(json.dumps(list(rows)))
        return
    if not rows:
        click.echo("none")
        return
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _show_one(row: Row, as_json: bool) -> None:
    """A JSON object, or one line for each of its keys."""
    if as_json:
        click.echo(json.dumps(dict(row)))
        return
    for key, value in row.items():
        click.echo(f"{key}: {_cell(value)}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)


def _time(time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@_group("projects", "Projects: the tenants.")
def projects(_context: click.Context, **_where: Any) -> None:
    """See `meaning`."""


@projects.command("create")
@click.argument("name")
@_json_option
@_with_control
def create_project(control: Control, name: str, as_json: bool) -> None:
    """Make a project and its first appkey, which is shown only now."""
    made = control.projects.create(name)
    _show_one({"projectId": made.project.project_id, "appkey": made.key.secret}, as_json)


@projects.command("list")
@_json_option
@_with_control
def list_projects(control: Control, as_json: bool) -> None:
    """List all projects."""
    _show([_project_row(project) for project in control.projects.list()], as_json)


@projects.command("delete")
@click.argument("project_id", metavar="ID")
@_with_control
def delete_project(control: Control, project_id: str) -> None:
    """Delete a project with its keys, hosts, workspaces, targets and samples."""
    control.projects.delete(project_id)
    click.echo(f"deleted {project_id}")


@projects.command("limits")
@click.argument("project_id", metavar="ID")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A whole number, 0 for no limit, or `default` for what [limits] says. May be repeated.",
)
@_json_option
@_with_control
def project_limits(
    control: Control, project_id: str, changes: Sequence[str], as_json: bool
) -> None:
    """Show a project's limits, or set some; a running server follows within seconds."""
    if changes:
        control.limits.change(project_id, dict(map(_limit_change, changes)))
    rows = [
        {"limit": name, "value": value, "from": "project" if own else "configuration"}
        for name, (value, own) in control.limits.of_project(project_id).items()
    ]
    _show(rows, as_json)


@projects.command("retention")
@click.argument("project_id", metavar="ID")
@click.option("--job", default="", help="Of this workspace [default: of the whole project].")
@click.option("--time", "time", metavar="DURATION", help="Such as 30d; `default` for [storage]'s.")
@click.option("--size", metavar="SIZE", help="Such as 10GiB; `default` for no limit.")
@_json_option
@_with_control
def project_retention(
    control: Control,
    project_id: str,
    job: str,
    time: str | None,
    size: str | None,
    as_json: bool,
) -> None:
    """Show how long a project keeps samples, or set it; a running server follows within seconds.

    What is gone stays gone, also where a retention is lengthened afterwards.
    """
    rules = control.retentions.of_project(project_id)
    if time is not None or size is not None:
        old = rules.get(job, Retention())
        time_ms = old.time_ms if time is None else _rule("--time", parse_duration_ms, time)
        size_bytes = old.bytes if size is None else _rule("--size", parse_bytes, size)
        control.retentions.change(project_id, job, Retention(time_ms, size_bytes))
        rules = control.retentions.of_project(project_id)
    rows = [
        {
            "job": name or None,
            "time": str(DurationMs(rule.time_ms)) if rule.time_ms else None,
            "bytes": rule.bytes or None,
        }
        for name, rule in sorted(rules.items())
    ]
    _show(rows, as_json)


@_group("keys", "Appkeys of projects.")
def keys(_context: click.Context, **_where: Any) -> None:
    """See `meaning`."""


@keys.command("create")
@_project_option
@click.option("--name", default="key", show_default=True, help="What the key is for.")
@click.option(
    "--scope",
    default="manage,query,write",
    show_default=True,
    help="What it may do; enrol, alone and with --expires, makes a one-time token for an agent.",
)
@click.option("--expires", metavar="DURATION", help="Lifetime, such as 90d [default: for ever].")
@_json_option
@_with_control
def create_key(
    control: Control, project: str, name: str, scope: str, expires: str | None, as_json: bool
) -> None:
    """Make an appkey, which is shown only now."""
    lifetime_ms = None if expires is None else _lifetime_ms(expires)
    made = control.keys.create(project, KeyDraft(name, _scopes(scope), lifetime_ms))
    _show_one({"keyId": made.key_id, "key": made.secret}, as_json)


@keys.command("list")
@_project_filter
@_json_option
@_with_control
def list_keys(control: Control, project: str | None, as_json: bool) -> None:
    """List keys; never their secrets."""
    _show([_key_row(key) for key in control.keys.list(project)], as_json)


@keys.command("revoke")
@click.argument("key_id", metavar="KEYID")
@_with_control
def revoke_key(control: Control, key_id: str) -> None:
    """Refuse a key from now on."""
    control.keys.revoke(key_id)
    click.echo(f"revoked {key_id}")


@_group("hosts", "Hosts, on which collection runs.")
def hosts(_context: click.Context, **_where: Any) -> None:
    """See `meaning`."""


@hosts.command("add")
@_project_option
@click.option("--region", required=True, help="The region's code, such as kr.")
@click.option("--name", required=True, help="Its name; `instance` begins with it.")
@click.option("--address", required=True, metavar="IP", help="Where it is reached.")
@click.option("--instance-id", help="The cloud's id.")
@click.option(
    "--os", "os_name", type=click.Choice(get_args(Os)), default="linux", show_default=True
)
@click.option(
    "--collect",
    type=click.Choice(get_args(Collect)),
    default="agent",
    show_default=True,
    help="direct: the server fetches; agent: the host's agent does.",
)
@_json_option
@_with_control
def add_host(control: Control, project: str, as_json: bool, **fields: str | None) -> None:
    """Add a host to a project."""
    draft = HostDraft(
        region=str(fields["region"]),
        name=str(fields["name"]),
        address=str(fields["address"]),
        instance_id=fields["instance_id"],
        os=cast("Os", fields["os_name"]),
        collect=cast("Collect", fields["collect"]),
    )
    _show_one({"hostId": control.hosts.add(project, draft).host_id}, as_json)


@hosts.command("list")
@_project_filter
@click.option("--region", help="Only this region's.")
@_json_option
@_with_control
def list_hosts(control: Control, project: str | None, region: str | None, as_json: bool) -> None:
    """List hosts."""
    _show([_host_row(host) for host in control.hosts.list(project, region)], as_json)


@hosts.command("remove")
@click.argument("host_id", metavar="HOSTID")
@_with_control
def remove_host(control: Control, host_id: str) -> None:
    """Remove a host and its targets."""
    control.hosts.remove(host_id)
    click.echo(f"removed {host_id}")


@_group("db", "The control database.")
def db(_context: click.Context, **_where: Any) -> None:
    """See `meaning`."""


@db.command("upgrade")
@_where_options
def upgrade_database(data: Path | None, config: Path | None) -> None:
    """Bring the schema to this version's; a server that starts does the same."""
    try:
        database = open_database(database_url(_settings(*_where(data, config))))
        try:
            found = upgrade(database)
        finally:
            database.close()
    except DBAPIError as error:
        raise click.ClickException(f"the control database cannot be used: {error.orig}") from None
    except MeterhallError as error:
        raise click.ClickException(str(error)) from None
    was = f"from {found}" if found else "from nothing"
    changed = "is already at" if found == tables.REVISION else f"was brought {was} to"
    click.echo(f"the schema {changed} revision {tables.REVISION}")


def _lifetime_ms(text: str) -> int:
    try:
        return int(parse_duration_ms(text))
    except BadInput as error:
        raise BadInput(f"--expires {text!r}: {error}") from None


def _rule(option: str, parse: Callable[[str], int], text: str) -> int:
    if text == "default":
        return 0
    try:
        return int(parse(text))
    except BadInput as error:
        raise BadInput(f"{option} {text!r}: {error}, or default") from None


def _limit_change(text: str) -> tuple[str, int | None]:
    name, equals, value = text.partition("=")
    if not equals or not (value.isdecimal() or value == "default"):
        raise BadInput(f"--set {text!r}: allowed is NAME=NUMBER or NAME=default")
    return name, None if value == "default" else int(value)


def _scopes(text: str) -> frozenset[Scope]:
    names = frozenset(text.split(","))
    if names != ENROL_SCOPES and not names <= ALL_SCOPES:
        # An empty name, from a stray comma, is as wrong as an unknown one.
        allowed = ", ".join(sorted(ALL_SCOPES))
        raise BadInput(f"--scope {text!r}: allowed are {allowed}; or enrol alone")
    return cast("frozenset[Scope]", names)


def _project_row(project: Project) -> Row:
    return {
        "projectId": project.project_id,
        "name": project.name,
        "created": _time(project.created_ms),
    }


def _key_row(key: Key) -> Row:
    return {
        "keyId": key.key_id,
        "projectId": key.project_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created": _time(key.created_ms),
        "expires": _time(key.expires_ms),
        "revoked": _time(key.revoked_ms),
        "lastUsed": _time(key.last_used_ms),
    }


def _host_row(host: Host) -> Row:
    return {
        "hostId": host.host_id,
        "projectId": host.project_id,
        "region": host.region,
        "name": host.name,
        "address": host.address,
        "instanceId": host.instance_id,
        "os": host.os,
        "collect": host.collect,
        "agent": host.agent_version,
        "silentSince": _time(host.silent_ms),
        "created": _time(host.created_ms),
    }
