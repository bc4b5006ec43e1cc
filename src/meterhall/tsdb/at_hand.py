"""Samples of a few series as they lie in memory: views of it, put together where one follows another.

What takes more than some microseconds raises NotAtHand: it may be asked for on the event loop.
"""

from collections.abc import Collection, Iterable
from itertools import pairwise

import numpy as np

from meterhall.model.labels import Labels
from meterhall.model.samples import TimestampArray, ValueArray, is_absent
from meterhall.ports.series import HeldSeries
from meterhall.tsdb.cache import NotAtHand

Samples = tuple[TimestampArray, ValueArray]

# Each takes some microseconds, and some tens of them where a sealed piece must be unpacked.
_PARTS_MAX = 24
# A day at an interval of 15 s is less than half of it.
_SAMPLES_MAX = 16_384
# Label names, or values of a label.
_TEXTS_MAX = 1024


def between(times: TimestampArray, values: ValueArray, start_ms: int, end_ms: int) -> Samples:
    """What a range leaves of one series, both ends included. Views."""
    first, last = 0, len(times)
    if last and times[0] < start_ms:
        first = int(times.searchsorted(start_ms, "left"))
    if last and times[-1] > end_ms:
        last = int(times.searchsorted(end_ms, "right"))
    return times[first:last], values[first:last]


def gathered(parts: Iterable[tuple[Labels, Samples]]) -> list[tuple[Labels, Samples]]:
    """The parts. Raises NotAtHand before there are many."""
    found: list[tuple[Labels, Samples]] = []
    for part in parts:
        if len(found) == _PARTS_MAX:
            raise NotAtHand
        found.append(part)
    return found


def joined(parts: Iterable[tuple[Labels, Samples]], series_max: int) -> list[HeldSeries]:
    """Each series with all of its parts, which come in any order. Series without a sample are left out.

    Raises NotAtHand where parts overlap in time, and where series or samples are too many.
    """
    found: dict[Labels, list[Samples]] = {}
    room = _SAMPLES_MAX
    for labels, samples in parts:
        room -= len(samples[0])
        if len(samples[0]):
            found.setdefault(labels, []).append(samples)
    if room < 0 or len(found) > series_max:
        raise NotAtHand
    return [(labels, *_one_after_another(pieces)) for labels, pieces in found.items()]


def few_texts(texts: Collection[str]) -> Collection[str]:
    """The very same. Raises NotAtHand where putting them in order would take long."""
    if len(texts) > _TEXTS_MAX:
        raise NotAtHand
    return texts


def present(samples: Samples) -> Samples:
    """The same without absent cells."""
    times, values = samples
    # ABSENT is a NaN, and hardly any value is.
    if values.size and np.isnan(values).any():
        here = ~is_absent(np.ascontiguousarray(values))
        return times[here], values[here]
    return samples


def _one_after_another(pieces: list[Samples]) -> Samples:
    if len(pieces) == 1:
        return pieces[0]
    pieces.sort(key=lambda piece: int(piece[0][0]))
    if any(before[0][-1] >= after[0][0] for before, after in pairwise(pieces)):
        raise NotAtHand
    times, values = zip(*pieces, strict=True)
    return np.concatenate(times), np.concatenate(values)
