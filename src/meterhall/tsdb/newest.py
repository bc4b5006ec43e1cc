"""The last step to a series' newest sample: back from the end of a range past a few absent cells."""

import numpy as np

from meterhall.model.samples import ABSENT_BITS, TimestampArray, ValueArray
from meterhall.tsdb.cache import NotAtHand

# So many cells are looked at. It is done on the event loop.
_CELLS_MAX = 8


def newest_present(
    times: TimestampArray, values: ValueArray, start_ms: int, count: int
) -> tuple[int, float] | None:
    """Time and value of the last cell before `count` that is not absent, back to `start_ms`.

    None where there is none. Raises NotAtHand where more than a few cells are absent.
    """
    for at in range(count - 1, max(count - _CELLS_MAX, 0) - 1, -1):
        time_ms: int = times.item(at)
        if time_ms < start_ms:
            return None
        value: float = values.item(at)
        # ABSENT is a NaN, and hardly any value is: so its bits are seldom looked at.
        if value == value or int(values[at].view(np.uint64)) != ABSENT_BITS:
            return time_ms, value
    if count > _CELLS_MAX:
        raise NotAtHand
    return None
