"""`meterhall tsdb snapshot|export|import`: copies of the store, and samples as OpenMetrics text, out and in.

A snapshot is asked of the running server. Export and import open a store themselves: that of a stopped
server, or a snapshot.
"""

import http.client
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from meterhall.app.config import STORE_FOLDER, store_of
from meterhall.app.control_plane import settings_of
from meterhall.model.errors import MeterhallError, Overloaded

if TYPE_CHECKING:
    from meterhall.model.labels import Labels
    from meterhall.model.tenant import Tenant
    from meterhall.ports.series import SeriesReader
    from meterhall.tsdb.store import EmbeddedStore

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_CONFIG = click.Path(exists=True, dir_okay=False, path_type=Path)
_SNAPSHOT_TIMEOUT_S = 600
# How long an import waits for a store that takes nothing.
_WAIT_S, _WAITS_MAX = 0.2, 3000
_HUNDRED_YEARS_MS = 100 * 365 * 86_400_000
_project = click.option("--project", required=True, metavar="ID", help="The project's id.")
_region = click.option("--region", default="kr", show_default=True, help="The region's code.")


@click.command()
@click.option("--data", type=_DIRECTORY, help="Data directory of the running server.")
@click.option("--config", type=_CONFIG, help="Its configuration file.")
@click.option("--skip-head", is_flag=True, help="Only what is in blocks, without the newest hours.")
def snapshot(data: Path | None, config: Path | None, skip_head: bool) -> None:
    """Ask the running server for a snapshot of its store, and print where it is."""
    from meterhall.tsdb.filenames import SNAPSHOT_DIRECTORY
    from meterhall.web.admin import SNAPSHOT_PATH

    settings = settings_of(data, config)
    listen = settings.admin.listen
    connection = http.client.HTTPConnection(listen.host, listen.port, timeout=_SNAPSHOT_TIMEOUT_S)
    try:
        with closing(connection):
            connection.request("POST", f"{SNAPSHOT_PATH}?skip_head={str(skip_head).lower()}")
            answer = json.loads(connection.getresponse().read())
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"no server answers at {listen} ({error}); the directory of a stopped one can be copied"
        ) from None
    if answer["status"] != "success":
        raise click.ClickException(answer["error"])
    click.echo(
        Path(settings.storage.data) / STORE_FOLDER / SNAPSHOT_DIRECTORY / answer["data"]["name"]
    )


@click.command("export")
@click.argument("directory", type=_DIRECTORY)
@_project
@_region
@click.option("--match", "selectors", multiple=True, help="Only these series. May be repeated.")
@click.option("--start", help="Unix seconds or RFC 3339 [default: the oldest sample].")
@click.option("--end", help="Unix seconds or RFC 3339 [default: the newest sample].")
@click.option("--stale-markers", is_flag=True, help="Keep staleness markers, spelled nan.")
@click.option(
    "--output", type=click.File("wb"), default="-", help="File [default: standard output]."
)
def export_samples(directory: Path, project: str, region: str, **options: Any) -> None:
    """Write a project's samples in DIRECTORY as OpenMetrics text.

    DIRECTORY is that of a stopped server, or a snapshot. Prometheus reads the text with `promtool tsdb
    create-blocks-from openmetrics`, other systems with their importers. They take a marker for the value NaN,
    so markers are left out unless they are asked for; `tsdb import` knows them.
    """
    from meterhall.wire.export import END

    output: BinaryIO = options["output"]
    with _one_sentence(), closing(_opened(existing_store(directory))) as store:
        reader = store.reader(_tenant(region, project))
        output.writelines(_exported(reader, options))
        output.write(END)


@click.command("import")
@click.argument("directory", type=_DIRECTORY)
@click.argument("file", type=click.File("rb"))
@_project
@_region
def import_samples(directory: Path, file: BinaryIO, project: str, region: str) -> None:
    """Take the OpenMetrics text in FILE (- is standard input) into a project's samples in DIRECTORY.

    DIRECTORY is that of a stopped server. Samples may be of any age; what the project's retention does not keep, the
    server drops again. A sample that is there already is taken once; the counts of what was refused are
    printed, and the exit status is 1 then.
    """
    from meterhall.ingest.importing import import_lines

    with _one_sentence(), closing(_opened(store_of(directory))) as store:
        done = import_lines(file, store.writer(_tenant(region, project)), _patience())
    click.echo(f"{done.samples:,} samples are in {directory}")
    for reason, count in done.refused.items():
        click.echo(f"{count:,} refused: {reason}", err=True)
    if done.refused:
        sys.exit(1)


def existing_store(directory: Path) -> Path:
    """The store that is there. Raises ClickException where there is none: zeros would read as all being well."""
    from meterhall.tsdb.filenames import is_store

    store = store_of(directory)
    if not is_store(store):
        raise click.ClickException(f"{directory} holds no store: it has no wal/ and blocks/")
    return store


def _exported(reader: "SeriesReader", options: Mapping[str, Any]) -> Iterator[bytes]:
    """Lines, metric by metric, so that memory follows the largest metric and not the store."""
    from meterhall.model.labels import METRIC_NAME
    from meterhall.model.matcher import Matcher, MatchOp
    from meterhall.web.prometheus.params import matcher_sets, parse_time_ms
    from meterhall.wire.export import series_lines, time_tokens

    sets = matcher_sets(options["selectors"]) or [()]
    start_ms = -(2**62) if options["start"] is None else parse_time_ms(options["start"])
    end_ms = 2**62 if options["end"] is None else parse_time_ms(options["end"])
    for name in reader.label_values(METRIC_NAME, [each for each in sets if each], start_ms, end_ms):
        written: set[Labels] = set()
        for matchers in sets:
            named = [*matchers, Matcher(MatchOp.EQUAL, METRIC_NAME, name)]
            selection = reader.select(named, start_ms, end_ms)
            for group in selection.groups():
                times = time_tokens(group.times)
                for row, values in zip(group.rows.tolist(), group.values, strict=True):
                    labels = selection.labels[row]
                    if labels not in written:
                        markers = options["stale_markers"]
                        yield from series_lines(labels, times, values, markers=markers)
            written.update(selection.labels)


def _opened(directory: Path) -> "EmbeddedStore":
    """The store, with upkeep that drops nothing for its age. Raises StoreLocked where a server has it."""
    from meterhall.app.clock import SystemClock
    from meterhall.tsdb.settings import StoreSettings
    from meterhall.tsdb.store import EmbeddedStore

    settings = StoreSettings(retention_ms=_HUNDRED_YEARS_MS)
    return EmbeddedStore(directory, settings, SystemClock(), awaits_rules=True)


def _tenant(region: str, project: str) -> "Tenant":
    """Whoever can read the directory may read every project in it."""
    from meterhall.control.access import issue_tenant

    return issue_tenant(region, project)


def _patience() -> Callable[[], None]:
    """Waits a moment each time it is called, and gives up after some minutes."""
    waits = itertools.count()

    def wait() -> None:
        if next(waits) >= _WAITS_MAX:
            raise Overloaded("the store takes no more samples; is its disk full?")
        time.sleep(_WAIT_S)

    return wait


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except MeterhallError as error:
        raise click.ClickException(str(error)) from None
