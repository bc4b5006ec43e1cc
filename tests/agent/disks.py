"""Disks in trouble, and one that is watched."""

import errno
import os
import threading

from meterhall.tsdb.disk import Disk


class FullDisk(Disk):
    """Refuses one operation as a full disk does; a refused write leaves half of its bytes."""

    def __init__(self):
        self.refused = None

    def _check(self, operation):
        if operation == self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, path):
        self._check("create")
        return super().create(path)

    def write(self, handle, pieces):
        if self.refused == "write":
            whole = b"".join(pieces)
            super().write(handle, [whole[: len(whole) // 2]])
        self._check("write")
        return super().write(handle, pieces)

    def sync(self, handle):
        self._check("sync")
        super().sync(handle)

    def sync_directory(self, path):
        self._check("sync_directory")
        super().sync_directory(path)


class CountingDisk(Disk):
    """Counts what it syncs; a sync waits for `released`."""

    def __init__(self):
        self.syncs = 0
        self.released = threading.Event()
        self.released.set()

    def sync(self, handle):
        self.released.wait(10)
        self.syncs += 1
        super().sync(handle)
