"""Moving samples from the head into blocks, so that the log can be cut.

    1. the log turns to a new segment N; what was appended before is in segments below N
    2. every group freezes what lies before T and shows it; what comes among it later goes to side buffers
    3. blocks are written: one for each span that the samples touch, all tenants in each
    4. the manifest lists them, with the mark (N, T): "below N, before T: in blocks"
    5. groups drop what was written, the head forgets series that have gone quiet

A checkpoint follows (`checkpoint`), and with it the log is cut. A crash before 4 leaves the log as the truth,
a crash after it the blocks; a sample that is in both is the same sample, and reading keeps it once. An
error before 4 gives everything back.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import structlog

from meterhall.model.labels import Labels
from meterhall.tsdb.aside import Aside
from meterhall.tsdb.block_set import BlockSet
from meterhall.tsdb.block_works import Share
from meterhall.tsdb.block_writer import Span, in_directory_order
from meterhall.tsdb.disk import Disk
from meterhall.tsdb.group import Group
from meterhall.tsdb.group_view import GroupView
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.manifest import LogMark
from meterhall.tsdb.owner import Owner
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.wal import NO_TIME, Log
from meterhall.tsdb.workshop import Workshop

_log = structlog.get_logger()

# A flush for the sake of late samples leaves this part of a span in the head, 7.5 minutes of 30.
_CLOSELY = 4


@dataclass(frozen=True, slots=True)
class Frozen:
    """What one group showed, labels and all."""

    head: TenantHead
    group: Group
    labels: Sequence[Labels]
    view: GroupView

    def narrowed(self, span: Span) -> "Frozen":
        """The same series over a part of the time."""
        view = self.view.narrowed(span.start_ms, span.end_ms - 1)
        return Frozen(self.head, self.group, self.labels, view)


class Flush:
    """One flush of everything before `end_ms`. Runs on the background thread."""

    def __init__(
        self,
        log: Log,
        blocks: BlockSet,
        settings: StoreSettings,
        disk: Disk,
        workshop: Workshop,
    ) -> None:
        self._log = log
        self._blocks = blocks
        self._settings = settings
        self._disk = disk
        self._workshop = workshop
        # A deletion must not come between the samples that are shown and the blocks that get them.
        self.lock = Lock()

    def run(self, heads: Callable[[], Sequence[TenantHead]], end_ms: int, next_group: int) -> int:
        """Returns how many samples were written. Raises OSError or StoreUnavailable.

        `next_group` is above the number of every group that there is. A flush never ends before an
        earlier one did: the mark would claim late samples between the two.
        """
        with self.lock:
            return self._run(heads, max(end_ms, self._blocks.mark.time_ms), next_group)

    def _run(self, heads: Callable[[], Sequence[TenantHead]], end_ms: int, next_group: int) -> int:
        segment = self._log.rotate()
        frozen: list[Frozen] = []
        written: list[int] = []
        try:
            for head in heads():
                frozen += _freeze(head, end_ms)
            samples = sum(self._write(frozen, span, written) for span in self._spans(frozen))
            mark = LogMark(segment, end_ms)
            self._blocks.publish(written, mark=mark, next_group=next_group)
        except BaseException:
            self._blocks.discard(written)
            for part in frozen:
                with part.head.lock:
                    part.group.abort_flush()
            raise
        for part in frozen:
            with part.head.lock:
                part.group.end_flush()
        for head in heads():
            with head.lock:
                head.drop_idle(end_ms)
        _log.info("flush.done", blocks=len(written), samples=samples, before_ms=end_ms)
        return samples

    def _write(self, frozen: Sequence[Frozen], span: Span, written: list[int]) -> int:
        """Writes the span's block, if anything lies in it; returns its samples."""
        sources: dict[Owner, list[Frozen]] = {}
        for part in frozen:
            here = part.narrowed(span)
            if here.view.times_max:
                sources.setdefault(part.head.tenant, []).append(here)
        number, path = self._blocks.new_path()
        shares = [
            Share(
                tenant,
                [part.labels for part in sources[tenant]],
                [part.view for part in sources[tenant]],
            )
            for tenant in in_directory_order(list(sources))
        ]
        with Aside(path, self._disk) as file:
            samples = self._workshop.flush(file.handle, span, shares)
            if samples:
                file.keep()
                written.append(number)
        return samples

    def _spans(self, frozen: Iterable[Frozen]) -> list[Span]:
        """Spans that samples touch: short near the head, merged ones for whole days long past."""
        short, merged = self._settings.block_span_ms, self._settings.merged_span_ms
        times = [np.unique(part.view.times // short) for part in frozen]
        starts = np.unique(np.concatenate(times)) * short if times else np.empty(0, np.int64)
        if len(starts) == 0:
            return []
        recent = int(starts[-1]) // merged * merged
        spans = {
            Span(start // merged * merged, start // merged * merged + merged)
            if start < recent
            else Span(start, start + short)
            for start in starts.tolist()
        }
        return sorted(spans, key=lambda span: span.start_ms)


def flush_before(
    heads: Sequence[TenantHead], settings: StoreSettings, *, closely: bool = False
) -> int:
    """Where a flush now would cut: at the end of a span, with the newest half span left in the head.

    With `closely`, near the newest sample, so that late ones cannot pile up in between. NO_TIME without
    samples.
    """
    newest = newest_of(heads)
    if newest == NO_TIME:
        return NO_TIME
    span = settings.block_span_ms
    if closely:
        return newest - span // _CLOSELY
    return (newest - span // 2) // span * span


def newest_of(heads: Sequence[TenantHead]) -> int:
    """The time of the newest sample in memory; NO_TIME where there is none."""
    return max(
        (group.time_max for head in heads for group in list(head.groups.values())),
        default=NO_TIME,
    )


def _freeze(head: TenantHead, end_ms: int) -> list[Frozen]:
    parts = []
    with head.lock:
        for group in head.groups.values():
            view = group.begin_flush(end_ms)
            if view is not None:
                labels = head.index.labels(group.series.tolist())
                parts.append(Frozen(head, group, labels, view))
    return parts
