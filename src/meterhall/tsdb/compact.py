"""Merging blocks: many small ones, and those that late samples have made, into one a day.

All blocks of a merged span (a day) become one once the log's mark has passed the span. A day that is one
large block and a few late crumbs is left alone until the crumbs are worth rewriting it. Blocks with
damage are never merged: what can still be read of them stays where it is.
"""

from collections.abc import Callable, Sequence

import structlog

from meterhall.tsdb.block import Block
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.block_writer import BlockWriter, Span, in_directory_order
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.tombstones import EVER, Tombstones

_log = structlog.get_logger()

# Crumbs are worth a rewrite from this many on, or from this share of the day's bytes.
_CRUMBS = 4
_CRUMB_SHARE = 8


def plan(blocks: Sequence[Block], settings: StoreSettings, mark_ms: int) -> list[Block]:
    """The blocks to merge next, of the oldest span that is due; empty where none is."""
    days: dict[int, list[Block]] = {}
    for block in blocks:
        day = block.footer.span_start_ms // settings.merged_span_ms
        inside = block.footer.span_end_ms <= (day + 1) * settings.merged_span_ms
        if inside and not block.damaged and (day + 1) * settings.merged_span_ms <= mark_ms:
            days.setdefault(day, []).append(block)
    for day in sorted(days):
        if _is_due(days[day]):
            return days[day]
    return []


def merge_blocks(
    blocks: Sequence[Block],
    into: BlockSet,
    tombstones: Tombstones,
    disk: Disk,
    check: Callable[[], None],
) -> int | None:
    """Replaces blocks by one, without what is hidden; its number, or None where damage turned up.

    Raises OSError. The number is given out first: a deletion that comes while it is written means this
    block too.
    """
    span = Span(
        min(block.footer.span_start_ms for block in blocks),
        max(block.footer.span_end_ms for block in blocks),
    )
    number, path = into.new_path()
    with BlockWriter(path, span, disk, check) as writer:
        for tenant in _tenants(blocks):
            erasure = tombstones.of(tenant)
            parts = [part for block in blocks if (part := block.tenant(tenant)) is not None]
            sources = [
                part.living_parts(each)
                for part in parts
                for each in erasure.living(part, part.every(), *EVER)
            ]
            writer.tenant(tenant, StoredSelection(sources, span.start_ms, span.end_ms - 1))
        made = writer.finish()
    if any(block.damaged for block in blocks):
        into.discard([number])
        return None
    try:
        into.publish([number] if made else [], removed=set(blocks))
    except OSError:
        into.discard([number])
        raise
    _log.info("merge.done", blocks=len(blocks), into=path.name)
    return number


def _is_due(blocks: Sequence[Block]) -> bool:
    largest = max(block.bytes for block in blocks)
    crumbs = sum(block.bytes for block in blocks) - largest
    many = len(blocks) > _CRUMBS
    return len(blocks) > 1 and (many or crumbs * _CRUMB_SHARE >= largest)


def _tenants(blocks: Sequence[Block]) -> list[Owner]:
    """All tenants of the blocks, in directory order."""
    return in_directory_order(list({entry.tenant for block in blocks for entry in block.entries()}))
