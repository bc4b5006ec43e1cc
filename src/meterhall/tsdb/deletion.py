"""Deleting samples: in memory at once, in blocks and in the log by a tombstone that is on disk before anything else.

    1. no flush runs, and the tenant's appends wait
    2. the log turns to segment N: the tenant's samples so far are in segments below N, and on disk
    3. the tombstone is published: "in segments below N and in blocks below B"
    4. the head takes the samples out of its groups, and those who keep answers are told

A crash before 3 leaves everything, a crash after it nothing: at start the head does step 4 when replay comes to
segment N. Blocks that a merge is writing meanwhile have numbers below B already. Samples that arrive later are in
segments from N on, and are none of the tombstone's business, whatever their time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from meterhall.model.errors import LimitExceeded
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, ABSENT_BITS
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.group import Group
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.side import Slots
from meterhall.tsdb.tombstones import EVER, Tombstone, Tombstones
from meterhall.tsdb.wal import Log

# Every block that is read meanwhile is matched against each of them.
_PENDING_MAX = 100
# Rows that are in hand at a time: a wide group has half a megabyte in each.
_ROWS = 64


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a deletion works on. `flushing` is held by a flush while it runs."""

    log: Log
    blocks: BlockSet
    tombstones: Tombstones
    flushing: Lock

    def check_room(self, owner: Owner) -> None:
        """Raises LimitExceeded where too many of the owner's deletions wait for their space."""
        waiting = sum(each.owner == owner for each in self.tombstones.pending)
        if waiting >= _PENDING_MAX:
            raise LimitExceeded(
                f"{waiting} deletions wait for their space; clean_tombstones gives it back now", 60
            )

    def run(
        self, head: TenantHead, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Tombstone:
        """Deletes samples, both ends included. Raises OSError or StoreUnavailable: nothing is gone then."""
        with self.flushing, head.lock:
            segment = self.log.rotate()
            # A merge takes its number first and then looks what is deleted: it has a number below, or it sees this.
            with self.blocks.numbers_held() as block:
                tombstone = Tombstone(
                    head.tenant.region,
                    head.tenant.project,
                    tuple((str(each.op), each.name, each.value) for each in matchers),
                    start_ms,
                    end_ms,
                    block,
                    segment,
                )
                self.tombstones.add(tombstone)
            erase(head, tombstone)
            head.forget_empty()
            head.changes.note(start_ms)
        return tombstone


def erase(head: TenantHead, tombstone: Tombstone) -> None:
    """Takes what the tombstone means out of the head, whose lock is held. Series stay, samples or none."""
    start_ms, end_ms = tombstone.start_ms, tombstone.end_ms
    for group, slots in list(head.matching(tombstone.parsed(), start_ms, end_ms)):
        head.exchange(_without(group, slots, start_ms, end_ms))


def _without(group: Group, slots: Slots, start_ms: int, end_ms: int) -> Group:
    """The group with the range of some slots empty. Views of the old one stay as they are."""
    left = group.emptied()
    everything = group.view(np.arange(group.width), *EVER)
    for part in _tiles(everything):
        times, values = part.read(np.arange(group.width))
        values = values.copy()
        first, last = np.searchsorted(times, [start_ms, end_ms + 1]).tolist()
        values[slots, first:last] = ABSENT
        present = values.view(np.uint64) != ABSENT_BITS
        for at in np.flatnonzero(present.any(axis=0)).tolist():
            filled = np.flatnonzero(present[:, at])
            left.put(int(times[at]), filled, values[filled, at])
    return left


def _tiles(view: GroupView) -> Iterator[GroupView]:
    """The view, a few rows at a time, oldest first."""
    times = np.unique(view.times)
    for first in range(0, len(times), _ROWS):
        some = times[first : first + _ROWS]
        yield view.narrowed(int(some[0]), int(some[-1]))
