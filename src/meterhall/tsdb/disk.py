"""The few things that the store asks of a file system, in one place.

Everything that is written goes through here, so that a test can put a faulty disk below the store.
Errors are the operating system's (OSError); callers turn them into StoreUnavailable.
"""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import structlog

_log = structlog.get_logger()

# A large file is synced after so many bytes each: an append's own sync waits for whatever is on its way to the disk. Beside
# flushes and merges the 99th percentile of a push is 7.5 ms with 1 MiB, and 11.5 where a file is synced once.
SYNCED_BYTES = 1 << 20

# Linux takes no more buffers than this in one writev.
_BUFFERS_MAX = 1000
_SECTOR_BYTES = 4096


class NotDurableError(OSError):
    """A file has its name, and nobody can say whether it still has it after a power cut."""


class Disk:
    """The real file system. File handles are plain descriptors."""

    def create(self, path: Path) -> int:
        """A new, empty file, open for appending."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o640)

    def write(self, handle: int, pieces: Sequence[bytes]) -> int:
        """Appends all pieces and returns their length; an error may leave a part of them."""
        total = 0
        for first in range(0, len(pieces), _BUFFERS_MAX):
            total += self._write_some(handle, pieces[first : first + _BUFFERS_MAX])
        return total

    def sync(self, handle: int) -> None:
        """Returns once the file's bytes and length are on disk."""
        os.fdatasync(handle)

    def truncate(self, handle: int, size: int) -> None:
        """Cuts the file; the cut is durable after the next sync."""
        os.ftruncate(handle, size)

    def close(self, handle: int) -> None:
        """Releases the descriptor; tells nothing about durability."""
        with contextlib.suppress(OSError):
            os.close(handle)

    def cut(self, path: Path, size: int) -> None:
        """Durably shortens a file that is not open."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Atomically gives a file its name; durable after sync_directory."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """Gives a file a second name; durable after sync_directory."""
        target.hardlink_to(source)

    def remove_tree(self, path: Path) -> None:
        """Removes a directory and all in it, as far as that can be done."""
        shutil.rmtree(path, ignore_errors=True)

    def unlink(self, path: Path) -> None:
        """Removes a file that may be gone already."""
        path.unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Removes a file that nobody counts on any more; where the disk refuses, a later start does it."""
        try:
            self.unlink(path)
        except OSError as error:
            _log.warning("disk.not_removed", file=path.name, reason=error.strerror)

    def sync_directory(self, path: Path) -> None:
        """Makes creations, renames and removals in a directory durable."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self, path: Path) -> bytes:
        """The whole file; sectors that cannot be read come as zeros.

        Not a mapping: touching a bad sector of a mapped file kills the process (SIGBUS).
        """
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError:
            return self._salvage(path)

    def make_directories(self, directory: Path, names: Sequence[str]) -> None:
        """Durably makes a directory and some in it, as far as they are missing."""
        missing = [directory / name for name in names if not (directory / name).is_dir()]
        for path in missing:
            path.mkdir(parents=True, exist_ok=True, mode=0o750)
        if missing:
            self.sync_directory(directory)
            self.sync_directory(directory.resolve().parent)

    def publish(self, path: Path, temporary: Path, pieces: Sequence[bytes]) -> None:
        """Writes a file aside, syncs it, names it, and syncs its directory.

        Raises NotDurableError where only the last failed, OSError where nothing has changed.
        """
        try:
            handle = self.create(temporary)
            try:
                self.write(handle, pieces)
                self.sync(handle)
            finally:
                self.close(handle)
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(temporary)
            raise
        try:
            self.sync_directory(path.parent)
        except OSError as error:
            raise NotDurableError(error.errno, error.strerror) from error

    def _salvage(self, path: Path) -> bytes:
        pieces = []
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for offset in range(0, size, _SECTOR_BYTES):
                length = min(_SECTOR_BYTES, size - offset)
                try:
                    pieces.append(os.pread(file.fileno(), length, offset).ljust(length, b"\0"))
                except OSError:
                    pieces.append(bytes(length))
        return b"".join(pieces)

    def _write_some(self, handle: int, pieces: Sequence[bytes]) -> int:
        total = sum(len(piece) for piece in pieces)
        written = os.writev(handle, pieces)
        if written < total:
            # A short write is rare (a signal, a full disk): finish it the plain way, which raises.
            rest = memoryview(b"".join(pieces))[written:]
            while rest:
                rest = rest[os.write(handle, rest) :]
        return total
