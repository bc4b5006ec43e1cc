"""A file that is written beside its place, and gets its name when it is whole."""

from pathlib import Path
from typing import Self

from meterhall.tsdb.disk import Disk
from meterhall.tsdb.filenames import temporary


class Aside:
    """An empty file to write to. A context manager: what was not kept leaves nothing behind."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._temporary = temporary(path)
        self.handle = disk.create(self._temporary)

    def keep(self) -> None:
        """Durably names the file, whose bytes are on disk already. Raises OSError."""
        self._disk.rename(self._temporary, self._path)
        self._disk.sync_directory(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close(self.handle)
        self._disk.remove(self._temporary)
