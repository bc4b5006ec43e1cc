"""Matchers over postings: which series of one index a selector means.

Works on anything that offers the label names, their values and a bitmap of series for each pair (the
head's index, a block's). An absent label has the empty value: a matcher that accepts the empty string takes
the series without the label too, so it is answered by removing those that carry a value it refuses.

Patterns that are literals, alternations of literals, or a literal followed by `.*` or `.+` never meet a
regex engine; the rest goes through one `re2.Set`, anchored at both ends.
"""

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import re2
from numpy.typing import NDArray
from pyroaring import BitMap

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher, MatchOp

_META = frozenset("\\.+*?()|[]{}^$")
_PROGRAM_BYTES_MAX = 8 << 20
# Of all tenants together; each may take that.
_SETS_KEPT = 16
# An intersection with a bitmap of no more than this takes some microseconds, however large the others are.
_CANDIDATES_MAX = 4096


class Postings(Protocol):
    """What matching asks of an index. Bitmaps must not be changed by the caller."""

    def every(self) -> BitMap:
        """All series."""
        ...

    def names(self) -> Collection[str]:
        """Label names, in no order."""
        ...

    def values(self, name: str) -> Collection[str]:
        """Values of a label, in no order; none for an unknown name."""
        ...

    def series(self, name: str, value: str) -> BitMap | None:
        """Series that carry the pair."""
        ...


def match(index: Postings, matchers: Sequence[Matcher]) -> BitMap:
    """Series that pass all matchers; a new bitmap. No matchers mean all series."""
    result: BitMap | None = None
    removals: list[BitMap] = []
    for matcher in matchers:
        if matcher.matches(""):
            removals.extend(_refused(index, matcher))
            continue
        found = _union(_accepted(index, matcher))
        result = found if result is None else result & found
        if not result:
            return BitMap()
    if result is None:
        result = index.every().copy()
    for removal in removals:
        result -= removal
    return result


def match_few(
    index: Postings, matchers: Sequence[Matcher], series_max: int
) -> Sequence[int] | None:
    """Series that pass all matchers, or None where that takes more than a few lookups.

    Never touches a pattern, and intersects bitmaps only where one of them is small.
    """
    bitmaps: list[BitMap] = []
    for matcher in matchers:
        if matcher.op is not MatchOp.EQUAL or not matcher.value:
            return None
        bitmap = index.series(matcher.name, matcher.value)
        if bitmap is None:
            return ()
        bitmaps.append(bitmap)
    if not bitmaps:
        return None
    if len(bitmaps) == 1:
        return list(bitmaps[0]) if len(bitmaps[0]) <= series_max else None
    bitmaps.sort(key=len)
    if len(bitmaps[0]) > _CANDIDATES_MAX:
        return None
    found = BitMap.intersection(*bitmaps)
    return list(found) if len(found) <= series_max else None


def bitmap(numbers: NDArray[np.integer[Any]]) -> BitMap:
    """A bitmap of series numbers. From an array of NumPy's they would be taken one by one, at ten times the cost."""
    return BitMap(array("I", numbers.astype(np.uint32).tobytes()))


def accepts(matcher: Matcher) -> Callable[[str], bool]:
    """A test for label values, as quick as the pattern allows."""
    if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
        return matcher.matches
    wanted = matcher.op is MatchOp.REGEX
    test = _pattern_test(matcher.value)
    return test if wanted else lambda value: not test(value)


def literals(pattern: str) -> list[str] | None:
    """The strings that a pattern means where it is a literal or an alternation of literals."""
    parts = pattern.split("|")
    return None if any(_META.intersection(part) for part in parts) else parts


def _accepted(index: Postings, matcher: Matcher) -> list[BitMap]:
    """Bitmaps of the values that pass. The matcher refuses the empty value."""
    wanted: Iterable[str]
    choices = literals(matcher.value) if matcher.op is MatchOp.REGEX else None
    if matcher.op is MatchOp.EQUAL:
        wanted = (matcher.value,)
    elif choices is not None:
        wanted = set(choices)
    else:
        test = accepts(matcher)
        wanted = [value for value in index.values(matcher.name) if test(value)]
    found = (index.series(matcher.name, value) for value in wanted)
    return [bitmap for bitmap in found if bitmap is not None]


def _refused(index: Postings, matcher: Matcher) -> list[BitMap]:
    """Bitmaps of the values that do not pass. The matcher accepts the empty value."""
    choices = literals(matcher.value) if matcher.op is MatchOp.NOT_REGEX else None
    unwanted: Iterable[str]
    if matcher.op is MatchOp.NOT_EQUAL:
        unwanted = (matcher.value,)
    elif choices is not None:
        unwanted = set(choices)
    elif matcher.op is MatchOp.REGEX and matcher.value in (".*", "(.*)"):
        unwanted = ()
    else:
        test = accepts(matcher)
        unwanted = [value for value in index.values(matcher.name) if not test(value)]
    found = (index.series(matcher.name, value) for value in unwanted)
    return [bitmap for bitmap in found if bitmap is not None]


def _union(bitmaps: Sequence[BitMap]) -> BitMap:
    if len(bitmaps) == 1:
        return bitmaps[0].copy()
    return BitMap.union(*bitmaps) if bitmaps else BitMap()


def _pattern_test(pattern: str) -> Callable[[str], bool]:
    """Whether a whole value matches. The pattern is known to be RE2: Matcher has compiled it."""
    choices = literals(pattern)
    if choices is not None:
        return frozenset(choices).__contains__
    head, tail = pattern[:-2], pattern[-2:]
    if tail in (".*", ".+") and not _META.intersection(head):
        shortest = len(head) + (tail == ".+")
        return lambda value: len(value) >= shortest and value.startswith(head)
    return _set_test(pattern)


@lru_cache(_SETS_KEPT)
def _set_test(pattern: str) -> Callable[[str], bool]:
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _PROGRAM_BYTES_MAX
    compiled = re2.Set.FullMatchSet(options)
    compiled.Add(pattern)
    compiled.Compile()
    return lambda value: bool(compiled.Match(value))


# Testing a posting against a bitmap costs about a third of looking through a label set.
_POSTINGS_WORTH = 3


def values_among(
    index: Postings, name: str, numbers: BitMap, labels: Callable[[Iterable[int]], Iterable[Labels]]
) -> Collection[str]:
    """Values that a label has in some series; asks the postings, or the label sets where these are few."""
    values = index.values(name)
    if len(values) > _POSTINGS_WORTH * len(numbers):
        return {value for pairs in labels(numbers) for key, value in pairs if key == name}
    bitmaps = ((value, index.series(name, value)) for value in values)
    return {value for value, bitmap in bitmaps if bitmap and bitmap.intersect(numbers)}


def pair_counts(index: Postings) -> Mapping[tuple[str, str], int]:
    """How many series carry each pair, for statistics."""
    return {
        (name, value): len(index.series(name, value) or ())
        for name in index.names()
        for value in index.values(name)
    }
