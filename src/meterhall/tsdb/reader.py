"""One tenant's `SeriesReader`: matchers over the head and the blocks, and the union of both."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.model.ordering import in_order
from meterhall.ports.series import HeldSeries, MatcherSets, NewestSample
from meterhall.tsdb import head_at_hand
from meterhall.tsdb.at_hand import few_texts, joined
from meterhall.tsdb.cache import NotAtHand
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.history import History
from meterhall.tsdb.matching import Postings
from meterhall.tsdb.selection import StoredSelection
from meterhall.tsdb.stacking import Source

T = TypeVar("T")

# More series of a block are sooner read together than one by one.
_OF_BLOCKS_MAX = 8


@dataclass(frozen=True, slots=True)
class TenantReader:
    """Implements `ports.series.SeriesReader`.

    The head is always read before the blocks: a flush publishes a block before it trims the head, so that a
    sample may be seen twice (and is merged) but never missed.
    """

    head: TenantHead
    history: History

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> StoredSelection:
        """Series that pass all matchers and may have samples in the range."""
        start_ms, end_ms = _int64(start_ms), _int64(end_ms)
        sources = self._sources(matchers, start_ms, end_ms)
        return StoredSelection(sources, start_ms, end_ms, self.history.united)

    def newest(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[NewestSample] | None:
        """The newest samples where memory alone can tell, else None.

        Waits for no lock, reads no file and decodes nothing: it may be asked on the event loop.
        """
        start_ms, end_ms = _int64(start_ms), _int64(end_ms)
        if self.history.newest_ms() >= start_ms:
            series_max = min(series_max, _OF_BLOCKS_MAX)
        try:
            found = self._recent(
                lambda head: head_at_hand.newest(head, matchers, start_ms, end_ms, series_max)
            )
            if self.history.newest_ms() < start_ms:
                return found
            past = self.history.newest(matchers, start_ms, end_ms, series_max)
        except NotAtHand:
            return None
        return _newer(found, past, series_max)

    def at_hand(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[HeldSeries] | None:
        """All samples of a few series, likewise."""
        start_ms, end_ms = _int64(start_ms), _int64(end_ms)
        try:
            parts = self._recent(
                lambda head: head_at_hand.samples(head, matchers, start_ms, end_ms, series_max)
            )
            if self.history.newest_ms() >= start_ms:
                parts += self.history.at_hand(matchers, start_ms, end_ms, series_max)
            return joined(parts, series_max)
        except NotAtHand:
            return None

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        """Label sets of the union, sorted."""
        return in_order(self._found(sets, start_ms, end_ms))

    def label_names(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Sorted label names; of all series where `sets` is empty."""
        if sets:
            found = self._found(sets, start_ms, end_ms)
            return in_order({name for labels in found for name, _ in labels})
        return in_order(self._union(start_ms, end_ms, lambda index: index.names()))

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Sorted values of one label; of all series where `sets` is empty."""
        if sets:
            found: set[str] = set()
            for matchers in sets:
                with self.head.lock:
                    found.update(self.head.values(name, matchers, *_range(start_ms, end_ms)))
                found.update(*self.history.values(name, matchers, *_range(start_ms, end_ms)))
            return in_order(found)
        return in_order(self._union(start_ms, end_ms, lambda index: index.values(name)))

    def label_names_at_hand(self, start_ms: int, end_ms: int) -> list[str] | None:
        """The same of all series where memory alone can tell, as `newest` does."""
        return self._union_at_hand(start_ms, end_ms, lambda index: index.names())

    def label_values_at_hand(self, name: str, start_ms: int, end_ms: int) -> list[str] | None:
        """Likewise."""
        return self._union_at_hand(start_ms, end_ms, lambda index: index.values(name))

    def _found(self, sets: MatcherSets, start_ms: int, end_ms: int) -> Collection[Labels]:
        """Each label set once."""
        found = [self.select(matchers, start_ms, end_ms).labels for matchers in sets]
        return found[0] if len(found) == 1 else set[Labels]().union(*found)

    def _sources(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Iterable[Source]:
        with self.head.lock:
            recent = self.head.select(matchers, start_ms, end_ms)
        yield recent
        yield from self.history.select(matchers, start_ms, end_ms)

    def _union(
        self, start_ms: int, end_ms: int, texts: Callable[[Postings], Iterable[str]]
    ) -> set[str]:
        """Texts of every index that may hold samples of the range."""
        start_ms, end_ms = _int64(start_ms), _int64(end_ms)
        found: set[str] = set()
        with self.head.lock:
            if self.head.overlaps(start_ms, end_ms):
                found.update(texts(self.head.index))
        for index in self.history.indexes(start_ms, end_ms):
            found.update(texts(index))
        return found

    def _recent(self, ask: Callable[[TenantHead], T]) -> T:
        """What the head tells. Raises NotAtHand where another thread has its lock."""
        head = self.head
        if not head.lock.acquire(blocking=False):
            raise NotAtHand
        try:
            return ask(head)
        finally:
            head.lock.release()

    def _union_at_hand(
        self, start_ms: int, end_ms: int, texts: Callable[[Postings], Collection[str]]
    ) -> list[str] | None:
        """The same, sorted; None where they are many or not all in memory."""
        start_ms, end_ms = _int64(start_ms), _int64(end_ms)
        try:
            found = self._recent(
                lambda head: set(
                    few_texts(texts(head.index))
                    if head_at_hand.overlaps(head, start_ms, end_ms)
                    else ()
                )
            )
            for index in self.history.indexes_at_hand(start_ms, end_ms):
                found.update(few_texts(texts(index)))
            return sorted(few_texts(found))
        except NotAtHand:
            return None


def _newer(
    recent: list[NewestSample], past: list[NewestSample], series_max: int
) -> list[NewestSample] | None:
    """Of each series the newer sample; None where there are too many series."""
    newest: dict[Labels, NewestSample] = {}
    for sample in (*past, *recent):
        known = newest.get(sample[0])
        if known is None or known[1] <= sample[1]:
            newest[sample[0]] = sample
    return list(newest.values()) if len(newest) <= series_max else None


def _range(start_ms: int, end_ms: int) -> tuple[int, int]:
    return _int64(start_ms), _int64(end_ms)


def _int64(time_ms: int) -> int:
    """The nearest time that an array can be compared with; "all time" may be given as any number."""
    return max(-(2**62), min(time_ms, 2**62))
