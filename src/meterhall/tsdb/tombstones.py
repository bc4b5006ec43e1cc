"""What blocks still hold and nobody may see any more: deleted samples, and those past a project's own retention.

    tombstone  a deletion: series that pass some matchers, over a range of time, in blocks below a number and in log
               segments below a number; what arrived later is not meant. The head has none of it any more.
    cut        a retention that was reached: everything of a project (or of one workspace of it) before a time

Both are on disk, in DIR/TOMBSTONES (docs/formats/tombstones.md), before anything acts on them, and a cut never moves back:
so a sample that was gone once stays gone, whatever a retention is lengthened to, and no answer is half deleted.
Reading leaves out what they name; merging and `upkeep` write blocks without it, and give the space back.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from isal import isal_zlib
from pyroaring import BitMap

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.telemetry.metrics import TOMBSTONES
from meterhall.tsdb import filenames
from meterhall.tsdb.block import Block, TenantBlock
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.quarantine import Quarantine
from meterhall.tsdb.wal import NO_TIME

_log = structlog.get_logger()

_MAGIC = b"MHTOMBSTONES 1"
JOB = "job"
# The cut of whoever has none of its own, and of every workspace that has none.
EVERYBODY = Owner("", "")
EVERY_JOB = ""

EVER = (NO_TIME + 1, -NO_TIME - 2)

# Series of a block, and the range (both ends included) in which they may be seen.
Living = tuple[BitMap, int, int]


class Tombstone(msgspec.Struct, frozen=True):
    """One deletion. `matchers` are (operator, name, value); none means all series."""

    region: str
    project: str
    matchers: tuple[tuple[str, str, str], ...]
    start_ms: int
    end_ms: int
    block: int
    segment: int

    @property
    def owner(self) -> Owner:
        """Whose series."""
        return Owner(self.region, self.project)

    def parsed(self) -> list[Matcher]:
        """The matchers, ready for use."""
        return [Matcher(MatchOp(op), name, value) for op, name, value in self.matchers]


class Cut(msgspec.Struct, frozen=True):
    """Nothing before `before_ms` is seen of the project's workspace, or of all that have no cut of their own."""

    region: str
    project: str
    job: str
    before_ms: int


class Contents(msgspec.Struct, frozen=True):
    """All that the file says."""

    tombstones: tuple[Tombstone, ...] = ()
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """One owner's tombstones and cuts, the latter by workspace; EVERY_JOB holds for those not named."""

    tombstones: Sequence[tuple[Tombstone, Sequence[Matcher]]]
    cuts: Mapping[str, int]

    @property
    def before_ms(self) -> int:
        """Nothing of the owner before it is seen, whatever the workspace."""
        return min(self.cuts.values(), default=NO_TIME)

    def touches(self, block: Block) -> bool:
        """Whether anything in the block may be hidden. Looks at the footer alone."""
        if not self.cuts and not self.tombstones:
            return False
        footer = block.footer
        return any(before > footer.oldest_ms for before in self.cuts.values()) or any(
            block.number < each.block and block.overlaps(each.start_ms, each.end_ms)
            for each, _ in self.tombstones
        )

    def living(
        self, here: TenantBlock, numbers: BitMap, start_ms: int, end_ms: int
    ) -> Iterator[Living]:
        """The series of a block that may be seen, with the part of the range in which they may be.

        A series may come several times, with ranges that do not overlap.
        """
        if not self.touches(here.block):
            yield numbers, start_ms, end_ms
            return
        found = [
            (series, [(start, end_ms)]) for series, start in self.uncut(here, numbers, start_ms)
        ]
        for tombstone, matchers in self.tombstones:
            if here.block.number < tombstone.block:
                found = list(_without(found, here.passing(matchers), tombstone))
        for series, ranges in found:
            for start, end in ranges:
                if series and start <= end:
                    yield series, start, end

    def uncut(
        self, here: TenantBlock, numbers: BitMap, start_ms: int
    ) -> Iterator[tuple[BitMap, int]]:
        """The series of a block, with the time from which on no cut hides them."""
        rest = numbers
        for job, before in self.cuts.items():
            if job != EVERY_JOB:
                mine = numbers & (here.series(JOB, job) or BitMap())
                rest = rest - mine
                yield mine, max(start_ms, before)
        yield rest, max(start_ms, self.cuts.get(EVERY_JOB, NO_TIME))


_Ranges = list[tuple[int, int]]


def _without(
    found: Iterable[tuple[BitMap, _Ranges]], erased: BitMap, tombstone: Tombstone
) -> Iterator[tuple[BitMap, _Ranges]]:
    """The same series and ranges, less the tombstone's range of those that it means."""
    for series, ranges in found:
        mine = series & erased
        if not mine:
            yield series, ranges
            continue
        if len(mine) < len(series):
            yield series - mine, ranges
        left = []
        for start, end in ranges:
            left.append((start, min(end, tombstone.start_ms - 1)))
            left.append((max(start, tombstone.end_ms + 1), end))
        yield mine, [(start, end) for start, end in left if start <= end]


def remains(tombstone: Tombstone, block: Block) -> bool:
    """Whether a block holds something that the tombstone means, as far as its index and clocks tell."""
    start_ms, end_ms = tombstone.start_ms, tombstone.end_ms
    if block.number >= tombstone.block or not block.overlaps(start_ms, end_ms):
        return False
    here = block.tenant(tombstone.owner)
    return here is not None and bool(here.alive(here.passing(tombstone.parsed()), start_ms, end_ms))


