"""What goes out as OpenMetrics text comes back in as it was, through our parser; markers where they are kept."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meterhall.model.labels import make_labels
from meterhall.model.samples import ABSENT, ABSENT_BITS, NAN, NAN_BITS, STALE, STALE_BITS
from meterhall.wire.export import END, STALE_TOKEN, series_lines, series_token, time_tokens
from meterhall.wire.openmetrics import entries

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NAMES = st.one_of(st.sampled_from(["up", "node:cpu", "m.ä x", 'q"\\\n{}', "é"]), TEXT)
VALUES = st.one_of(
    st.floats(allow_nan=False), st.sampled_from([NAN, STALE, ABSENT, 0.0, -0.0, 5e-324])
)


@given(
    NAMES,
    st.dictionaries(NAMES.filter(lambda name: name != "__name__"), TEXT, max_size=4),
    st.lists(st.tuples(st.integers(-(2**45), 2**45), VALUES), unique_by=lambda pair: pair[0]),
)
def test_a_series_comes_back_bit_by_bit(name, others, samples):
    labels = make_labels({"__name__": name, **others})
    times = np.array([time for time, _ in samples], np.int64)
    values = np.array([value for _, value in samples], np.float64)
    text = b"".join(series_lines(labels, time_tokens(times), values, markers=True)) + END
    found = [
        (
            entry.labels,
            entry.time_ms,
            STALE_BITS
            if text.startswith(STALE_TOKEN, entry.value_at)
            else int(np.float64(entry.value).view(np.uint64)),
        )
        for entry in entries(text)
    ]
    bits = values.view(np.uint64).tolist()
    assert found == [
        (labels, time, bit)
        for time, bit in zip(times.tolist(), bits, strict=True)
        if bit != ABSENT_BITS
    ]


def test_markers_are_left_out_where_nobody_would_know_them():
    values = np.array([1.0, STALE, NAN])
    lines = list(
        series_lines((("__name__", "a"),), time_tokens(np.arange(3)), values, markers=False)
    )
    assert lines == [b"a 1.0 0.0\n", b"a NaN 0.002\n"]
    assert int(values[2].view(np.uint64)) == NAN_BITS


@given(st.integers(-(2**45), 2**45))
def test_no_millisecond_is_lost_by_a_reader_that_cuts(time_ms):
    (token,) = time_tokens(np.array([time_ms]))
    assert int(float(token) * 1000) == time_ms


def test_names_that_are_no_plain_ones_are_quoted():
    assert series_token((("__name__", "up"),)) == b"up"
    assert series_token((("__name__", "a:b"), ("c", '"\\\n'))) == b'a:b{c="\\"\\\\\\n"}'
    assert series_token((("__name__", "a.b"), ("c.d", "e"))) == b'{"a.b","c.d"="e"}'
