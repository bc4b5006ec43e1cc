"""The data set as remote-write requests: written to a file once, then sent to each system as fast as it takes them.

Requests are as a real sender's: in order of time, all hosts' first scrape before any second one, one sample
a series, 2,000 series a request. The file is a run of records: length of the body and number of samples as
little-endian u32, then the body (protobuf WriteRequest 1.0 in a snappy block).
"""

import mmap
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cramjam
import numpy as np
from numpy.typing import NDArray

from bench.dataset import DataSet

SERIES_PER_REQUEST = 2_000
_RECORD = struct.Struct("<II")
# A Sample of field 2: value (1: double), timestamp (2: varint; six bytes between 1971 and 2109).
_SAMPLE = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6)
_VALUE_AT, _TIME_AT, _TIME_BYTES = 15, 6, 6


@dataclass(frozen=True)
class _Form:
    """A request whose bytes are all there but for values and times."""

    bytes: NDArray[np.uint8]
    hosts: NDArray[np.int64]
    series: NDArray[np.int64]
    values_at: NDArray[np.int64]
    times_at: NDArray[np.int64]


def encode(data: DataSet, file: Path) -> None:
    """Writes the requests; an interrupted run leaves no file of that name."""
    forms = _forms(data)
    partial = file.with_suffix(".partial")
    with partial.open("wb", buffering=1 << 22) as out:
        for scrape in range(data.times_ms.shape[1]):
            for form in forms:
                body = _filled(form, data, scrape)
                out.write(_RECORD.pack(len(body), len(form.series)))
                out.write(body)
    partial.rename(file)


def _forms(data: DataSet) -> list[_Form]:
    by_offset = np.argsort(data.times_ms[:, 0], kind="stable")
    count = data.values.shape[1]
    hosts = np.repeat(by_offset, count)
    series = np.tile(np.arange(count), len(by_offset))
    return [
        _form(data, hosts[at : at + SERIES_PER_REQUEST], series[at : at + SERIES_PER_REQUEST])
        for at in range(0, len(hosts), SERIES_PER_REQUEST)
    ]


def _form(data: DataSet, hosts: NDArray[np.int64], series: NDArray[np.int64]) -> _Form:
    request = bytearray()
    ends: list[int] = []
    for host, index in zip(hosts.tolist(), series.tolist(), strict=True):
        pairs = data.labels(host, index).items()
        labels = b"".join(
            field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in pairs
        )
        request += field(1, labels + _SAMPLE)
        ends.append(len(request))
    end = np.array(ends)[:, None]
    return _Form(
        np.frombuffer(bytes(request), np.uint8).copy(),
        hosts,
        series,
        end - _VALUE_AT + np.arange(8),
        end - _TIME_AT + np.arange(_TIME_BYTES),
    )


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _filled(form: _Form, data: DataSet, scrape: int) -> bytes:
    values = data.values[form.hosts, form.series, scrape].astype("<f8")
    form.bytes[form.values_at] = values.view(np.uint8).reshape(-1, 8)
    groups = data.times_ms[form.hosts, scrape][:, None] >> 7 * np.arange(_TIME_BYTES) & 127
    groups[:, :-1] |= 128
    form.bytes[form.times_at] = groups
    return bytes(cramjam.snappy.compress_raw(form.bytes.tobytes()))


@dataclass(frozen=True)
class Sent:
    """What came of sending: every request was answered 2xx, or `refused` tells the first that wasn't."""

    samples: int
    seconds: float
    latencies_s: list[float]
    refused: str | None

    def latency_ms(self, quantile: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[int((len(ordered) - 1) * quantile)] * 1000


def send(file: Path, host: str, port: int, path: str, headers: dict[str, str]) -> Sent:
    """Sends the whole file over one connection, each request after the answer to the one before."""
    fixed = {
        "Host": f"{host}:{port}",
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        "User-Agent": "meterhall-bench",
    }
    lines = [f"{name}: {value}" for name, value in (fixed | headers).items()]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "Content-Length: "]).encode()
    latencies: list[float] = []
    samples, refused = 0, None
    with socket.create_connection((host, port), timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.perf_counter()
        for body, count in _records(file):
            before = time.perf_counter()
            connection.sendall(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            status, answer = _answer(connection)
            latencies.append(time.perf_counter() - before)
            if status // 100 == 2:
                samples += count
            else:
                refused = refused or f"{status} {answer[:200].decode('latin1').strip()}"
        seconds = time.perf_counter() - begun
    return Sent(samples, seconds, latencies, refused)


def _records(file: Path) -> Iterator[tuple[bytes, int]]:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as data:
        at = 0
        while at < len(data):
            length, count = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            yield data[at : at + length], count
            at += length


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65_536)
        if not more:
            raise ConnectionError("the server closed the connection")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split(b" ", 2)[1]), body
