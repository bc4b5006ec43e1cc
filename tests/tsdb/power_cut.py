"""A disk under which the power is cut: only what was synced survives for sure, names only where their directory was synced.

Two kinds of cut: the strict one drops everything that was not synced; the lax one keeps, by lot, parts of it.
"""

import contextlib
import itertools
import random
import threading

from tests.tsdb.stores import Unsynced


class PowerCutDisk(Unsynced):
    """Keeps, beside the real files, what the platter holds; shows it at every sync."""

    def __init__(self, root, on_sync):
        self._root = root
        self._on_sync = on_sync
        self._lock = threading.RLock()
        self._paths = {}
        self._contents = {}
        self._names = {}
        # Folders that are there already are taken to have their names.
        self._folders = {each.parent: set() for each in (root / "any", *root.rglob("*"))}
        for each in root.rglob("*"):
            if each.is_dir():
                self._folders[each.parent].add(each)
        self._graves = root.with_name(f"{root.name}.graves")
        self._graves.mkdir()
        self._numbers = itertools.count()

    def create(self, path):
        handle = super().create(path)
        with self._lock:
            self._paths[handle] = path
        return handle

    def close(self, handle):
        with self._lock:
            self._paths.pop(handle, None)
        super().close(handle)

    def unlink(self, path):
        # A second name keeps the inode from another file, which would seem to have this one's content.
        with self._lock, contextlib.suppress(FileNotFoundError):
            (self._graves / str(next(self._numbers))).hardlink_to(path)
        super().unlink(path)

    def sync(self, handle):
        with self._lock:
            path = self._paths[handle]
            self._contents[path.stat().st_ino] = path.read_bytes()
            self._on_sync(self)

    def cut(self, path, size):
        with self._lock:
            super().cut(path, size)
            self._contents[path.stat().st_ino] = path.read_bytes()

    def sync_directory(self, path):
        with self._lock:
            files = [each for each in path.iterdir() if each.is_file()]
            self._names[path] = {each.name: each.stat().st_ino for each in files}
            self._folders[path] = {each for each in path.iterdir() if each.is_dir()}
            self._on_sync(self)

    def platter(self):
        """What would be found after a cut now: {path below the root: content}."""
        return {
            (path / name).relative_to(self._root): self._contents.get(inode, b"")
            for path, names in self._names.items()
            if self._is_named(path)
            for name, inode in names.items()
        }

    def _is_named(self, folder):
        """Whether a folder below the root would be found itself."""
        if not folder.is_relative_to(self._root):
            return False
        way = [folder, *folder.parents]
        below = way[: way.index(self._root)]
        return all(each in self._folders.get(each.parent, ()) for each in below)

    def lax_platter(self, lots):
        """The same where the kernel had written more, here and there, before the cut."""
        kept = self.platter()
        for path in sorted(self._root.glob("*/*")):
            if path.is_file() and lots.random() < 0.5:
                synced = self._contents.get(path.stat().st_ino, b"")
                whole = path.read_bytes()
                size = lots.randint(min(len(synced), len(whole)), len(whole))
                kept[path.relative_to(self._root)] = whole[:size]
        return kept


class Snapshots:
    """Every n-th sync: (platter, what had been acknowledged by then, what time it was), in `taken`."""

    def __init__(self, stride, now_ms=0):
        self.stride = stride
        self.syncs = 0
        self.now_ms = now_ms
        self.acknowledged = set()
        self.lots = random.Random(20261125)
        self.taken = []

    def __call__(self, disk):
        self.syncs += 1
        if self.syncs % self.stride == 0:
            lax = len(self.taken) % 2
            platter = disk.lax_platter(self.lots) if lax else disk.platter()
            self.taken.append((platter, set(self.acknowledged), self.now_ms))


def restore(directory, platter):
    """Makes what is found after the cut."""
    for path, content in platter.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
