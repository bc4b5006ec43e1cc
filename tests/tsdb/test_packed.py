"""Packed rows give back every bit, in whatever layout they came, and take no more than a raw matrix."""

import numpy as np
import pytest
from hypothesis import given, strategies
from tests.tsdb.test_pages import value

from meterhall.model.samples import ABSENT, NAN, STALE
from meterhall.tsdb.packed import Packed

KINDS = {
    "constant": ([7.5] * 4, None),
    "constant NaN": ([NAN] * 4, None),
    "never there": ([ABSENT] * 4, None),
    "one byte": ([1e9, 1e9 + 253, 1e9 + 2, 1e9], np.uint8),
    "one byte, holes": ([-3.0, ABSENT, STALE, 250.0], np.uint8),
    "two bytes": ([0.0, 254.0, 1.0, 0.0], np.uint16),
    "two bytes, holes": ([-65_533.0, STALE, ABSENT, 0.0], np.uint16),
    "four bytes": ([2.0**53, 2.0**53 + 65_534, 2.0**53, ABSENT], np.uint32),
    "four bytes and no more": ([0.0, 2.0**32 - 3, STALE, 0.0], np.uint32),
    "too far apart": ([0.0, 2.0**32 - 2, 1.0, 0.0], np.float64),
    "huge": ([2.0**80, 2.0**80 + 2.0**30, 2.0**80, 2.0**80], np.float64),
    "no whole number": ([0.5, 1.0, 2.0, 3.0], np.float64),
    "minus zero": ([-0.0, 1.0, 2.0, 3.0], np.float64),
    "NaN": ([1.0, NAN, 2.0, 3.0], np.float64),
    "infinite": ([1.0, float("inf"), -float("inf"), 3.0], np.float64),
    "nothing but holes": ([STALE, ABSENT, STALE, ABSENT], np.uint8),
}


@pytest.mark.parametrize(("cells", "code"), KINDS.values(), ids=KINDS.keys())
def test_kinds(cells, code):
    matrix = np.array([cells, [1.0] * 4])
    packed = Packed.of(matrix)
    assert [kept.dtype for kept in packed.codes.values()] == ([code] if code else [])
    assert packed.read(slice(None)).view("u8").tolist() == matrix.view("u8").tolist()


@given(
    strategies.integers(1, 5).flatmap(
        lambda rows: strategies.lists(
            strategies.lists(value, min_size=rows, max_size=rows), min_size=1, max_size=9
        )
    ),
    strategies.booleans(),
    strategies.data(),
)
def test_every_bit_comes_back(lines, by_time, data):
    matrix = np.array(lines)
    packed = Packed.of(np.asfortranarray(matrix) if by_time else matrix)
    picks = np.array(data.draw(strategies.lists(strategies.integers(0, len(lines) - 1))), np.int64)
    for series in (picks, slice(1, 3), slice(None)):
        assert packed.read(series).view("u8").tolist() == matrix[series].view("u8").tolist()


def test_more_series_than_are_packed_at_a_time():
    matrix = np.arange(9000.0).reshape(3000, 3) * (np.arange(3000) % 7)[:, None] / 2
    matrix[::5, 1] = ABSENT
    packed = Packed.of(matrix)
    assert packed.read(slice(None)).view("u8").tolist() == matrix.view("u8").tolist()
    assert sum(kept.nbytes for kept in packed.codes.values()) < matrix.nbytes
