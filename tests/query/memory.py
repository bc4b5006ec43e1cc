"""A SeriesReader over a handful of series in memory, laid out in groups as a test wants them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from meterhall.model.labels import Labels, label_value
from meterhall.model.matcher import Matcher
from meterhall.model.samples import ABSENT, SeriesGroup, is_absent, is_stale
from meterhall.model.stack import STACK_CELLS_MAX, SeriesStack, stacked
from meterhall.ports.series import HeldSeries, MatcherSets


@dataclass(frozen=True)
class Series:
    """Samples (time_ms, value) of one series, times ascending."""

    labels: Labels
    samples: Sequence[tuple[int, float]]


class MonotonicClock:
    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return time.monotonic()


class MemorySelection:
    def __init__(self, labels: list[Labels], groups: list[SeriesGroup]) -> None:
        self.labels = labels
        self._groups = groups
        self.samples_max = sum(group.values.size for group in groups)

    def groups(self) -> Iterator[SeriesGroup]:
        return iter(self._groups)

    def stacks(
        self, *, newest: bool = False, cells_max: int = STACK_CELLS_MAX
    ) -> Iterator[SeriesStack]:
        return stacked(self._groups)


class MemoryReader:
    """`shared` puts all series into one group with a common clock; otherwise each is a group, and a few are at hand."""

    def __init__(self, series: Sequence[Series], *, shared: bool = False) -> None:
        self._series = series
        self._shared = shared

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> MemorySelection:
        found = [
            Series(one.labels, [s for s in one.samples if start_ms <= s[0] <= end_ms])
            for one in self._series
            if all(m.matches(label_value(one.labels, m.name)) for m in matchers)
        ]
        if self._shared:
            groups = [_group(list(range(len(found))), found)] if found else []
        else:
            groups = [_group([row], [one]) for row, one in enumerate(found)]
        return MemorySelection([one.labels for one in found], groups)

    def newest(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> None:
        """Never tells at once, so that the evaluator takes its long way."""
        return

    def at_hand(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[HeldSeries] | None:
        """The samples of a few series that have a group each."""
        selection = self.select(matchers, start_ms, end_ms)
        if self._shared or len(selection.labels) > series_max:
            return None
        return [
            (selection.labels[row], group.times, group.values[0])
            for row, group in enumerate(selection.groups())
            if len(group.times)
        ]

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        raise NotImplementedError

    def label_names(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        raise NotImplementedError

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        raise NotImplementedError


def _group(rows: list[int], series: list[Series]) -> SeriesGroup:
    times = sorted({t for one in series for t, _ in one.samples})
    place = {t: index for index, t in enumerate(times)}
    values = np.full((len(series), len(times)), ABSENT)
    for row, one in enumerate(series):
        for t, value in one.samples:
            values[row, place[t]] = value
    full = not (is_absent(values).any() or is_stale(values).any())
    return SeriesGroup(np.array(rows, np.int64), np.array(times, np.int64), values, full)
