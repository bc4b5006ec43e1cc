"""What a store's directory holds, by tenant and metric: what `meterhall tsdb inspect` prints.

Reads only and wants no lock. The log is counted as it is: a sample that is already in a block and still in
the log counts in both columns.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meterhall.model.labels import METRIC_NAME, label_value
from meterhall.tsdb import filenames
from meterhall.tsdb.block import Block, Caches
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.cache import ByteCache
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.manifest import ManifestDamagedError, ManifestFile
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.wal_format import (
    DEFINITIONS,
    Damage,
    Frame,
    GroupRow,
    Kind,
    decode_definition,
    decode_samples,
    decode_sealed,
    frames,
)

_CACHE_BYTES = 16 << 20


@dataclass(slots=True)
class MetricUse:
    """One metric of one tenant. `block_bytes` are the pages' bytes, shared out by sample."""

    series: int = 0
    samples: int = 0
    block_bytes: float = 0.0


@dataclass(slots=True)
class TenantUse:
    """One tenant: what blocks and the log hold of it. Series are counted once for each block."""

    metrics: dict[str, MetricUse] = field(default_factory=dict)
    index_bytes: int = 0
    log_samples: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None


@dataclass(slots=True)
class Contents:
    """A whole directory."""

    tenants: dict[Owner, TenantUse] = field(default_factory=dict)
    blocks: int = 0
    block_bytes: int = 0
    log_segments: int = 0
    log_bytes: int = 0
    unreadable: list[str] = field(default_factory=list)


def inspect(directory: Path) -> Contents:
    """Counts everything. Damage is listed in `unreadable` and otherwise passed over."""
    contents = Contents()
    disk = Disk()
    try:
        manifest = ManifestFile(directory, disk).load()
    except ManifestDamagedError:
        contents.unreadable.append(filenames.MANIFEST)
        manifest = None
    caches = Caches(*(ByteCache(_CACHE_BYTES) for _ in range(3)))
    for number, path in filenames.block_paths(directory):
        if manifest is None or number in manifest.blocks:
            try:
                _add_block(contents, Block(number, path, caches))
            except (DamagedError, OSError):
                contents.unreadable.append(path.name)
    _add_log(contents, directory, disk)
    return contents


def _add_block(contents: Contents, block: Block) -> None:
    contents.blocks += 1
    contents.block_bytes += block.bytes
    for entry in block.entries():
        use = contents.tenants.setdefault(entry.tenant, TenantUse())
        use.index_bytes += 2 * (entry.index.bytes + entry.clocks.bytes + entry.pages.bytes)
        _widen(use, entry.oldest_ms, entry.newest_ms)
        part = block.tenant(entry.tenant)
        if part is None:
            contents.unreadable.append(f"{block.path.name}: {entry.tenant}")
            continue
        page_of = np.repeat(np.arange(len(part.pages)), part.pages["series"])
        in_page = np.bincount(page_of, weights=part.lengths)
        shares = part.lengths * (part.pages["bytes"] / in_page)[page_of]
        for number, (length, share) in enumerate(
            zip(part.lengths.tolist(), shares.tolist(), strict=True)
        ):
            metric = use.metrics.setdefault(
                label_value(part.labels(number), METRIC_NAME), MetricUse()
            )
            metric.series += 1
            metric.samples += length
            metric.block_bytes += share


def _add_log(contents: Contents, directory: Path, disk: Disk) -> None:
    tenant_of: dict[int, Owner] = {}
    counts: Counter[int] = Counter()
    for _, path in filenames.segment_paths(directory):
        data = memoryview(disk.read(path))
        contents.log_segments += 1
        contents.log_bytes += len(data)
        for piece in frames(data):
            if isinstance(piece, Damage):
                contents.unreadable.append(f"{path.name}: {piece.length} bytes at {piece.offset}")
            elif piece.kind in DEFINITIONS:
                definition = decode_definition(piece.kind, piece.payload)
                tenant_of[definition.group] = definition.tenant
            else:
                for row in _rows(piece):
                    counts[row.group] += len(row.values)
    for group, samples in counts.items():
        tenant = tenant_of.get(group)
        if tenant is not None:
            contents.tenants.setdefault(tenant, TenantUse()).log_samples += samples


def _rows(piece: Frame) -> Iterable[GroupRow]:
    if piece.kind == Kind.SAMPLES:
        return decode_samples(piece.payload)
    return decode_sealed(piece.payload).rows() if piece.kind == Kind.SEALED else ()


def _widen(use: TenantUse, oldest_ms: int, newest_ms: int) -> None:
    known_oldest = oldest_ms if use.oldest_ms is None else use.oldest_ms
    known_newest = newest_ms if use.newest_ms is None else use.newest_ms
    use.oldest_ms = min(known_oldest, oldest_ms)
    use.newest_ms = max(known_newest, newest_ms)
