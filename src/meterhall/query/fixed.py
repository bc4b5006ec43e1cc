"""A SeriesReader over series that are given whole, in memory: for scripts and tests.

Series with equal clocks share one group, as a store would lay out what one target sends.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from meterhall.model.labels import Labels, label_value
from meterhall.model.matcher import Matcher
from meterhall.model.samples import SeriesGroup, TimestampArray, ValueArray, is_stale
from meterhall.model.stack import STACK_CELLS_MAX, SeriesStack, stacked
from meterhall.ports.series import HeldSeries, MatcherSets, NewestSample

Samples = tuple[TimestampArray, ValueArray]


class FixedSelection:
    """The series of one select, cut to its range."""

    def __init__(self, found: Sequence[tuple[Labels, Samples]]) -> None:
        self.labels: Sequence[Labels] = [labels for labels, _ in found]
        self.samples_max = sum(len(times) for _, (times, _) in found)
        self.samples = [samples for _, samples in found]

    def groups(self) -> Iterator[SeriesGroup]:
        """One group for each clock."""
        clocks: dict[bytes, list[int]] = {}
        for row, (times, _) in enumerate(self.samples):
            clocks.setdefault(times.tobytes(), []).append(row)
        for rows in clocks.values():
            times = self.samples[rows[0]][0]
            values = np.array([self.samples[row][1] for row in rows], np.float64)
            full = not is_stale(values).any()
            yield SeriesGroup(np.array(rows, np.int64), times, values, bool(full))

    def stacks(
        self, *, newest: bool = False, cells_max: int = STACK_CELLS_MAX
    ) -> Iterator[SeriesStack]:
        """The same, many clocks at a time."""
        return stacked(self.groups())


class FixedReader:
    """Reads `series`: for each label set its times (ascending) and its values."""

    def __init__(self, series: Mapping[Labels, Samples]) -> None:
        self._series = series

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> FixedSelection:
        """Series that pass all matchers and have samples in the range."""
        found = []
        for labels, (times, values) in self._series.items():
            if not _passes(labels, matchers):
                continue
            low = int(np.searchsorted(times, start_ms, "left"))
            high = int(np.searchsorted(times, end_ms, "right"))
            if low < high:
                found.append((labels, (times[low:high], values[low:high])))
        return FixedSelection(found)

    def newest(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[NewestSample] | None:
        """The newest samples, where no more than `series_max` series have any in the range."""
        selection = self.select(matchers, start_ms, end_ms)
        if len(selection.labels) > series_max:
            return None
        return [
            (labels, int(times[-1]), float(values[-1]))
            for labels, (times, values) in zip(selection.labels, selection.samples, strict=True)
        ]

    def at_hand(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
    ) -> list[HeldSeries] | None:
        """The samples, where no more than `series_max` series have any in the range."""
        selection = self.select(matchers, start_ms, end_ms)
        if len(selection.labels) > series_max:
            return None
        return [
            (labels, *samples)
            for labels, samples in zip(selection.labels, selection.samples, strict=True)
        ]

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        """Label sets of the union, sorted; of all series where `sets` is empty."""
        every = sets or [()]
        found = {
            labels
            for matchers in every
            for labels in self.select(matchers, start_ms, end_ms).labels
        }
        return sorted(found)

    def label_names(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Sorted names of the labels of those series."""
        found = self.series(sets, start_ms, end_ms)
        return sorted({name for labels in found for name, _ in labels})

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Sorted values that the label has in those series."""
        found = self.series(sets, start_ms, end_ms)
        return sorted({label_value(labels, name) for labels in found} - {""})

    def label_names_at_hand(self, start_ms: int, end_ms: int) -> list[str] | None:
        """All of them always are."""
        return self.label_names((), start_ms, end_ms)

    def label_values_at_hand(self, name: str, start_ms: int, end_ms: int) -> list[str] | None:
        """Likewise."""
        return self.label_values(name, (), start_ms, end_ms)


def _passes(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    return all(matcher.matches(label_value(labels, matcher.name)) for matcher in matchers)
