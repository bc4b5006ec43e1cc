"""What is done with a damaged piece: named in the log, counted, and kept in DIR/quarantine/ for whoever wants to look at it.

A piece of a file that goes on being used is copied, as FILE.OFFSET; a file of no use any more is moved there. Where the
disk refuses that, the service goes on all the same.
"""

from dataclasses import dataclass
from pathlib import Path

import structlog

from meterhall.telemetry.metrics import QUARANTINED
from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Of one store's directory. Thread-safe."""

    directory: Path
    disk: Disk

    def copy(self, file: str, offset: int, data: bytes, reason: str) -> None:
        """Bytes of a file as they were found; none where they are missing or cannot be read."""
        self._tell(file, offset, len(data), reason)
        if not data:
            return
        target = self._path(f"{file}.{offset}")
        try:
            self.disk.publish(target, filenames.temporary(target), [data])
        except OSError as error:
            _log.warning("piece.not_set_aside", file=file, reason=error.strerror)

    def move(self, path: Path, reason: str) -> None:
        """A whole file."""
        size = path.stat().st_size if path.exists() else 0
        self._tell(path.name, 0, size, reason)
        try:
            self.disk.rename(path, self._path(path.name))
        except OSError as error:
            _log.warning("piece.not_set_aside", file=path.name, reason=error.strerror)

    def _path(self, name: str) -> Path:
        return self.directory / filenames.QUARANTINE_DIRECTORY / name

    @staticmethod
    def _tell(file: str, offset: int, size: int, reason: str) -> None:
        QUARANTINED.inc()
        _log.error("piece.quarantined", file=file, offset=offset, bytes=size, reason=reason)
