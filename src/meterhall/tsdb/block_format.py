"""The bytes of a block: pages of values, then everything that describes them, twice.

Drawn in docs/formats/block.md. Sans-I/O. The description (for each tenant an index, its clocks and its table
of pages, then the directory of tenants) is small and all pages rest on it, so that it is written twice:
no single damaged spot costs more than one page. Every section carries its own CRC-32.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from meterhall.model.ordering import in_order
from meterhall.model.samples import TimestampArray
from meterhall.tsdb.label_numbers import LabelNumbers
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.pages import decode_numbers, encode_numbers

HEADER = b"MHBLK\x00\x00\x01"
_FOOTER_MAGIC = b"MHBLKEND"
# description A and B: offset; its length; directory in it: offset, length, CRC; span start, end;
# oldest and newest sample; samples; series; then CRC-32 of all that, and the magic
_FOOTER = struct.Struct("<QQQQQIqqqqQQ")
_FOOTER_TAIL = struct.Struct("<I8s")
FOOTER_BYTES = _FOOTER.size + _FOOTER_TAIL.size

PAGE = np.dtype([("offset", "<u8"), ("bytes", "<u4"), ("crc", "<u4"), ("series", "<u4")])
_ENTRY = np.dtype(
    [
        ("key_end", "<u4"),
        ("series", "<u4"),
        ("samples", "<u8"),
        ("oldest", "<i8"),
        ("newest", "<i8"),
        ("offset", "<u8", (3,)),
        ("bytes", "<u4", (3,)),
        ("crc", "<u4", (3,)),
    ]
)
_COLUMN = struct.Struct("<III")
_RAW, _PACKED = 0, 1
# Fewer numbers than this are shorter plain, more often than not, and quicker.
_PACK_WORTH = 8


class DamagedError(Exception):
    """A piece of a block does not have the checksum or the shape it should have."""


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the description is, and what the whole block covers."""

    first_copy: int
    second_copy: int
    description_bytes: int
    directory_offset: int
    directory_bytes: int
    directory_crc: int
    span_start_ms: int
    span_end_ms: int
    oldest_ms: int
    newest_ms: int
    samples: int
    series: int


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of the description: where it begins in it, and its checksum."""

    offset: int
    bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One tenant in the directory."""

    tenant: Owner
    series: int
    samples: int
    oldest_ms: int
    newest_ms: int
    index: Section
    clocks: Section
    pages: Section


@dataclass(frozen=True, slots=True, eq=False)
class IndexColumns:
    """A tenant's index as it lies in the file; series are numbered in the order of their values.

    Pair p is (symbols[names[p]], symbols[values[p]]), sorted. Series s carries the pairs
    `pairs[sum(widths[:s])…]`; posting p lists the series that carry pair p.
    """

    symbols: Sequence[str]
    names: NDArray[np.int64]
    values: NDArray[np.int64]
    widths: NDArray[np.int64]
    pairs: NDArray[np.int64]
    clocks: NDArray[np.int64]
    posting_lengths: NDArray[np.int64]
    postings: NDArray[np.int64]


def crc(data: bytes | memoryview) -> int:
    """The checksum of pages and sections."""
    return int(isal_zlib.crc32(data))


def encode_footer(footer: Footer) -> bytes:
    """One footer; a block ends with two of them."""
    body = _FOOTER.pack(*(getattr(footer, name) for name in Footer.__slots__))
    return body + _FOOTER_TAIL.pack(crc(body), _FOOTER_MAGIC)


def decode_footer(data: bytes) -> Footer:
    """The footer from the last bytes of a block; raises DamagedError where neither copy is sound."""
    for last in (len(data), len(data) - FOOTER_BYTES):
        first = last - FOOTER_BYTES
        if first < 0:
            continue
        body = data[first : first + _FOOTER.size]
        check, magic = _FOOTER_TAIL.unpack(data[first + _FOOTER.size : last])
        if magic == _FOOTER_MAGIC and crc(body) == check:
            return Footer(*_FOOTER.unpack(body))
    raise DamagedError("no sound footer")


def build_index(labels: LabelNumbers, clocks: NDArray[np.int64]) -> IndexColumns:
    """Index of series in the order of their values."""
    symbols = in_order({text for pair in labels.pairs for text in pair})
    symbol_of = {text: number for number, text in enumerate(symbols)}
    owner = np.repeat(np.arange(len(clocks)), labels.widths)
    return IndexColumns(
        symbols,
        np.array([symbol_of[name] for name, _ in labels.pairs], np.int64),
        np.array([symbol_of[value] for _, value in labels.pairs], np.int64),
        labels.widths,
        labels.flat.astype(np.int64),
        clocks,
        np.bincount(labels.flat, minlength=len(labels.pairs)),
        owner[np.argsort(labels.flat, kind="stable")],
    )


