"""What a range leaves of many clocks at once is what it leaves of each."""

import numpy as np
import pytest

from meterhall.tsdb.block_reading import Clocks
from meterhall.tsdb.series_table import edges


def even(rng):
    """Ticks with some jitter, of which some are missed."""
    step = int(rng.integers(10, 15_000))
    ticks = rng.integers(0, 5_000) + step * np.arange(rng.integers(1, 200))
    ticks += rng.integers(0, step // 2, len(ticks))
    kept = rng.random(len(ticks)) < rng.choice([1.0, 0.99, 0.5])
    return ticks[kept] if kept.any() else ticks


def uneven(rng):
    """Most of it in a short while."""
    spread = 10.0 ** (6 * rng.random(rng.integers(1, 200)))
    return np.unique(spread.astype(np.int64))


@pytest.mark.parametrize("seed", range(40))
def test_a_cut_of_clocks_is_of_each(seed):
    rng = np.random.default_rng(seed)
    clocks = [rng.choice([even, uneven])(rng) for _ in range(rng.integers(1, 40))]
    together = Clocks(np.concatenate(clocks), edges(np.array([len(each) for each in clocks])))
    for _ in range(20):
        # On a tick, or beside it, is where it matters.
        start_ms, end_ms = sorted(rng.choice(together.times, 2) + rng.integers(-1, 2, 2))
        picked = rng.permutation(len(clocks))[: rng.integers(1, len(clocks) + 1)]
        cut = together.cut(picked, start_ms, end_ms)
        for at, number in enumerate(picked.tolist()):
            inside = np.flatnonzero((clocks[number] >= start_ms) & (clocks[number] <= end_ms))
            assert cut.counts[at] == len(inside)
            assert not len(inside) or cut.begin[at] == inside[0]
            assert cut.lengths[at] == len(clocks[number])
