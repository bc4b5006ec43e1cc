"""Every name that the store gives to a file, and nothing else that knows one.

    DIR/LOCK                    flock of the one process that may use the directory
    DIR/MANIFEST                which blocks exist, and how far the log is in blocks
    DIR/TOMBSTONES              what was deleted, or is past a project's retention, and still in blocks
    DIR/wal/00000001.wal        segments of the write-ahead log, numbered upward
    DIR/blocks/0000000001.block immutable blocks, numbered upward
    DIR/quarantine/             damaged pieces, for whoever wants to look at them
    DIR/snapshots/NAME/         copies of the directory as it was at one moment, by hard links
    *.tmp                       written aside and not yet renamed; worthless after a crash

No name holds anything that a user chose: tenants live inside files, not in paths.
"""

from pathlib import Path

LOCK = "LOCK"
MANIFEST = "MANIFEST"
TOMBSTONES = "TOMBSTONES"
WAL_DIRECTORY = "wal"
BLOCK_DIRECTORY = "blocks"
QUARANTINE_DIRECTORY = "quarantine"
SNAPSHOT_DIRECTORY = "snapshots"
DIRECTORIES = (WAL_DIRECTORY, BLOCK_DIRECTORY, QUARANTINE_DIRECTORY)
TEMPORARY_SUFFIX = ".tmp"
_PARTIAL_SUFFIX = ".partial"
_SEGMENT_SUFFIX = ".wal"
_BLOCK_SUFFIX = ".block"


def is_store(directory: Path) -> bool:
    """Whether a store was ever opened in the directory, or it is a snapshot of one."""
    return all((directory / name).is_dir() for name in (WAL_DIRECTORY, BLOCK_DIRECTORY))


def segment_name(number: int) -> str:
    """The file name of one log segment."""
    return f"{number:08d}{_SEGMENT_SUFFIX}"


def block_name(number: int) -> str:
    """The file name of one block."""
    return f"{number:010d}{_BLOCK_SUFFIX}"


def segment_paths(directory: Path) -> list[tuple[int, Path]]:
    """Numbers and paths of the log segments below the store's directory, in order."""
    return _numbered(directory / WAL_DIRECTORY, _SEGMENT_SUFFIX)


def block_paths(directory: Path) -> list[tuple[int, Path]]:
    """Numbers and paths of the block files below the store's directory, in order."""
    return _numbered(directory / BLOCK_DIRECTORY, _BLOCK_SUFFIX)


def temporary_paths(directory: Path) -> list[Path]:
    """What a crash left half-written."""
    return sorted(directory.glob(f"**/*{TEMPORARY_SUFFIX}"))


def partial(path: Path) -> Path:
    """Where a snapshot is made before it gets its name."""
    return path.with_name(path.name + _PARTIAL_SUFFIX)


def partial_snapshots(directory: Path) -> list[Path]:
    """Snapshots that a crash left unfinished."""
    return sorted((directory / SNAPSHOT_DIRECTORY).glob(f"*{_PARTIAL_SUFFIX}"))


def temporary(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def _numbered(directory: Path, suffix: str) -> list[tuple[int, Path]]:
    if not directory.is_dir():
        return []
    return sorted(
        (int(path.stem), path)
        for path in directory.iterdir()
        if path.suffix == suffix and path.stem.isdecimal()
    )
