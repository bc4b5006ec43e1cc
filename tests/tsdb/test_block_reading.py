"""What a range leaves of many clocks at once is what it leaves of each."""

import numpy as np
import pytest
from tests.query.ways import ARRAYS, MACHINE, evaluated_by

from meterhall.tsdb import block_reading
from meterhall.tsdb.block_reading import BlockReading, Clocks, Page
from meterhall.tsdb.series_table import edges
from meterhall.tsdb.stacking import Picks


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


class HeldPages:
    """Pages of a block, the damaged ones None."""

    def __init__(self, pages):
        self.pages = pages

    def page(self, number):
        return self.pages[number]


def written(way, seed):
    """What a reading of random series writes into matrices with room around it."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 400, rng.integers(1, 20))
    alike = rng.random() < 0.5
    if alike:
        lengths[:] = lengths[0]
    clocks = [np.sort(rng.integers(0, 10_000, length)) for length in lengths]
    if alike:
        clocks = clocks[:1] * len(clocks)
    together = Clocks(np.concatenate(clocks), edges(lengths))
    series = rng.integers(1, 5, len(clocks))
    length_of = np.repeat(lengths, series)
    page_of = np.sort(rng.integers(0, 3, len(length_of)))
    begins = np.cumsum(length_of) - length_of
    first = np.searchsorted(page_of, page_of)
    sizes = [int(length_of[page_of == page].sum()) for page in range(3)]
    pages = [Page(rng.random(size), full=True) for size in sizes]
    pages[rng.integers(0, 3)] = None
    start_ms, end_ms = sorted(rng.integers(0, 10_000, 2))
    cut = together.cut(np.arange(len(clocks)), start_ms, end_ms)
    places = (page_of, begins - begins[first])
    if alike:
        # Series that lie together are asked for in any order.
        mixed = rng.permutation(len(page_of))
        places = (page_of[mixed], places[1][mixed])
    picks = Picks.every(edges(series))
    reading = BlockReading(HeldPages(pages), together.times, cut, places, picks)
    column = rng.integers(0, 5, len(clocks)) * rng.integers(0, 2)
    times = np.full((len(clocks), int(lengths.max()) + 5), -1)
    values = np.full((len(length_of), times.shape[1]), -1.0)
    with evaluated_by(way, block_reading, "rows"):
        reading.write_times(times, column)
        full = reading.write(values, column) if reading.counts.any() else None
    return times.tolist(), values.view(np.int64).tolist(), full


@pytest.mark.parametrize("seed", range(40))
def test_machine_code_copies_the_same(seed):
    assert written(ARRAYS, seed) == written(MACHINE, seed)
