"""`meterhall tsdb`: what a data directory holds, and whether all of it is sound (both only read); copies of it."""

import sys
from pathlib import Path

import click

from meterhall.app.archive_commands import export_samples, import_samples, snapshot
from meterhall.app.config import store_of

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def tsdb() -> None:
    """Look into the embedded store's directory, copy it, take samples out and in."""


@tsdb.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--top", default=10, show_default=True, help="Metrics to list for each project.")
def inspect(directory: Path, as_json: bool, top: int) -> None:
    """Count what DIRECTORY holds, by project and metric."""
    import orjson

    from meterhall.tsdb.inspect import inspect as count

    contents = count(store_of(directory))
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
        samples = sum(metric.samples for metric in use.metrics.values())
        click.echo(
            f"\n{tenant.region}/{tenant.project}: {samples:,} samples in blocks, "
            f"{use.log_samples:,} in the log, {len(use.metrics)} metrics, "
            f"index {use.index_bytes:,} bytes"
        )
        largest = sorted(use.metrics.items(), key=lambda item: (-item[1].samples, item[0]))
        for name, metric in largest[:top]:
            click.echo(
                f"  {name}: {metric.series:,} series, {metric.samples:,} samples, "
                f"{metric.block_bytes:,.0f} bytes"
            )
    for piece in contents.unreadable:
        click.echo(f"cannot be read: {piece}", err=True)


@tsdb.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(directory: Path, as_json: bool) -> None:
    """Check every checksum in DIRECTORY. Exit status 1 where anything is damaged."""
    import orjson

    from meterhall.tsdb.verify import verify as check

    verified = check(store_of(directory))
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
