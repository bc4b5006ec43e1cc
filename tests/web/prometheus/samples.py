"""The samples that the API tests ask for, and remote-write bodies made by hand."""

import struct

import cramjam

# Labels, and (milliseconds, value) in order.
Series = tuple[dict[str, str], list[tuple[int, float]]]

T0 = 1_700_000_000


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def write_body(series: list[Series]) -> bytes:
    """A remote-write 1.0 body, straight from the message layout of contract 6.3. Times in milliseconds."""
    request = b""
    for labels, samples in series:
        message = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, value.encode()))
            for name, value in sorted(labels.items())
        )
        for time_ms, value in samples:
            message += _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time_ms))
        request += _field(1, message)
    return bytes(cramjam.snappy.compress_raw(request))


def a_counter(name: str, labels: dict[str, str], step: float = 1.0, count: int = 41) -> Series:
    """Fifteen-second samples from T0 on, for ten minutes."""
    samples = [((T0 + 15 * index) * 1000, step * index) for index in range(count)]
    return ({"__name__": name, **labels}, samples)


SAMPLE_DATA = [
    a_counter("requests_total", {"job": "api", "instance": "a:80"}),
    a_counter("requests_total", {"job": "api", "instance": "b:80"}, 2.0),
    a_counter("requests_total", {"job": "web", "instance": "c:80"}, 0.1),
    a_counter("odd_total", {"a<b": "x&y", "http.status_code": "200"}),
    ({"__name__": "special", "kind": "nan"}, [(T0 * 1000, float("nan"))]),
    ({"__name__": "special", "kind": "inf"}, [(T0 * 1000, float("inf"))]),
    ({"__name__": "special", "kind": "neg"}, [(T0 * 1000, float("-inf"))]),
    ({"__name__": "special", "kind": "zero"}, [(T0 * 1000, -0.0)]),
    ({"__name__": "special", "kind": "tiny"}, [(T0 * 1000, 1.234e-07)]),
    ({"__name__": "special", "kind": "huge"}, [(T0 * 1000, 1e21)]),
    ({"__name__": "special", "kind": "long"}, [(T0 * 1000, 123456789012345680000.0)]),
    ({"__name__": "late", "kind": "ms"}, [(T0 * 1000 + 413, 1.0)]),
]
