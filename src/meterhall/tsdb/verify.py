"""Every checksum of a store's directory: what `meterhall tsdb verify` runs.

Reads only, and wants no lock, so that it may run beside a server; what a running server replaces meanwhile is
looked up again and never reported as damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meterhall.tsdb import filenames, tombstones
from meterhall.tsdb.block_format import (
    FOOTER_BYTES,
    HEADER,
    PAGE,
    DamagedError,
    Directory,
    Entry,
    Footer,
    Section,
    crc,
    decode_clocks,
    decode_footer,
    decode_index,
    encode_footer,
)
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.manifest import Manifest, ManifestDamagedError, ManifestFile
from meterhall.tsdb.pages import decode_page
from meterhall.tsdb.wal_format import (
    SEGMENT_HEADER_BYTES,
    Chain,
    Damage,
    frames,
    is_checkpoint,
    segment_before,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One damaged piece: the file's name, where in it, and what is wrong."""

    file: str
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, and what was found."""

    files: int
    bytes: int
    faults: tuple[Fault, ...]


def verify(directory: Path) -> Verified:
    """Checks manifest, log and blocks; never writes. A torn end of the newest segment is no fault."""
    disk = Disk()
    faults: list[Fault] = []
    paths: list[Path] = []
    manifest = _manifest(directory, disk, faults)
    erased = directory / filenames.TOMBSTONES
    if erased.exists():
        paths.append(erased)
        faults += _guarded(erased, _tombstone_faults(disk, erased))
    segments = filenames.segment_paths(directory)
    chain = Chain()
    for number, path in segments:
        paths.append(path)
        newest = number == segments[-1][0]
        faults += _guarded(path, _segment_faults(disk, path, number, chain, newest=newest))
    on_disk = dict(filenames.block_paths(directory))
    listed = on_disk if manifest is None else dict.fromkeys(manifest.blocks)
    for number in sorted(set(listed).intersection(on_disk)):
        paths.append(on_disk[number])
        faults += _guarded(on_disk[number], _block_faults(on_disk[number]))
    for number in sorted(set(listed).difference(on_disk)):
        faults.append(Fault(filenames.block_name(number), 0, "listed in the manifest and missing"))
    size = sum(path.stat().st_size for path in paths if path.exists())
    return Verified(len(paths), size, tuple(faults))


def _manifest(directory: Path, disk: Disk, faults: list[Fault]) -> Manifest | None:
    try:
        return ManifestFile(directory, disk).load()
    except ManifestDamagedError as error:
        faults.append(Fault(filenames.MANIFEST, 0, str(error)))
        return None


def _guarded(path: Path, found: Iterator[Fault]) -> list[Fault]:
    """The faults of one file; a file that is gone by now has none."""
    faults: list[Fault] = []
    try:
        faults.extend(found)
    except FileNotFoundError:
        return []
    except OSError as error:
        faults.append(Fault(path.name, 0, f"cannot be read: {error.strerror}"))
    return faults


def _tombstone_faults(disk: Disk, path: Path) -> Iterator[Fault]:
    data = disk.read(path)
    found = tombstones.decode(data)
    if found is None:
        yield Fault(path.name, 0, "both copies are damaged")
    elif data != tombstones.encode(found):
        yield Fault(path.name, 0, "a copy is damaged")


def _segment_faults(
    disk: Disk, path: Path, number: int, chain: Chain, *, newest: bool
) -> Iterator[Fault]:
    data = memoryview(disk.read(path))
    if cut := chain.follow(number, data):
        before, missing = cut
        name = filenames.segment_name(before.number)
        yield Fault(name, before.bytes, f"{missing} bytes are missing")
    stump = newest and chain.is_stump(number, data)
    open_end = newest and not stump and not is_checkpoint(data)
    headless = segment_before(data, number) is None
    if stump or (headless and not (open_end and len(data) < SEGMENT_HEADER_BYTES)):
        yield Fault(path.name, 0, "segment header is damaged, or no frame is left")
    for piece in frames(data):
        if isinstance(piece, Damage) and not (piece.torn and open_end):
            yield Fault(path.name, piece.offset, piece.reason)


def _block_faults(path: Path) -> Iterator[Fault]:
    data = path.read_bytes()
    if not data.startswith(HEADER):
        yield Fault(path.name, 0, "header is damaged")
    try:
        footer = decode_footer(data)
    except DamagedError as error:
        yield Fault(path.name, max(0, len(data) - FOOTER_BYTES), str(error))
        return
    both = encode_footer(footer) * 2
    if not data.endswith(both):
        yield Fault(path.name, len(data) - len(both), "a copy of the footer is damaged")
    first = data[footer.first_copy : footer.first_copy + footer.description_bytes]
    second = data[footer.second_copy : footer.second_copy + footer.description_bytes]
    if first != second:
        differing = _first_difference(first, second)
        yield Fault(path.name, footer.first_copy + differing, "the two descriptions differ")
    yield from _description_faults(path.name, data, footer)


def _description_faults(name: str, data: bytes, footer: Footer) -> Iterator[Fault]:
    section = Section(footer.directory_offset, footer.directory_bytes, footer.directory_crc)
    body = _section(data, footer, section)
    if body is None:
        yield Fault(name, footer.first_copy + section.offset, "directory is damaged in both copies")
        return
    directory = Directory(body)
    for number in range(len(directory)):
        yield from _tenant_faults(name, data, footer, directory.entry(number))


def _tenant_faults(name: str, data: bytes, footer: Footer, entry: Entry) -> Iterator[Fault]:
    who = f"{entry.tenant.region}/{entry.tenant.project}"
    sections = [_section(data, footer, each) for each in (entry.index, entry.clocks, entry.pages)]
    index_bytes, clock_bytes, page_bytes = sections
    if index_bytes is None or clock_bytes is None or page_bytes is None:
        yield Fault(name, footer.first_copy + entry.index.offset, f"index of {who} is damaged")
        return
    lengths = np.array([len(clock) for clock in decode_clocks(clock_bytes)], np.int64)
    lengths = lengths[decode_index(index_bytes).clocks]
    series = 0
    for page in np.frombuffer(page_bytes, PAGE):
        begin, size, count = int(page["offset"]), int(page["bytes"]), int(page["series"])
        body = data[begin : begin + size]
        if crc(body) != page["crc"]:
            yield Fault(name, begin, f"page of {count} series of {who}: checksum is wrong")
        else:
            decode_page(body, lengths[series : series + count])
        series += count


def _section(data: bytes, footer: Footer, section: Section) -> bytes | None:
    for copy in (footer.first_copy, footer.second_copy):
        body = data[copy + section.offset : copy + section.offset + section.bytes]
        if crc(body) == section.crc:
            return body
    return None


def _first_difference(left: bytes, right: bytes) -> int:
    pairs = zip(left, right, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(right))
