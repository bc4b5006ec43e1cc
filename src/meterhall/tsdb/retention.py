"""What is too old or too much: cuts that move on, files that are dropped whole, and blocks that are written anew.

The store's own retention drops a file once its newest sample is past it. A project or a workspace with a rule of its
own has a *cut* (tombstones.py): everything before it is out of sight at once. By time a cut lies at the end of a merged
span (a day), so that it falls between blocks: a sample is kept at least as long as promised, and at most that
span longer. By size a cut lies behind the oldest blocks that are too much.

Files go whole where nothing in them is seen any more. A file that others still need is written anew without what is
hidden once that is a fourth of it; a merge leaves it out anyway.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import structlog
from pyroaring import BitMap

from meterhall.model.retention import ProjectRetention, Retention
from meterhall.tsdb.block import Block, TenantBlock
from meterhall.tsdb.block_format import DamagedError, Entry
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.tombstones import EVER, EVERY_JOB, EVERYBODY, JOB, Tombstones
from meterhall.tsdb.usage import series_bytes
from meterhall.tsdb.wal import NO_TIME

_log = structlog.get_logger()

# A block is written anew when this share of it is hidden.
_HIDDEN_SHARE = 4

Key = tuple[Owner, str]
Rules = Mapping[tuple[str, str], ProjectRetention]


def no_rules() -> Rules:
    """Everybody follows the store."""
    return {}


def unknown_rules() -> Rules | None:
    """Nobody has said yet who follows what: nothing is dropped."""
    return None


class Retainer:
    """Not thread-safe: upkeep has it. `rules` may be replaced at any time."""

    def __init__(self, blocks: BlockSet, tombstones: Tombstones, settings: StoreSettings) -> None:
        self.rules: Callable[[], Rules | None] = no_rules
        self._blocks = blocks
        self._tombstones = tombstones
        self._settings = settings
        # What was measured of immutable files: bytes of an owner's workspace, and the hidden share by cuts.
        self._bytes: dict[tuple[int, Owner, str], int] = {}
        self._hidden: dict[int, tuple[int, float]] = {}

    def apply(self, now_ms: int) -> bool:
        """Moves cuts, durably, then drops what no cut leaves anything of; whether anything went. Raises OSError."""
        rules = self.rules()
        if rules is None:
            return False
        moved = self._move_cuts(rules, now_ms)
        before_ms = now_ms - self._settings.retention_ms
        gone = {block for block in self._blocks.blocks if self._is_over(block, before_ms)}
        if gone:
            self._blocks.publish((), removed=gone)
            _log.info("retention.dropped", blocks=len(gone), before_ms=before_ms)
        self._forget_measures()
        return moved or bool(gone)

    def to_rewrite(self) -> Block | None:
        """A block of which so much is hidden that it is worth writing anew, the oldest first."""
        for block in self._blocks.blocks:
            if not block.damaged and self._hidden_share(block) * _HIDDEN_SHARE >= 1:
                return block
        return None

    def retention_ms(self, owner: Owner) -> int:
        """How far back the owner's samples may lie: as far as its most generous rule."""
        rule = (self.rules() or {}).get(owner)
        if rule is None:
            return self._settings.retention_ms
        times = [rule.own, *rule.jobs.values()]
        return max(each.time_ms or self._settings.retention_ms for each in times)

    def _move_cuts(self, rules: Rules, now_ms: int) -> bool:
        targets = {**self._common(rules, now_ms), **dict(self._targets(rules, now_ms))}
        known = self._tombstones.cuts()
        moved = {key: cut for key, cut in targets.items() if cut > known.get(key, NO_TIME - 1)}
        if moved:
            self._tombstones.move_cuts(moved)
        return bool(moved)

    def _common(self, rules: Rules, now_ms: int) -> dict[Key, int]:
        """The cut of all who have none of their own: needed only where a file outlives the store's retention.

        That is one in which somebody with a rule of their own still sees something, or one over the store's size.
        """
        before_ms = now_ms - self._settings.retention_ms
        owners = {owner for owner, _ in self._tombstones.cuts()} | {
            Owner(*whose) for whose in rules
        }
        past = [
            block.footer.newest_ms + 1
            for block in self._blocks.blocks
            if block.footer.newest_ms < before_ms
            and any(entry_of(block, owner) for owner in owners)
        ]
        past += [block.footer.newest_ms + 1 for block in self._too_much()]
        return {(EVERYBODY, EVERY_JOB): max(past)} if past else {}

    def _too_much(self) -> Iterator[Block]:
        """The oldest blocks, without which the store is as small as it should be."""
        limit = self._settings.retention_bytes
        size = sum(block.bytes for block in self._blocks.blocks)
        for block in _oldest_first(self._blocks.blocks):
            if not limit or size <= limit:
                return
            size -= block.bytes
            yield block

    def _targets(self, rules: Rules, now_ms: int) -> Iterator[tuple[Key, int]]:
        """Where the cut of each owner and workspace with a rule should be, or of one that had a rule."""
        had = self._tombstones.cuts()
        for owner in {Owner(*whose) for whose in rules} | {owner for owner, _ in had}:
            if owner == EVERYBODY:
                continue
            rule = rules.get(owner, ProjectRetention())
            own = self._target((owner, EVERY_JOB), rule.own, now_ms)
            yield (owner, EVERY_JOB), own
            for job in {*rule.jobs, *(job for known, job in had if known == owner and job)}:
                of_job = rule.jobs.get(job, Retention())
                at = self._target((owner, job), of_job, now_ms)
                yield (owner, job), at if of_job.time_ms else max(at, own)

    def _target(self, key: Key, rule: Retention, now_ms: int) -> int:
        """Never before the cut that held so far, be it the key's own or that of all."""
        at = self._tombstones.cut(*key)
        if rule.time_ms:
            span = self._settings.merged_span_ms
            at = max(at, (now_ms - rule.time_ms) // span * span)
        elif key[1] == EVERY_JOB:
            at = max(at, self._tombstones.cut(EVERYBODY))
        return self._cut_to_size(key, rule.bytes, at) if rule.bytes else at

    def _cut_to_size(self, key: Key, limit: int, cut_ms: int) -> int:
        owner, job = key
        held = []
        for block in _oldest_first(self._blocks.blocks):
            entry = entry_of(block, owner)
            if entry is not None and entry.newest_ms >= cut_ms:
                held.append((entry.newest_ms, self._bytes_of(block, owner, job)))
        size = sum(size for _, size in held)
        for newest_ms, here in held:
            if size <= limit:
                break
            size -= here
            cut_ms = max(cut_ms, newest_ms + 1)
        return cut_ms

    def _bytes_of(self, block: Block, owner: Owner, job: str) -> int:
        """Bytes of an owner, or of one of its workspaces, in a block; a page's are shared out by sample."""
        key = (block.number, owner, job)
        known = self._bytes.get(key)
        if known is None:
            here = block.tenant(owner)
            shares = np.empty(0) if here is None else series_bytes(here)
            if here is not None and job != EVERY_JOB:
                carriers = here.series(JOB, job)
                shares = shares[np.asarray(carriers.to_array() if carriers else [], np.int64)]
            known = self._bytes[key] = int(shares.sum())
        return known

    def _is_over(self, block: Block, before_ms: int) -> bool:
        """Whether nothing in the block is seen by anyone any more."""
        footer = block.footer
        cuts = self._tombstones.cuts()
        owners = {owner for owner, _ in cuts}
        if footer.newest_ms < before_ms:
            return not any(
                entry.newest_ms >= self._tombstones.of(owner).before_ms
                for owner in owners - {EVERYBODY}
                if (entry := entry_of(block, owner)) is not None
            )
        if footer.newest_ms >= max(cuts.values(), default=NO_TIME):
            return False
        return all(
            entry.newest_ms < self._tombstones.of(entry.tenant).before_ms
            for entry in block.entries()
        )

    def _hidden_share(self, block: Block) -> float:
        version = self._tombstones.version
        known = self._hidden.get(block.number)
        if known is None or known[0] != version:
            known = self._hidden[block.number] = (version, self._measured(block))
        return known[1]

    def _measured(self, block: Block) -> float:
        """The share of a block's samples that cuts hide."""
        cuts = self._tombstones.cuts().values()
        if max(cuts, default=NO_TIME) <= block.footer.oldest_ms:
            return 0.0
        hidden = 0.0
        for entry in block.entries():
            erasure = self._tombstones.of(entry.tenant)
            if max(erasure.cuts.values(), default=NO_TIME) <= entry.oldest_ms:
                continue
            here = block.tenant(entry.tenant)
            if here is not None:
                seen = sum(
                    _cells(here, *each) for each in erasure.uncut(here, here.every(), EVER[0])
                )
                hidden += entry.samples * (1 - seen / max(1, int(here.lengths.sum())))
        return hidden / max(1, block.footer.samples)

    def _forget_measures(self) -> None:
        numbers = {block.number for block in self._blocks.blocks}
        self._bytes = {key: size for key, size in self._bytes.items() if key[0] in numbers}
        self._hidden = {key: share for key, share in self._hidden.items() if key in numbers}


def entry_of(block: Block, owner: Owner) -> Entry | None:
    """The owner's entry; of a directory that is broken nothing can be read, so there is none."""
    try:
        return block.directory().find(owner)
    except DamagedError:
        return None


def _cells(here: TenantBlock, numbers: BitMap, start_ms: int) -> int:
    """Places for samples from a time on, of some series."""
    series = np.bincount(here.index.clocks[np.asarray(numbers.to_array(), np.int64)])
    return sum(
        int(series[clock]) * int((here.clocks.part(clock) >= start_ms).sum())
        for clock in np.flatnonzero(series).tolist()
    )


def _oldest_first(blocks: Sequence[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: block.footer.newest_ms)
