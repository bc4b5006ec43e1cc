"""Merging blocks: many small ones, and those that late samples have made, into one a day.

All blocks of a span of 2 hours become one once the log's mark has passed the span, then those of 8 hours,
then those of a day. A day that is one large block and a few late crumbs is left alone until the crumbs are
worth rewriting it; many crumbs become one, so that back-fill leaves few files in a day that is not over, too.

Blocks with damage are never merged: what can still be read of them stays where it is, until retention drops
it. The others of their day are merged as if they were not there.
"""

from collections.abc import Sequence

import structlog

from meterhall.tsdb.aside import Aside
from meterhall.tsdb.block import Block
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.tombstones import Tombstones
from meterhall.tsdb.workshop import Workshop

_log = structlog.get_logger()

# Crumbs are worth a merge from this many on, or from this share of the largest block's bytes.
_CRUMBS = 4
_CRUMB_SHARE = 2


def plan(blocks: Sequence[Block], settings: StoreSettings, mark_ms: int) -> list[Block]:
    """The blocks to merge next, of the oldest span that is due; empty where none is."""
    sound = [block for block in blocks if not block.damaged]
    for span_ms in settings.merge_spans_ms():
        for start_ms, inside in _by_span(sound, span_ms):
            if start_ms + span_ms <= mark_ms and (due := _due(inside)):
                return due
    for _, inside in _by_span(sound, settings.block_span_ms):
        if len(inside) > _CRUMBS:
            return _due(inside)
    return []


def merge_blocks(
    blocks: Sequence[Block],
    into: BlockSet,
    tombstones: Tombstones,
    disk: Disk,
    workshop: Workshop,
) -> int | None:
    """Replaces blocks by one without what is hidden, or by none where that is all; its number. Raises OSError.

    None, and nothing replaced, where damage turned up; `plan` will leave out those blocks. The number is given
    out first: a deletion that comes while the block is written means it too.
    """
    number, path = into.new_path()
    try:
        with Aside(path, disk) as file:
            samples = workshop.merge(file.handle, blocks, tombstones.erasures)
            if samples:
                file.keep()
        into.publish([number] if samples else [], removed=set(blocks))
    except DamagedError:
        into.discard([number])
        return None
    except OSError:
        into.discard([number])
        raise
    _log.info("merge.done", blocks=len(blocks), into=path.name)
    return number


def _by_span(blocks: Sequence[Block], span_ms: int) -> list[tuple[int, list[Block]]]:
    """Begin of each span, oldest first, and the blocks that lie in it."""
    spans: dict[int, list[Block]] = {}
    for block in blocks:
        start_ms = block.footer.span_start_ms // span_ms * span_ms
        if block.footer.span_end_ms <= start_ms + span_ms:
            spans.setdefault(start_ms, []).append(block)
    return sorted(spans.items())


def _due(blocks: Sequence[Block]) -> list[Block]:
    """All blocks of a span where the crumbs are worth it, the crumbs where they are many, or none."""
    *crumbs, largest = sorted(blocks, key=lambda block: block.bytes)
    if crumbs and sum(block.bytes for block in crumbs) * _CRUMB_SHARE >= largest.bytes:
        return [*crumbs, largest]
    return crumbs if len(crumbs) >= _CRUMBS else []