def encode_index(index: IndexColumns) -> bytes:
    """An index section."""
    texts = [text.encode() for text in index.symbols]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    blob = b"".join(texts)
    return b"".join(
        (
            struct.pack("<I", len(blob)),
            blob,
            *(
                _encode_column(column)
                for column in (
                    lengths,
                    index.names,
                    index.values,
                    index.widths,
                    index.pairs,
                    index.clocks,
                    index.posting_lengths,
                    index.postings,
                )
            ),
        )
    )


def decode_index(data: bytes) -> IndexColumns:
    """The index again; its checksum has been checked."""
    (size,) = struct.unpack_from("<I", data)
    blob = data[4 : 4 + size]
    position = 4 + size
    columns: list[NDArray[np.int64]] = []
    for _ in range(8):
        column, position = _decode_column(data, position)
        columns.append(column)
    ends = np.cumsum(columns[0]).tolist()
    symbols = [blob[begin:end].decode() for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    return IndexColumns(symbols, *columns[1:])


def encode_clocks(clocks: Sequence[TimestampArray]) -> bytes:
    """All clocks of a tenant: their lengths, then their times one after the other."""
    lengths = np.fromiter(map(len, clocks), np.int64, len(clocks))
    times = np.concatenate(clocks) if clocks else np.empty(0, np.int64)
    return _encode_column(lengths) + _encode_column(times)


def decode_clocks(data: bytes) -> list[TimestampArray]:
    """The clocks again."""
    lengths, position = _decode_column(data, 0)
    times, _ = _decode_column(data, position)
    return np.split(times, np.cumsum(lengths)[:-1]) if len(lengths) else []


def encode_directory(entries: Sequence[Entry]) -> bytes:
    """The directory; entries are sorted by key, so that one is found without decoding all."""
    keys = [_key(entry.tenant) for entry in entries]
    assert keys == sorted(set(keys)), "directory entries out of order: a bug in the block writer"
    table = np.zeros(len(entries), _ENTRY)
    table["key_end"] = np.cumsum([len(key) for key in keys])
    for row, entry in zip(table, entries, strict=True):
        sections = (entry.index, entry.clocks, entry.pages)
        row["series"], row["samples"] = entry.series, entry.samples
        row["oldest"], row["newest"] = entry.oldest_ms, entry.newest_ms
        row["offset"] = [section.offset for section in sections]
        row["bytes"] = [section.bytes for section in sections]
        row["crc"] = [section.crc for section in sections]
    return struct.pack("<I", len(entries)) + table.tobytes() + b"".join(keys)


class Directory:
    """The tenants of a block, found by binary search."""

    def __init__(self, data: bytes) -> None:
        (count,) = struct.unpack_from("<I", data)
        self._table = np.frombuffer(data, _ENTRY, count, 4)
        self._keys = data[4 + self._table.nbytes :]

    def __len__(self) -> int:
        return len(self._table)

    def find(self, tenant: Owner) -> Entry | None:
        """The tenant's entry, or None where the block has nothing of it."""
        key = _key(tenant)
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return self.entry(low) if low < len(self) and self._key(low) == key else None

    def entry(self, number: int) -> Entry:
        """One entry, in the order of keys."""
        row = self._table[number]
        region, _, project = self._key(number).decode("ascii").partition("/")
        sections = [
            Section(*each)
            for each in zip(
                row["offset"].tolist(), row["bytes"].tolist(), row["crc"].tolist(), strict=True
            )
        ]
        return Entry(
            Owner(region, project),
            int(row["series"]),
            int(row["samples"]),
            int(row["oldest"]),
            int(row["newest"]),
            *sections,
        )

    def _key(self, number: int) -> bytes:
        begin = int(self._table["key_end"][number - 1]) if number else 0
        return self._keys[begin : int(self._table["key_end"][number])]


def tenant_order(tenant: Owner) -> bytes:
    """Sort key of the directory."""
    return _key(tenant)


def _key(tenant: Owner) -> bytes:
    # Identifiers hold no slash.
    return f"{tenant.region}/{tenant.project}".encode("ascii")


def _encode_column(numbers: NDArray[np.int64]) -> bytes:
    """Whole numbers: how many, how stored, how many bytes; then pcodec or plain, the shorter."""
    plain = numbers.astype("<i8", copy=False).tobytes()
    packed = encode_numbers(numbers) if len(numbers) >= _PACK_WORTH else plain
    kind, data = (_PACKED, packed) if len(packed) < len(plain) else (_RAW, plain)
    return _COLUMN.pack(len(numbers), kind, len(data)) + data


def _decode_column(data: bytes, position: int) -> tuple[NDArray[np.int64], int]:
    count, kind, size = _COLUMN.unpack_from(data, position)
    begin = position + _COLUMN.size
    body = data[begin : begin + size]
    if kind == _RAW:
        return np.frombuffer(body, "<i8", count), begin + size
    return decode_numbers(body, count), begin + size
