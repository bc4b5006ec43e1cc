"""`meterhall tsdb`: what a data directory holds, and whether all of it is sound (both only read); copies of it."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from meterhall.app.archive_commands import (
    existing_store,
    export_samples,
    import_samples,
    snapshot,
)

if TYPE_CHECKING:
    from meterhall.tsdb.inspect import Use

T = TypeVar("T")

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def tsdb() -> None:
    """Look into the embedded store's directory, copy it, take samples out and in."""


@tsdb.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--top", default=10, show_default=True, help="Metrics to list for each workspace.")
def inspect(directory: Path, as_json: bool, top: int) -> None:
    """Count what DIRECTORY holds, by project, workspace and metric, the largest first."""
    import orjson

    from meterhall.tsdb.inspect import inspect as count

    contents = count(existing_store(directory))
    if as_json:
        tenants = [
            {"region": tenant.region, "project": tenant.project, "use": use}
            for tenant, use in contents.tenants.items()
        ]
        body = {
            "blocks": contents.blocks,
            "blockBytes": contents.block_bytes,
            "logSegments": contents.log_segments,
            "logBytes": contents.log_bytes,
            "unreadable": contents.unreadable,
            "tenants": tenants,
        }
        click.echo(orjson.dumps(body, option=orjson.OPT_INDENT_2))
        return
    click.echo(
        f"{contents.blocks} blocks, {contents.block_bytes:,} bytes; "
        f"{contents.log_segments} log segments, {contents.log_bytes:,} bytes"
    )
    for tenant, use in sorted(contents.tenants.items(), key=lambda item: str(item[0])):
        click.echo(
            f"\n{tenant.region}/{tenant.project}: {_told(use.total)}, {use.log_samples:,} in the log"
        )
        for job, workspace in _largest(use.workspaces.items(), lambda item: item.total):
            click.echo(f"  {job or '(no workspace)'}: {_told(workspace.total)}")
            for name, metric in _largest(workspace.metrics.items(), lambda item: item)[:top]:
                click.echo(f"    {name}: {_told(metric)}")
    for piece in contents.unreadable:
        click.echo(f"cannot be read: {piece}", err=True)


def _largest(items: Iterable[tuple[str, T]], use_of: Callable[[T], "Use"]) -> list[tuple[str, T]]:
    return sorted(items, key=lambda item: (-use_of(item[1]).block_bytes, item[0]))


def _told(use: "Use") -> str:
    return f"{use.series:,} series, {use.samples:,} samples, {use.block_bytes:,.0f} bytes in blocks"


@tsdb.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(directory: Path, as_json: bool) -> None:
    """Check every checksum in DIRECTORY. Exit status 1 where anything is damaged."""
    import orjson

    from meterhall.tsdb.verify import verify as check

    verified = check(existing_store(directory))
    if as_json:
        click.echo(orjson.dumps(verified, option=orjson.OPT_INDENT_2))
    else:
        for fault in verified.faults:
            click.echo(f"{fault.file} at {fault.offset}: {fault.reason}")
        click.echo(
            f"{verified.files} files, {verified.bytes:,} bytes, {len(verified.faults)} faults"
        )
    if verified.faults:
        sys.exit(1)


for archive_command in (snapshot, export_samples, import_samples):
    tsdb.add_command(archive_command)
