"""What a store's directory holds, by tenant, workspace and metric: what `meterhall tsdb inspect` prints.

Reads only and wants no lock. The log is counted as it is: a sample that is already in a block and still in
the log counts in both columns.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from meterhall.model.labels import METRIC_NAME, Labels, label_value
from meterhall.tsdb import filenames
from meterhall.tsdb.block import Block, Caches
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.cache import ByteCache
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.manifest import ManifestDamagedError, ManifestFile
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.tombstones import JOB
from meterhall.tsdb.usage import series_bytes
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
class Use:
    """What blocks hold of some series: each counts once, however many blocks it is in.

    `block_bytes` are those of pages and of the index, as `usage.series_bytes` shares them out.
    """

    series: int = 0
    samples: int = 0
    block_bytes: float = 0.0

    def add(self, series: int, samples: int, block_bytes: float) -> None:
        """Counts more."""
        self.series += series
        self.samples += samples
        self.block_bytes += block_bytes


@dataclass(slots=True)
class WorkspaceUse:
    """One workspace of a tenant; its name is the label `job`, empty for series without one."""

    total: Use = field(default_factory=Use)
    metrics: dict[str, Use] = field(default_factory=dict)


@dataclass(slots=True)
class TenantUse:
    """One tenant: what blocks and the log hold of it."""

    total: Use = field(default_factory=Use)
    workspaces: dict[str, WorkspaceUse] = field(default_factory=dict)
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

    def note(file: str, offset: int, data: bytes, reason: str) -> None:
        contents.unreadable.append(f"{file}: {reason} ({len(data)} bytes at {offset})")

    known: set[tuple[Owner, Labels]] = set()
    for number, path in filenames.block_paths(directory):
        if manifest is None or number in manifest.blocks:
            try:
                _add_block(contents, Block(number, path, caches, note), known)
            except (DamagedError, OSError):
                contents.unreadable.append(path.name)
    _add_log(contents, directory, disk)
    return contents


def _add_block(contents: Contents, block: Block, known: set[tuple[Owner, Labels]]) -> None:
    contents.blocks += 1
    contents.block_bytes += block.bytes
    for entry in block.entries():
        use = contents.tenants.setdefault(entry.tenant, TenantUse())
        _widen(use, entry.oldest_ms, entry.newest_ms)
        part = block.tenant(entry.tenant)
        if part is None:
            continue
        counts = zip(part.lengths.tolist(), series_bytes(part).tolist(), strict=True)
        for number, (samples, share) in enumerate(counts):
            labels = part.labels.one(number)
            series = int((entry.tenant, labels) not in known)
            known.add((entry.tenant, labels))
            workspace = use.workspaces.setdefault(label_value(labels, JOB), WorkspaceUse())
            metric = workspace.metrics.setdefault(label_value(labels, METRIC_NAME), Use())
            for each in (use.total, workspace.total, metric):
                each.add(series, samples, share)


def _add_log(contents: Contents, directory: Path, disk: Disk) -> None:
    tenant_of: dict[int, Owner] = {}
    counts: Counter[int] = Counter()
    for _, path in filenames.segment_paths(directory):
        data = memoryview(disk.read(path))
        contents.log_segments += 1
        contents.log_bytes += len(data)
        for piece in frames(data):
            if isinstance(piece, Damage):
                contents.unreadable.append(f"{path.name}: {piece.reason} at {piece.offset}")
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
