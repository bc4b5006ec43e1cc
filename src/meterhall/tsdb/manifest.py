"""The manifest: which blocks exist, and how far the log is in them.

Drawn in docs/formats/manifest.md. One line with magic, version and CRC-32, then JSON. Always replaced as a
whole (aside, fsync, rename, directory fsync), so that it is the moment at which a flush or a merge happens.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from isal import isal_zlib

from meterhall.tsdb import filenames
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.wal import NO_TIME

_MAGIC = b"MHMANIFEST 1"


class ManifestDamagedError(Exception):
    """The manifest's checksum or form is wrong."""


class LogMark(msgspec.Struct, frozen=True):
    """Samples before `time_ms` in log segments below `segment` are all in blocks."""

    segment: int = 0
    time_ms: int = NO_TIME


class Manifest(msgspec.Struct, frozen=True):
    """What the directory holds. `next_block` and `next_group` are numbers never used before."""

    blocks: tuple[int, ...] = ()
    next_block: int = 1
    next_group: int = 1
    mark: LogMark = LogMark()


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """The manifest on disk."""

    directory: Path
    disk: Disk

    def load(self) -> Manifest | None:
        """The manifest, None where there is none yet; raises ManifestDamagedError."""
        try:
            data = (self.directory / filenames.MANIFEST).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ManifestDamagedError(str(error)) from error
        head, _, body = data.partition(b"\n")
        if head != _head(body):
            raise ManifestDamagedError("checksum is wrong")
        try:
            return msgspec.json.decode(body, type=Manifest)
        except msgspec.DecodeError as error:
            raise ManifestDamagedError(str(error)) from error

    def save(self, manifest: Manifest) -> None:
        """Replaces the manifest, durably. Raises OSError; after NotDurableError either may be on disk."""
        body = msgspec.json.encode(manifest)
        path = self.directory / filenames.MANIFEST
        self.disk.publish(path, filenames.temporary(path), [_head(body), b"\n", body])


def _head(body: bytes) -> bytes:
    return _MAGIC + b" %08x" % isal_zlib.crc32(body)
