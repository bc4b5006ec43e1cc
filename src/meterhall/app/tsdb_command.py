"""`meterhall tsdb`: what a data directory holds, and whether all of it is sound. Both only read."""

import sys
from pathlib import Path

import click

from meterhall.app.config import STORE_FOLDER

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def tsdb() -> None:
    """Look into the embedded store's directory."""


@tsdb.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--top", default=10, show_default=True, help="Metrics to list for each project.")
def inspect(directory: Path, as_json: bool, top: int) -> None:
    """Count what DIRECTORY holds, by project and metric."""
    import orjson

    from meterhall.tsdb.inspect import inspect as count

    contents = count(_store_of(directory))
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

    verified = check(_store_of(directory))
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


def _store_of(directory: Path) -> Path:
    """The store's own directory, also where that of the whole service (`--data`) is given."""
    inside = directory / STORE_FOLDER
    return inside if inside.is_dir() else directory
