"""docs/formats, read by a reader that was written from those pages and shares no code with the store."""

import json
import struct
import zlib

import numpy as np
from pcodec import standalone
from tests.tsdb.stores import NOW, append, dump, open_store, series

from meterhall.model.samples import STALE, Row
from meterhall.model.tenant import Tenant

STALE_BITS, ABSENT_BITS, NAN_BITS = 0x7FF0000000000002, 0x7FF0000000000003, 0x7FF8000000000001
TENANTS = [Tenant("jp", "b"), Tenant("kr", "a")]


class Bytes:
    """A place in some bytes."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def many(self, form, count):
        values = struct.unpack_from(f"<{count}{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{count}{form}")
        return list(values)

    def bytes(self, count):
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def strings(self, lengths):
        return [self.bytes(length).decode() for length in lengths]

    def numbers(self):
        count, kind, size = self.take("III")
        body = self.bytes(size)
        if kind == 0:
            return list(struct.unpack(f"<{count}q", body))
        numbers = standalone.simple_decompress(bytes(body)).tolist()
        assert len(numbers) == count
        return numbers


def read_segment(data, number, before=(0, 0)):
    """{(region, project): {labels: {time: bits}}}."""
    place = Bytes(data)
    assert place.bytes(5) == b"MHWAL"
    assert place.bytes(3) == b"\x00\x00\x02"
    assert place.take("QQQ") == (number, *before)
    assert place.take("I") == zlib.crc32(data[:32])
    columns, found, kinds = {}, {}, []
    while place.at < len(data):
        assert place.bytes(4) == b"\xa7MHf"
        length, check, kind = place.take("III")
        payload = place.bytes(length)
        assert zlib.crc32(struct.pack("<II", length, kind) + payload) == check
        kinds.append(kind)
        if kind == 4:
            assert not payload
        else:
            payload = zlib.decompress(payload) if kind == 5 else payload
            read = {1: read_definition, 2: read_samples, 3: read_sealed, 5: read_definition}[kind]
            read(Bytes(payload), columns, found)
    assert kinds.count(4) in (0, 2)
    assert 4 not in kinds or kinds[0] == kinds[-1] == 4
    return found


def read_definition(place, columns, _):
    group, region, project, _clock, count = place.take("qIIII")
    lengths = place.many("I", count)
    series_count = place.take("I")
    numbers = place.many("I", series_count)
    widths = place.many("I", series_count)
    pairs = place.many("I", 2 * sum(widths))
    strings = place.strings(lengths)
    words = iter([strings[index] for index in pairs])
    for number, width in zip(numbers, widths, strict=True):
        labels = tuple((next(words), next(words)) for _ in range(width))
        columns[group, number] = (strings[region], strings[project]), labels


def read_samples(place, columns, found):
    row_count, listed_count = place.take("II")
    rows = [place.take("qqII") for _ in range(row_count)]
    listed = iter(place.many("I", listed_count))
    for group, time, first, count in rows:
        where = [next(listed) if first == 0xFFFFFFFF else first + at for at in range(count)]
        for column, bits in zip(where, place.many("Q", count), strict=True):
            tenant, labels = columns[group, column]
            found.setdefault(tenant, {}).setdefault(labels, {})[time] = bits
    assert place.at == len(place.data)


def read_sealed(place, columns, found):
    group, row_count, column_count, page_count, time_bytes, column_bytes = place.take("qIIIII")
    sizes = place.many("I", page_count)
    times, numbers = (
        standalone.simple_decompress(bytes(place.bytes(size))).tolist()
        for size in (time_bytes, column_bytes)
    )
    assert (len(times), len(numbers)) == (row_count, column_count)
    waiting = iter(numbers)
    for size in sizes:
        page = place.bytes(size)
        width = Bytes(page).take("I")
        bits = iter(read_page(page, [row_count] * width))
        for _ in range(width):
            column = next(waiting)
            cells = dict(zip(times, bits, strict=False))
            cells = {time: cell for time, cell in cells.items() if cell != ABSENT_BITS}
            if column >= 0 and cells:
                tenant, labels = columns[group, column]
                found.setdefault(tenant, {}).setdefault(labels, {}).update(cells)
    assert place.at == len(place.data)
    assert next(waiting, None) is None


def read_page(data, lengths):
    place = Bytes(data)
    count, total, *sizes = place.take("7I")
    assert (count, total) == (len(lengths), sum(lengths))
    classes = place.many("B", count)
    constants = iter(place.many("d", classes.count(0)))
    streams = [
        standalone.simple_decompress(bytes(place.bytes(size))) if size else np.empty(0)
        for size in sizes
    ]
    integral, general = iter(streams[3].tolist()), iter(streams[4].tolist())
    cells = []
    for kind, length in zip(classes, lengths, strict=True):
        if kind == 0:
            cells += [next(constants)] * length
        else:
            cells += [float(next(integral if kind == 1 else general)) for _ in range(length)]
    bits = np.array(cells, np.float64).view(np.uint64)
    for special, where in zip((STALE_BITS, ABSENT_BITS, NAN_BITS), streams, strict=False):
        bits[where.astype(int)] = special
    return bits.tolist()


def read_block(data):
    assert data[:8] == b"MHBLK\x00\x00\x01"
    footer = data[-104:]
    assert footer == data[-208:-104]
    assert footer[96:] == b"MHBLKEND"
    assert zlib.crc32(footer[:92]) == struct.unpack_from("<I", footer, 92)[0]
    first, second, size, at, length, check = Bytes(footer).take("QQQQQI")
    description = data[first : first + size]
    assert description == data[second : second + size]
    directory = description[at : at + length]
    assert zlib.crc32(directory) == check
    place = Bytes(directory)
    entries = [place.take("IIQqq3Q3I3I") for _ in range(place.take("I"))]
    keys = directory[place.at :]
    found, begin = {}, 0
    for end, *facts in entries:
        sections = []
        for offset, size_, crc in zip(facts[4:7], facts[7:10], facts[10:13], strict=True):
            body = description[offset : offset + size_]
            assert zlib.crc32(body) == crc
            sections.append(body)
        tenant = tuple(keys[begin:end].decode().split("/"))
        found[tenant] = read_tenant(data, *sections)
        held = found[tenant].values()
        times = [time for samples in held for time in samples]
        assert facts[:4] == [len(held), len(times), min(times), max(times)]
        begin = end
    return found


def read_tenant(data, index, clocks, pages):
    place = Bytes(index)
    blob = Bytes(place.bytes(place.take("I")))
    lengths, names, values, widths, flat, clock_of, counts, postings = (
        place.numbers() for _ in range(8)
    )
    symbols = blob.strings(lengths)
    pairs = [(symbols[name], symbols[value]) for name, value in zip(names, values, strict=True)]
    assert pairs == sorted(pairs)
    numbers = iter(flat)
    labels = [tuple(pairs[next(numbers)] for _ in range(width)) for width in widths]
    carriers = iter(postings)
    for pair, count in zip(pairs, counts, strict=True):
        carrying = [number for number, each in enumerate(labels) if pair in each]
        assert [next(carriers) for _ in range(count)] == carrying
    place = Bytes(clocks)
    clock_lengths, times = place.numbers(), iter(place.numbers())
    all_clocks = [[next(times) for _ in range(length)] for length in clock_lengths]
    found, done = {}, 0
    for offset, size, crc, count in struct.iter_unpack("<QIII", pages):
        page = data[offset : offset + size]
        assert zlib.crc32(page) == crc
        own = [all_clocks[clock] for clock in clock_of[done : done + count]]
        bits = iter(read_page(page, [len(clock) for clock in own]))
        for number, clock in enumerate(own, done):
            cells = {time: next(bits) for time in clock}
            found[labels[number]] = {t: cell for t, cell in cells.items() if cell != ABSENT_BITS}
        done += count
    assert done == len(labels)
    return found


def fill(directory):
    store = open_store(directory, block_span_ms=10**6, merged_span_ms=10**6)
    for number, tenant in enumerate(TENANTS):
        writer = store.writer(tenant)
        labels = [series(f"m{place % 3}", i=str(place), 이름="값") for place in range(7)]
        refs = writer.intern("c", labels)
        for step in range(40):
            values = np.array([7.0, step, step * 0.1, -0.0, np.inf, step % 3, 1e300]) + number
            values[step % 7] = STALE if step % 5 == 0 else values[step % 7]
            keep = np.flatnonzero(np.arange(7) != (step % 11))
            writer.append([Row(NOW + 15 * step, refs[keep], values[keep])])
        append(writer, series("alone"), (NOW + 1, 1.0), (NOW - 1, 2.0))
    expected = {(tenant.region, tenant.project): dump(store, tenant) for tenant in TENANTS}
    return store, expected


def test_the_log(tmp_path):
    store, expected = fill(tmp_path)
    store.close()
    first = (tmp_path / "wal" / "00000001.wal").read_bytes()
    assert read_segment(first, 1) == expected
    store = open_store(tmp_path)
    append(store.writer(TENANTS[0]), series("after"), (NOW, 1.0))
    store.close()
    second = (tmp_path / "wal" / "00000002.wal").read_bytes()
    assert len(read_segment(second, 2, before=(1, len(first)))) == 1


def test_a_checkpoint(tmp_path):
    store, expected = fill(tmp_path)
    store.flush(0)
    store.close()
    (path,) = (tmp_path / "wal").iterdir()
    assert read_segment(path.read_bytes(), int(path.stem)) == expected


def test_a_block_and_the_manifest(tmp_path):
    store, expected = fill(tmp_path)
    store.flush(NOW + 10**6)
    store.close()
    head, _, body = (tmp_path / "MANIFEST").read_bytes().partition(b"\n")
    assert head == b"MHMANIFEST 1 %08x" % zlib.crc32(body)
    manifest = json.loads(body)
    assert set(manifest) == {"blocks", "next_block", "next_group", "mark"}
    assert manifest["mark"] == {"segment": 2, "time_ms": NOW + 10**6}
    found = {}
    for number in manifest["blocks"]:
        data = (tmp_path / "blocks" / f"{number:010d}.block").read_bytes()
        for tenant, held in read_block(data).items():
            for labels, samples in held.items():
                found.setdefault(tenant, {}).setdefault(labels, {}).update(samples)
    assert found == expected
