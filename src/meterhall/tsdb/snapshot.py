"""Snapshots: the store as it is at one moment, as a directory of hard links that is a store itself.

    1. no flush, merge or deletion runs; the log turns to segment N, so that what was appended is in segments below
    2. manifest, tombstones, the blocks that it lists and the segments below N are linked into NAME.partial
    3. its directories are synced, and it gets its name

None of these files is ever changed in place, so a link costs no space until the store has dropped its own. A crash leaves
a `.partial`, which the next start removes. To restore: put a copy in the place of the store's directory.
"""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meterhall.tsdb import filenames
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.disk import Disk


def snapshot_name(now_ms: int) -> str:
    """A name as Prometheus gives it: time, and something that no other snapshot has."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now_ms)
    return f"{moment.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(8)}"


def link_snapshot(directory: Path, name: str, segment: int, blocks: BlockSet, disk: Disk) -> Path:
    """Links everything that steps 2 and 3 say; `segment` 0 leaves the log out. Raises OSError."""
    disk.make_directories(directory, [filenames.SNAPSHOT_DIRECTORY])
    target = directory / filenames.SNAPSHOT_DIRECTORY / name
    partial = filenames.partial(target)
    disk.make_directories(partial, filenames.DIRECTORIES)
    paths = [block.path for block in blocks.blocks]
    paths += [path for number, path in filenames.segment_paths(directory) if number < segment]
    paths += [directory / filenames.MANIFEST, directory / filenames.TOMBSTONES]
    for path in paths:
        if path.exists():
            disk.link(path, partial / path.relative_to(directory))
    for folder in (*(partial / each for each in filenames.DIRECTORIES), partial):
        disk.sync_directory(folder)
    disk.rename(partial, target)
    disk.sync_directory(target.parent)
    return target
