"""The requests hold the data set, sample for sample, in order of time."""

import struct

import cramjam
import numpy as np
from bench.dataset import make
from bench.remote_write import encode


def varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def fields(data: bytes):
    """(number, content) of a message whose fields are messages, doubles and varints."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        match key & 7:
            case 0:
                value, at = varint(data, at)
            case 1:
                value, at = struct.unpack_from("<d", data, at)[0], at + 8
            case _:
                length, at = varint(data, at)
                value, at = data[at : at + length], at + length
        yield key >> 3, value


def read(file):
    """(labels, value, time) of every sample."""
    data, at = file.read_bytes(), 0
    while at < len(data):
        length, count = struct.unpack_from("<II", data, at)
        request = bytes(cramjam.snappy.decompress_raw(data[at + 8 : at + 8 + length]))
        at += 8 + length
        series = list(fields(request))
        assert len(series) == count
        for _, one in series:
            parts = list(fields(one))
            labels = [dict(fields(content)) for number, content in parts if number == 1]
            (sample,) = [dict(fields(content)) for number, content in parts if number == 2]
            yield {pair[1].decode(): pair[2].decode() for pair in labels}, sample[1], sample[2]


def test_every_sample_is_sent_once_and_in_order(tmp_path):
    data = make(hosts=5, hours=0.05)
    file = tmp_path / "requests"
    encode(data, file)
    samples = list(read(file))
    assert len(samples) == data.samples
    hosts = {f"host-{host:03d}:9100": host for host in range(data.hosts)}
    index = {tuple(data.labels(0, at).items()): at for at in range(len(data.templates))}
    seen = {}
    for labels, value, time_ms in samples:
        assert list(labels) == sorted(labels)
        seen.setdefault(labels["instance"], {}).setdefault(time_ms, []).append(value)
    for name, host in hosts.items():
        assert list(seen[name]) == data.times_ms[host].tolist()
        sent = np.array(list(seen[name].values())).T
        assert np.array_equal(sent, data.values[host])
    assert len(index) == len(data.templates)
