"""What the head tells at once of a few series. Every function wants the head's lock held and raises NotAtHand."""

from collections.abc import Sequence

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.ports.series import NewestSample
from meterhall.tsdb.at_hand import Samples, gathered
from meterhall.tsdb.cache import NotAtHand
from meterhall.tsdb.head import TenantHead

# So many groups are looked at on the event loop.
_GROUPS_MAX = 1024


def newest(
    head: TenantHead, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
) -> list[NewestSample]:
    """The newest sample in the range of each series that passes."""
    found: list[NewestSample] = []
    for labels, group, column in head.few(matchers, series_max):
        sample = group.newest(column, start_ms, end_ms)
        if sample is not None:
            found.append((labels, *sample))
    return found


def samples(
    head: TenantHead, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
) -> list[tuple[Labels, Samples]]:
    """All samples in the range of each series that passes, in parts."""
    return gathered(
        (labels, part)
        for labels, group, column in head.few(matchers, series_max)
        for part in group.at_hand(column, start_ms, end_ms)
    )


def overlaps(head: TenantHead, start_ms: int, end_ms: int) -> bool:
    """Whether any sample may lie in the range."""
    if len(head.groups) > _GROUPS_MAX:
        raise NotAtHand
    return head.overlaps(start_ms, end_ms)
