"""The lock file: one process for each data directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from meterhall.model.errors import StoreLocked
from meterhall.tsdb import filenames


class DirectoryLock:
    """Held from construction to `release`; the kernel releases it when the process dies.

    Raises StoreLocked, with a sentence that says what to do, where another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / filenames.LOCK
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._handle, 32).decode("ascii", "replace").strip()
            os.close(self._handle)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise StoreLocked(
                f"data directory {directory.resolve()} is in use by {who}: "
                "stop that meterhall, or give this one a data directory of its own"
            ) from error
        # The number is a courtesy to whoever is refused; a full disk must not stop the start.
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Lets others in. Must be called once."""
        os.close(self._handle)
