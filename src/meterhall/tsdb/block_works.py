"""What is written into a block's file: a flush's samples from the head, or a merge's from other blocks.

Whoever has the open file does it: the service's own process, or the one that `scribe` runs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.ordering import runs_of
from meterhall.tsdb.block import Block
from meterhall.tsdb.block_format import DamagedError
from meterhall.tsdb.block_writer import BlockWriter, Span, in_directory_order
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.head_reading import HeadSource
from meterhall.tsdb.label_numbers import LabelNumbers
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.series_table import SeriesTable, edges
from meterhall.tsdb.tombstones import EVER, Erasures

# A tenant, its samples, and the labels of their series.
Part = tuple[Owner, StoredSelection, LabelNumbers]


@dataclass(frozen=True, slots=True)
class Share:
    """One tenant's part of a flush: group g has the series `labels[g]`, in the order of the slots of `views[g]`."""

    owner: Owner
    labels: Sequence[Sequence[Labels]]
    views: Sequence[GroupView]


def numbered(shares: Iterable[Share], span: Span) -> Iterator[Part]:
    """Shares, ready to be written."""
    for share in shares:
        labels = LabelNumbers.of(run for group in share.labels for run in runs_of(group))
        yield share.owner, unnamed(share.views, span), labels


def unnamed(views: Sequence[GroupView], span: Span) -> StoredSelection:
    """All slots of the views; the series are told by their places alone, and have no labels."""
    bounds = edges(np.array([len(view.slots) for view in views], np.int64))
    table = SeriesTable([()] * int(bounds[-1]), bounds)
    return StoredSelection([HeadSource(table, views)], span.start_ms, span.end_ms - 1)


def write_flush(writer: BlockWriter, parts: Iterable[Part]) -> int:
    """Writes tenants that come in directory order; returns how many samples that were."""
    for part in parts:
        writer.tenant(*part)
    return writer.finish()


def write_merge(writer: BlockWriter, blocks: Sequence[Block], erasures: Erasures) -> int:
    """Writes what the blocks hold and nothing hides; returns how many samples that are.

    Raises DamagedError where damage turned up. The blocks know of it then.
    """
    span = span_of(blocks)
    for tenant in _tenants(blocks):
        erasure = erasures.of(tenant)
        parts = [part for block in blocks if (part := block.tenant(tenant)) is not None]
        for before, after in pairwise(parts):
            after.labels.share(before.labels)
        sources = [
            part.living(each)
            for part in parts
            for each in erasure.living(part, part.every(), *EVER)
        ]
        if sources:
            selection = StoredSelection(sources, span.start_ms, span.end_ms - 1)
            writer.tenant(tenant, selection, LabelNumbers.of(runs_of(selection.labels)))
    samples = writer.finish()
    if any(block.damaged for block in blocks):
        raise DamagedError("found while merging")
    return samples


def _tenants(blocks: Sequence[Block]) -> list[Owner]:
    """All tenants of the blocks, in directory order."""
    return in_directory_order(list({entry.tenant for block in blocks for entry in block.entries()}))


def span_of(blocks: Sequence[Block]) -> Span:
    """What blocks cover together."""
    return Span(
        min(block.footer.span_start_ms for block in blocks),
        max(block.footer.span_end_ms for block in blocks),
    )
