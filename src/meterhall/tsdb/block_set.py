"""The blocks that exist, as one value that is replaced as a whole.

Readers take `blocks` once and keep it; a block that leaves the set stays readable until its last reader is
gone. The manifest changes first, then the set, then files are removed.
"""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from meterhall.telemetry.metrics import BLOCKS
from meterhall.tsdb import filenames
from meterhall.tsdb.block import Block, Caches
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.cache import ByteCache
from meterhall.tsdb.disk import NotDurableError
from meterhall.tsdb.manifest import LogMark, Manifest, ManifestDamagedError, ManifestFile
from meterhall.tsdb.quarantine import Quarantine
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.wal import NO_TIME


class BlockSet:
    """Opens what the manifest lists. Damage sets a file aside and never fails the start."""

    def __init__(
        self,
        directory: Path,
        settings: StoreSettings,
        quarantine: Quarantine,
        number_min: int = 1,
    ) -> None:
        """New blocks have numbers from `number_min` on at least, that of deletions.

        A number that was used up and never published is on no disk, and a block with one below a deletion's
        would be taken for one that was there before it.
        """
        self._directory = directory
        self._number_min = number_min
        self._quarantine = quarantine
        self._disk = disk = quarantine.disk
        self._file = ManifestFile(directory, disk)
        self._caches = Caches(
            ByteCache(settings.page_cache_bytes),
            ByteCache(settings.index_cache_bytes),
            ByteCache(settings.selection_cache_bytes),
        )
        self._lock = threading.Lock()
        self._manifest = self._load()
        self.blocks: tuple[Block, ...] = ()
        # Listed, and not to be read now (permission, too many open files): not served, not forgotten.
        self._unread: list[int] = []
        # In a manifest that could not be made durable, and may be on disk for all we know.
        self._doubtful: set[int] = set()
        self._replace(self._open(self._manifest.blocks))

    @property
    def mark(self) -> LogMark:
        """How far the log is in blocks."""
        return self._manifest.mark

    @property
    def next_group(self) -> int:
        """No group number from here on was ever used, as far as blocks know."""
        return self._manifest.next_group

    @property
    def selections(self) -> ByteCache:
        """What selectors found lately, in blocks and elsewhere."""
        return self._caches.selections

    @contextmanager
    def numbers_held(self) -> Iterator[int]:
        """The number of the next block. None is given out meanwhile: all that are being written are below it."""
        with self._lock:
            yield self._manifest.next_block

    def newest_ms(self) -> int:
        """No block holds a sample after this; NO_TIME where there is no block."""
        return self._newest_ms

    def new_path(self) -> tuple[int, Path]:
        """A number and a path for a block to be written; used up even where it is not published."""
        with self._lock:
            number = self._manifest.next_block
            self._manifest = Manifest(
                self._manifest.blocks, number + 1, self._manifest.next_group, self._manifest.mark
            )
        return number, self._directory / filenames.BLOCK_DIRECTORY / filenames.block_name(number)

    def publish(
        self,
        added: Sequence[int],
        removed: Collection[Block] = (),
        mark: LogMark | None = None,
        next_group: int = 0,
    ) -> None:
        """Makes written blocks exist and others cease to, in one step.

        Raises OSError, or DamagedError where a written block does not read back; nothing has changed then.
        """
        fresh = [self._block(number) for number in added]
        with self._lock:
            old = self._manifest
            kept = [block for block in self.blocks if block not in removed]
            blocks = [*kept, *fresh]
            manifest = Manifest(
                tuple(sorted([*self._unread, *(block.number for block in blocks)])),
                old.next_block,
                max(old.next_group, next_group),
                mark or old.mark,
            )
            try:
                self._file.save(manifest)
            except NotDurableError:
                self._doubtful.update(added)
                raise
            self._manifest = manifest
            self._replace(blocks)
            doubtful, self._doubtful = self._doubtful.difference(manifest.blocks), set()
        for block in removed:
            self._caches.pages.drop(block.number)
            self._caches.indexes.drop(block.number)
            self._caches.selections.drop(block.number)
            self._disk.remove(block.path)
        self.discard(doubtful)

    def discard(self, numbers: Collection[int]) -> None:
        """Removes files of blocks that were written and then not published.

        Those that a manifest on disk may list stay until a later manifest is durable: a start would take
        that one for the truth, and their sources for orphans.
        """
        for number in set(numbers).difference(self._doubtful):
            self._disk.remove(self._path(number))

    def _replace(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(sorted(blocks, key=lambda block: block.footer.oldest_ms))
        self._newest_ms = max((block.footer.newest_ms for block in blocks), default=NO_TIME)
        BLOCKS.set(len(blocks))

    def _load(self) -> Manifest:
        on_disk = [number for number, _ in filenames.block_paths(self._directory)]
        following = max(max(on_disk, default=0) + 1, self._number_min)
        try:
            manifest = self._file.load()
        except ManifestDamagedError as error:
            self._quarantine.move(self._directory / filenames.MANIFEST, str(error))
            manifest = None
        if manifest is None:
            # Without a manifest every complete block counts. One that a merge had replaced may come
            # back; its samples are the same and are merged on reading.
            return Manifest(tuple(on_disk), following)
        for number in set(on_disk).difference(manifest.blocks):
            self._disk.remove(self._path(number))
        return Manifest(
            manifest.blocks,
            max(manifest.next_block, following),
            manifest.next_group,
            manifest.mark,
        )

    def _open(self, numbers: Sequence[int]) -> list[Block]:
        blocks = []
        for number in numbers:
            path = self._path(number)
            try:
                blocks.append(self._block(number))
            except (DamagedError, FileNotFoundError) as error:
                self._quarantine.move(path, str(error))
            except OSError as error:
                self._unread.append(number)
                reason = f"cannot be read: {error.strerror}"
                self._quarantine.copy(path.name, 0, b"", reason)
        return blocks

    def _block(self, number: int) -> Block:
        return Block(number, self._path(number), self._caches, self._quarantine.copy)

    def _path(self, number: int) -> Path:
        return self._directory / filenames.BLOCK_DIRECTORY / filenames.block_name(number)