class Erasures:
    """What is hidden, by owner."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        tombstones: dict[Owner, list[tuple[Tombstone, Sequence[Matcher]]]] = defaultdict(list)
        cuts: dict[Owner, dict[str, int]] = defaultdict(dict)
        for each in contents.tombstones:
            tombstones[each.owner].append((each, each.parsed()))
        for cut in contents.cuts:
            cuts[Owner(cut.region, cut.project)][cut.job] = cut.before_ms
        common = cuts[EVERYBODY]
        self._by_owner = {
            owner: Erasure(tombstones[owner], cuts[owner] or common)
            for owner in {EVERYBODY, *tombstones, *cuts}
        }

    def of(self, owner: Owner) -> Erasure:
        """What is hidden of the owner."""
        return self._by_owner.get(owner) or self._by_owner[EVERYBODY]


class Tombstones:
    """All owners', on disk and in memory. Thread-safe; every change is durable when it returns."""

    def __init__(self, directory: Path, quarantine: Quarantine) -> None:
        self._path = directory / filenames.TOMBSTONES
        self._quarantine = quarantine
        self._disk = quarantine.disk
        self._lock = threading.Lock()
        # Moves with every change.
        self.version = 0
        self._keep(self._load())

    @property
    def pending(self) -> Sequence[Tombstone]:
        """Deletions whose samples may still be in a block or in the log, oldest first."""
        return self._contents.tombstones

    @property
    def segment(self) -> int:
        """No pending deletion means a log segment from here on."""
        return max((each.segment for each in self.pending), default=0)

    @property
    def block(self) -> int:
        """No pending deletion means a block from here on."""
        return max((each.block for each in self.pending), default=0)

    def of(self, owner: Owner) -> Erasure:
        """What is hidden of the owner."""
        return self.erasures.of(owner)

    def cut(self, owner: Owner, job: str = EVERY_JOB) -> int:
        """Nothing before it is seen; NO_TIME where there is none."""
        cuts = self.of(owner).cuts
        return cuts.get(job, cuts.get(EVERY_JOB, NO_TIME))

    def cuts(self) -> Mapping[tuple[Owner, str], int]:
        """Every cut, by owner and workspace."""
        return {
            (Owner(cut.region, cut.project), cut.job): cut.before_ms for cut in self._contents.cuts
        }

    def add(self, tombstone: Tombstone) -> None:
        """Raises OSError; nothing has changed then."""
        with self._lock:
            self._save(
                msgspec.structs.replace(
                    self._contents, tombstones=(*self._contents.tombstones, tombstone)
                )
            )

    def remove(self, gone: Collection[Tombstone]) -> None:
        """Forgets deletions of which nothing is left. Raises OSError."""
        with self._lock:
            kept = tuple(each for each in self._contents.tombstones if each not in gone)
            self._save(msgspec.structs.replace(self._contents, tombstones=kept))

    def move_cuts(self, moved: Mapping[tuple[Owner, str], int]) -> None:
        """Moves cuts on, or makes them. Never back. Raises OSError."""
        with self._lock:
            cuts = dict(self.cuts())
            for key, before_ms in moved.items():
                cuts[key] = max(before_ms, cuts.get(key, before_ms))
            listed = tuple(
                Cut(owner.region, owner.project, job, before_ms)
                for (owner, job), before_ms in sorted(cuts.items())
            )
            self._save(msgspec.structs.replace(self._contents, cuts=listed))

    def _save(self, contents: Contents) -> None:
        self._write(contents)
        self.version += 1
        self._keep(contents)

    def _write(self, contents: Contents) -> None:
        self._disk.publish(self._path, filenames.temporary(self._path), [encode(contents)])

    def _keep(self, contents: Contents) -> None:
        self._contents = contents
        self.erasures = Erasures(contents)
        TOMBSTONES.set(len(contents.tombstones))

    def _load(self) -> Contents:
        """Where no copy is sound it goes on without: what was deleted and is still in blocks is seen again."""
        try:
            data = self._disk.read(self._path)
        except FileNotFoundError:
            return Contents()
        except OSError as error:
            self._quarantine.move(self._path, str(error))
            return Contents()
        found = decode(data)
        if found is None:
            self._quarantine.move(self._path, "both copies are damaged")
            return Contents()
        if data != encode(found):
            self._quarantine.copy(self._path.name, 0, data, "a copy is damaged")
            self._heal(found)
        return found

    def _heal(self, contents: Contents) -> None:
        try:
            self._write(contents)
        except OSError as error:
            _log.warning("tombstones.not_healed", reason=error.strerror)


def encode(contents: Contents) -> bytes:
    """The file: the same line and JSON twice, so that no one damaged spot brings anything back."""
    body = msgspec.json.encode(contents)
    return b"".join([_head(body), b"\n", body, b"\n"] * 2)


def decode(data: bytes) -> Contents | None:
    """What the sound copy in a file says, None where neither is sound."""
    half = len(data) // 2
    for piece in (data[:half], data[half:], data):
        head, _, rest = piece.partition(b"\n")
        for body in (rest[:-1], rest.partition(b"\n")[0]):
            if head == _head(body):
                try:
                    return msgspec.json.decode(body, type=Contents)
                except msgspec.DecodeError:
                    continue
    return None


def _head(body: bytes) -> bytes:
    return _MAGIC + b" %08x" % isal_zlib.crc32(body)
