"""What a range leaves of many clocks at once is what it leaves of each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meterhall.tsdb.block_reading import Clocks
from meterhall.tsdb.series_table import edges

TIME_MAX = 10**6
# Even clocks with some jitter, missed ticks among them, and such as tick anyhow.
even = st.builds(
    lambda first, step, jitters: sorted(
        {first + step * tick + jitter for tick, jitter in enumerate(jitters) if jitter >= 0}
        or {first}
    ),
    st.integers(0, TIME_MAX),
    st.integers(10, 15_000),
    st.lists(st.integers(-1, 9), min_size=1, max_size=60),
)
uneven = st.lists(st.integers(0, TIME_MAX), min_size=1, max_size=60, unique=True).map(sorted)


@given(
    st.lists(even | uneven, min_size=1, max_size=20),
    st.integers(-1, TIME_MAX + 1),
    st.integers(0, TIME_MAX),
)
def test_a_cut_of_clocks_is_of_each(clocks, start_ms, length_ms):
    end_ms = start_ms + length_ms
    sizes = np.array([len(times) for times in clocks])
    together = Clocks(np.concatenate([np.array(times) for times in clocks]), edges(sizes))
    cut = together.cut(np.arange(len(clocks)), start_ms, end_ms)
    for number, times in enumerate(clocks):
        inside = [at for at, time in enumerate(times) if start_ms <= time <= end_ms]
        assert cut.counts[number] == len(inside)
        assert not inside or cut.begin[number] == inside[0]
        assert cut.lengths[number] == len(times)
        assert together.part(number).tolist() == times
