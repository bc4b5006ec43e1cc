"""What a series costs in memory, and what a project does: a real server, pushed to over HTTP.

Run it with `python -m bench.cardinality [SERIES] [PROJECTS] [ROWS]`; a million series, 5,000 projects of ten series and 66
samples of each, so that the newest rows are as many as the store keeps raw and older ones are sealed, take a quarter of an
hour on an idle machine. Resident memory is read when the server has gone quiet; the series' bytes are the growth over a
first tenth of them, so that what a server costs by itself is not in them. The server must say that it has them all.
"""

import http.client
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cramjam
import numpy as np
import orjson

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
# The varint of any time of this century, in ms; before it in a sample: the value, and the tag of the time.
_TIME_BYTES = 6
_SAMPLE_BYTES = 8 + 1 + _TIME_BYTES


class _Body:
    """A remote-write request of one sample each of some series, whose times and values are put in anew each time."""

    def __init__(self, numbers: range) -> None:
        raw = b"".join(map(_series, numbers))
        self._raw = np.frombuffer(raw, np.uint8).copy()
        ends = np.cumsum([len(_series(number)) for number in numbers])
        self._values = (ends - _SAMPLE_BYTES)[:, None] + np.arange(8)
        self._times = (ends - _TIME_BYTES)[:, None] + np.arange(_TIME_BYTES)

    def at(self, time_ms: int) -> bytes:
        """The request for one time, compressed; values are whole numbers that go up and down."""
        values = time_ms // _STEP_MS * np.arange(len(self._values)) % 997
        self._raw[self._values] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
        self._raw[self._times] = np.frombuffer(varint(time_ms), np.uint8)
        return bytes(cramjam.snappy.compress_raw(self._raw.tobytes()))


def main(series: int, projects: int, rows: int) -> None:
    """Prints one table."""
    with tempfile.TemporaryDirectory() as work:
        table = [
            *_many_series(Path(work), series, rows),
            *_many_projects(Path(work), projects, rows),
        ]
    title = f"Memory by cardinality, {rows} samples of each series"
    print(Table(title, ["", "MB", "KB a further series"], table, []).markdown())


def _many_series(work: Path, series: int, rows: int) -> Iterator[list[str]]:
    server = Meterhall(work)
    server.clean()
    server.start()
    try:
        connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
        first, now_ms = series // 10, SystemClock().now_ms()
        sizes = []
        for start, stop in ((0, first), (first, series)):
            for at in range(start, stop, _SERIES_PER_BODY):
                body = _Body(range(at, min(at + _SERIES_PER_BODY, stop)))
                for time_ms in _times(now_ms, rows):
                    _push(connection, server, server.headers, body.at(time_ms))
            server.wait_until_quiet()
            _check_series(server, stop)
            sizes.append(server.memory().now_mb)
        each = (sizes[1] - sizes[0]) * 1e3 / (series - first)
        yield [f"{first:,} series", figure(sizes[0]), ""]
        yield [f"{series:,} series", figure(sizes[1]), figure(each)]
    finally:
        server.stop()


def _many_projects(work: Path, projects: int, rows: int) -> Iterator[list[str]]:
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
        body = _Body(range(_SERIES_PER_PROJECT))
        for time_ms in _times(now_ms, rows):
            for key in keys:
                _push(connection, server, {"X-TC-APP-KEY": key}, body.at(time_ms))
        server.wait_until_quiet()
        full = server.memory().now_mb
        each = (full - empty) * 1e3 / (projects * _SERIES_PER_PROJECT)
        yield [f"{projects:,} projects without a sample", figure(empty), ""]
        yield [f"{projects:,} projects of {_SERIES_PER_PROJECT} series", figure(full), figure(each)]
    finally:
        server.stop()


def _times(now_ms: int, rows: int) -> Sequence[int]:
    return range(now_ms - rows * _STEP_MS, now_ms, _STEP_MS)


def _check_series(server: Meterhall, series: int) -> None:
    told = orjson.loads(server.fetch("/api/v1/status/tsdb"))["data"]["headStats"]["numSeries"]
    if told != series:
        raise BenchError(f"{series:,} series were pushed, and the server has {told:,}")


def _push(
    connection: http.client.HTTPConnection, server: Meterhall, headers: dict[str, str], body: bytes
) -> None:
    sent = {**headers, "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    connection.request("POST", server.write_path, body, sent)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 204:
        raise BenchError(f"{answer.status}: {text[:200].decode('latin1')}")


def _series(number: int) -> bytes:
    """One of series like node_exporter's: eight labels, 500 series a host; its sample is put in later."""
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
    sample = b"\x09" + bytes(8) + b"\x10" + bytes(_TIME_BYTES)
    return field(1, labels + field(2, sample))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 5_000,
        int(sys.argv[3]) if len(sys.argv) > 3 else 66,
    )
