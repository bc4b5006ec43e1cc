"""What a block tells at once of a few series: from pages that are decoded already. Every function raises NotAtHand."""

from collections.abc import Sequence

from meterhall.model.labels import Labels
from meterhall.model.matcher import Matcher
from meterhall.ports.series import NewestSample
from meterhall.tsdb.at_hand import Samples, between, present
from meterhall.tsdb.block import Place, TenantBlock
from meterhall.tsdb.cache import NotAtHand
from meterhall.tsdb.matching import match_few
from meterhall.tsdb.newest import newest_present

# Of so many selectors a block remembers where their few series lie.
_PLACES_MAX = 256


def newest(
    here: TenantBlock, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
) -> list[NewestSample]:
    """The newest sample in the range of each series that passes."""
    found: list[NewestSample] = []
    for place in _few(here, tuple(matchers), series_max):
        times = place.times
        last = int(times.searchsorted(end_ms, "right"))
        if last and times[last - 1] >= start_ms:
            values = place.values(here.block.page_at_hand(place.page))
            sample = newest_present(times, values, start_ms, last)
            if sample is not None:
                found.append((place.labels, *sample))
    return found


def samples(
    here: TenantBlock, matchers: Sequence[Matcher], start_ms: int, end_ms: int, series_max: int
) -> list[tuple[Labels, Samples]]:
    """All samples in the range of each series that passes."""
    found: list[tuple[Labels, Samples]] = []
    for place in _few(here, tuple(matchers), series_max):
        times = place.times
        if times[-1] >= start_ms and times[0] <= end_ms:
            page = here.block.page_at_hand(place.page)
            part = between(times, place.values(page), start_ms, end_ms)
            found.append((place.labels, part if page.full else present(part)))
    return found


def _few(here: TenantBlock, matchers: tuple[Matcher, ...], series_max: int) -> Sequence[Place]:
    """Where the series lie that pass, if no postings must be unpacked to tell."""
    places = here.places.get(matchers)
    if places is None:
        places = [here.place(number) for number in _passing(here, matchers, series_max)]
        if len(here.places) >= _PLACES_MAX:
            here.places.clear()
        here.places[matchers] = places
    if len(places) > series_max:
        raise NotAtHand
    return places


def _passing(here: TenantBlock, matchers: Sequence[Matcher], series_max: int) -> Sequence[int]:
    if any(here.must_unpack(matcher.name, matcher.value) for matcher in matchers):
        raise NotAtHand
    numbers = match_few(here, matchers, series_max)
    if numbers is None:
        raise NotAtHand
    return numbers
