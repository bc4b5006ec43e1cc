"""Whole answers against a slow, obvious encoder."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.web.spellings import reference_points

from meterhall.compiled.loading import LOADER
from meterhall.model.samples import STALE, is_stale
from meterhall.query.engine import Engine, EngineOptions
from meterhall.query.result import (
    GridResult,
    HeldRange,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)
from meterhall.web import encode
from meterhall.web.encode import Notes


def encoded(value) -> str:
    return b"".join(encode.encode_value(value)).decode()


def test_scalars_and_strings_have_loose_times():
    assert encoded(ScalarResult(500, 1e21)) == '[0.5,"1000000000000000000000"]'
    assert encoded(StringResult(4000, 'h"i')) == '[4,"h\\"i"]'


@pytest.mark.parametrize("time_ms", [4000, 500, -500])
@pytest.mark.parametrize("count", [1, 3, encode._SHORT_VECTOR + 1])
def test_a_vector_is_a_list_of_single_points(time_ms, count):
    values = np.arange(count) * 1.5
    labels = [(("i", str(i)),) for i in range(count)]
    entries = [
        f'{{"metric":{{"i":"{i}"}},"value":{reference_points([time_ms], [value])[1:-1]}}}'
        for i, value in enumerate(values.tolist())
    ]
    assert encoded(VectorResult(time_ms, labels, values)) == "[" + ",".join(entries) + "]"


@st.composite
def held_ranges(draw):
    few = st.sampled_from([0.0, -0.0, 1.5, 7.0, float("nan"), float("-inf"), STALE])
    series = []
    for n in range(draw(st.integers(0, 4))):
        times = np.array(sorted(draw(st.sets(st.integers(-99, 99), min_size=1))))
        values = draw(arrays(np.float64, len(times), elements=few | st.floats(width=64)))
        series.append(((("__name__", "m"), ("a", f'{n}"\n<é')), times, values))
    start, step = draw(st.integers(-99, 99)), draw(st.integers(1, 20))
    look, stride = draw(st.sampled_from([(start, step), (start - 9, step), (20, 0)]))
    return HeldRange(
        series, start, step, draw(st.integers(1, 9)), look, stride, draw(st.sampled_from([1, 15]))
    )


def reference_held(held: HeldRange) -> str:
    """By going through all samples for every point."""
    entries = []
    for (_, (_, name)), times, values in held.series:
        points = []
        for n in range(held.count):
            look = held.look_ms + n * held.stride_ms
            seen = [
                at for at, t in enumerate(times.tolist()) if look - held.lookback_ms < t <= look
            ]
            if seen and not is_stale(values[seen[-1:]]).any():
                points.append((held.start_ms + n * held.step_ms, float(values[seen[-1]])))
        if points:
            metric = json.dumps(
                {"__name__": "m", "a": name}, ensure_ascii=False, separators=(",", ":")
            )
            text = reference_points(*zip(*points, strict=True))
            entries.append(f'{{"metric":{metric},"values":{text}}}')
    return "[" + ",".join(entries) + "]"


@given(held=held_ranges())
@settings(max_examples=500, deadline=None)
def test_a_range_is_the_same_looked_up_before_and_while_it_is_written(held):
    LOADER.wait()
    result = reference_held(held)
    expected = f'{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}'
    assert encode.encode_held(held).decode() == expected
    looked_up = Engine(EngineOptions()).looked_up(held)
    assert b"".join(encode.encode_query(looked_up, Notes())).decode() == expected


@st.composite
def grids(draw):
    series, steps = draw(st.integers(0, 5)), draw(st.integers(1, 6))
    start, step = draw(st.integers(-5000, 5000)), draw(st.sampled_from([1, 500, 1000, 15_000]))
    values = draw(arrays(np.float64, (series, steps), elements=st.floats(width=64)))
    present = draw(st.none() | arrays(np.bool_, (series, steps)))
    if present is not None and series:
        present[:, draw(st.integers(0, steps - 1))] = True
    labels = [(("__name__", "m"), ("a", f'{n}"\n<é')) for n in range(series)]
    return GridResult(labels, start + step * np.arange(steps), values, present)


def reference_grid(grid: GridResult) -> str:
    entries = []
    for row, labels in enumerate(grid.labels):
        kept = [
            column
            for column in range(len(grid.times))
            if grid.present is None or grid.present[row, column]
        ]
        points = reference_points(grid.times[kept].tolist(), grid.values[row, kept].tolist())
        metric = json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"))
        entries.append(f'{{"metric":{metric},"values":{points}}}')
    return "[" + ",".join(entries) + "]"


@given(grids(), st.sampled_from([1, 3, 8, 65_536]))
@settings(max_examples=300, deadline=None)
def test_a_grid_is_the_same_whatever_the_size_of_a_piece(grid, piece):
    kept = encode.POINTS_PER_PIECE
    encode.POINTS_PER_PIECE = piece
    try:
        assert encoded(grid) == reference_grid(grid)
    finally:
        encode.POINTS_PER_PIECE = kept


@pytest.mark.parametrize("lengths", [[], [1], [3, 1], [70_000], [40_000, 40_000, 2]])
def test_raw_samples_keep_their_own_times(lengths):
    times = [np.arange(n, dtype=np.int64) * 7 + n for n in lengths]
    values = [np.linspace(-1, 1, n) for n in lengths]
    labels = [(("n", str(n)),) for n in range(len(lengths))]
    entries = [
        f'{{"metric":{{"n":"{n}"}},"values":{reference_points(t.tolist(), v.tolist())}}}'
        for n, (t, v) in enumerate(zip(times, values, strict=True))
    ]
    assert encoded(RaggedResult(labels, times, values)) == "[" + ",".join(entries) + "]"


def test_an_empty_vector_is_a_list():
    assert encoded(VectorResult(0, [], np.array([]))) == "[]"


def test_a_large_vector_comes_in_pieces():
    count = encode.SERIES_PER_PIECE + 5
    labels = [(("i", str(i)),) for i in range(count)]
    pieces = list(encode.encode_value(VectorResult(1000, labels, np.arange(count, dtype=float))))
    assert len(pieces) == 3
    parsed = json.loads(b"".join(pieces))
    assert parsed[-1] == {"metric": {"i": str(count - 1)}, "value": [1, str(count - 1)]}


@pytest.mark.parametrize("count", [0, 1, encode.SERIES_PER_PIECE, 2 * encode.SERIES_PER_PIECE + 1])
def test_label_sets_come_in_pieces(count):
    found = [(("__name__", "m"), ("i", f'{n}"')) for n in range(count)]
    pieces = list(encode.encode_series(found, Notes(["w"])))
    assert len(pieces) == -(-count // encode.SERIES_PER_PIECE) + 1
    expected = {"status": "success", "data": [dict(each) for each in found], "warnings": ["w"]}
    assert json.loads(b"".join(pieces)) == expected


def test_annotations_stand_beside_data_and_are_capped():
    result = ScalarResult(4000, 2.0)
    body = b"".join(encode.encode_query(result, Notes()))
    assert body == b'{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'
    notes = Notes([f"w{n}" for n in range(12)], ["i"], {"timings": {"evalTotalTime": 0.5}})
    parsed = json.loads(b"".join(encode.encode_query(result, notes)))
    assert parsed["warnings"] == [f"w{n}" for n in range(10)] + [
        "2 more warning annotations omitted"
    ]
    assert parsed["infos"] == ["i"]
    assert parsed["data"]["stats"] == {"timings": {"evalTotalTime": 0.5}}
