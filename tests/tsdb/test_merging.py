"""Merging pieces equals putting all samples into one dict."""

import numpy as np
from hypothesis import given, strategies

from meterhall.model.samples import ABSENT, ABSENT_BITS, STALE
from meterhall.tsdb.merging import clip, drop_empty_times, is_full, merge, runs

WIDTH = 3
cell = strategies.sampled_from([1.0, ABSENT, STALE])
column = strategies.lists(cell, min_size=WIDTH, max_size=WIDTH)
piece = strategies.dictionaries(strategies.integers(0, 20), column, max_size=6)


def as_piece(columns):
    times = sorted(columns)
    values = np.array([columns[time] for time in times], np.float64).reshape(-1, WIDTH).T
    return np.array(times, np.int64), values


def as_dict(merged):
    times, values = merged
    assert (np.diff(times) > 0).all()
    return {
        (row, int(time)): int(bits)
        for row in range(WIDTH)
        for time, bits in zip(times, values[row].view("u8"), strict=True)
        if bits != ABSENT_BITS
    }


@given(strategies.lists(piece, max_size=4))
def test_merge(pieces):
    expected = {}
    for columns in sorted((each for each in pieces if each), key=min):
        expected.update(as_dict(as_piece(columns)))
    merged = merge([as_piece(columns) for columns in pieces], WIDTH)
    assert as_dict(merged) == expected
    assert as_dict(drop_empty_times(merged)) == expected
    inside = {key: bits for key, bits in expected.items() if 5 <= key[1] <= 10}
    assert as_dict(clip(merged, 5, 10)) == inside


def test_is_full():
    assert is_full(np.array([[1.0, np.inf], [0.0, np.nan]]))
    assert not is_full(np.array([[1.0, STALE]]))
    assert not is_full(np.array([[1.0, ABSENT]]))


def test_runs():
    assert list(runs(np.array([], np.int64))) == []
    assert list(runs(np.array([3, 3, 1, 3]))) == [(0, 2), (2, 3), (3, 4)]
