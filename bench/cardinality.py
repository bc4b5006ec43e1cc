"""What a series costs in memory, and what a project does: a real server, pushed to over HTTP.

Run it with `python -m bench.cardinality [SERIES] [PROJECTS]`; a million series and 5,000 projects of ten series take
some minutes on an idle machine. Resident memory is read when the server has gone quiet after two samples of
every series; the series' bytes are the growth over a first tenth of them, so that what a server costs by itself is
not in them.
"""

import http.client
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cramjam

from bench.remote_write import field, varint
from bench.server import Meterhall
from bench.system import HOST, BenchError
from bench.table import Table, figure
from meterhall.app.clock import SystemClock
from meterhall.app.control_plane import open_control, settings_of

_SERIES_PER_BODY = 2_000
_SERIES_PER_PROJECT = 10
_SERIES_PER_HOST = 500
_METRICS = 200
_STEP_MS = 15_000


def main(series: int, projects: int) -> None:
    """Prints one table."""
    with tempfile.TemporaryDirectory() as work:
        rows = [*_many_series(Path(work), series), *_many_projects(Path(work), projects)]
    print(Table("Memory by cardinality", ["", "MB", "KB a further series"], rows, []).markdown())


def _many_series(work: Path, series: int) -> Iterator[list[str]]:
    server = Meterhall(work)
    server.clean()
    server.start()
    try:
        connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
        first, now_ms = series // 10, SystemClock().now_ms()
        sizes = []
        for start, stop in ((0, first), (first, series)):
            for step in (2, 1):
                for at in range(start, stop, _SERIES_PER_BODY):
                    numbers = range(at, min(at + _SERIES_PER_BODY, stop))
                    _push(connection, server, server.headers, numbers, now_ms - step * _STEP_MS)
            server.wait_until_quiet()
            sizes.append(server.memory().now_mb)
        each = (sizes[1] - sizes[0]) * 1e3 / (series - first)
        yield [f"{first:,} series", figure(sizes[0]), ""]
        yield [f"{series:,} series", figure(sizes[1]), figure(each)]
    finally:
        server.stop()


def _many_projects(work: Path, projects: int) -> Iterator[list[str]]:
    server = Meterhall(work)
    server.clean()
    control = open_control(settings_of(server.data, None))
    try:
        keys = [control.projects.create(f"bench-{at}").key.secret for at in range(projects)]
    finally:
        control.close()
    server.start()
    try:
        empty, now_ms = server.memory().now_mb, SystemClock().now_ms()
        connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
        for step in (2, 1):
            for key in keys:
                headers = {"X-TC-APP-KEY": key}
                _push(
                    connection,
                    server,
                    headers,
                    range(_SERIES_PER_PROJECT),
                    now_ms - step * _STEP_MS,
                )
        server.wait_until_quiet()
        full = server.memory().now_mb
        each = (full - empty) * 1e3 / (projects * _SERIES_PER_PROJECT)
        yield [f"{projects:,} projects without a sample", figure(empty), ""]
        yield [f"{projects:,} projects of {_SERIES_PER_PROJECT} series", figure(full), figure(each)]
    finally:
        server.stop()


def _push(
    connection: http.client.HTTPConnection,
    server: Meterhall,
    headers: dict[str, str],
    numbers: range,
    time_ms: int,
) -> None:
    sent = {**headers, "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    connection.request("POST", server.write_path, _body(numbers, time_ms), sent)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 204:
        raise BenchError(f"{answer.status}: {text[:200].decode('latin1')}")


def _body(numbers: range, time_ms: int) -> bytes:
    """One sample each of series like node_exporter's: eight labels, 500 series a host."""
    time_bytes = varint(time_ms)
    series = []
    for number in numbers:
        host, place = divmod(number, _SERIES_PER_HOST)
        pairs = {
            "__name__": f"node_metric_{place % _METRICS}_total",
            "cluster": "bench",
            "device": f"dev{place // _METRICS}",
            "instance": f"host-{host:05d}:9100",
            "job": "node",
            "mode": "idle",
            "region": "kr1",
            "zone": f"z{host % 3}",
        }
        labels = b"".join(
            field(1, field(1, name.encode()) + field(2, value.encode()))
            for name, value in pairs.items()
        )
        sample = b"\x09" + number.to_bytes(8, "little") + b"\x10" + time_bytes
        series.append(field(1, labels + field(2, sample)))
    return bytes(cramjam.snappy.compress_raw(b"".join(series)))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 5_000,
    )
