"""The side buffer against a dict, dense rows and sparse ones alike."""

import numpy as np
import pytest

from meterhall.model.samples import ABSENT, STALE
from meterhall.tsdb.side import SideRows, read_rows

WIDTH = 40


def put(side, time_ms, cells, width=WIDTH):
    slots = np.array(list(cells), np.int64)
    side.put(time_ms, slots, np.array(list(cells.values()), np.float64), width)


def held(side, width=WIDTH):
    times, values = read_rows(side.between(0, 100), np.arange(width))
    bits = values.view("u8").T.tolist()
    absent = int(np.float64(ABSENT).view("u8"))
    return {
        int(time): {slot: cell for slot, cell in enumerate(row) if cell != absent}
        for time, row in zip(times, bits, strict=True)
    }


def bits(cells):
    return {slot: int(np.float64(value).view("u8")) for slot, value in cells.items()}


@pytest.mark.parametrize("count", [1, 4, 5, 40])
def test_rows_of_any_fill(count):
    side = SideRows()
    cells = {slot: float(slot) for slot in range(count)} | {0: STALE}
    put(side, 7, cells)
    put(side, 3, {WIDTH: 1.0}, width=WIDTH + 1)
    assert held(side, WIDTH + 1) == {3: bits({WIDTH: 1.0}), 7: bits(cells)}
    assert side.samples == count + 1


def test_a_sparse_row_that_fills_up():
    side = SideRows()
    for slot in range(WIDTH):
        put(side, 5, {slot: float(slot)})
    assert held(side) == {5: bits({slot: float(slot) for slot in range(WIDTH)})}
    values = np.full(2, ABSENT)
    side.overlay(5, np.array([3, 39]), values)
    assert values.tolist() == [3.0, 39.0]
    assert isinstance(side.between(5, 5)[0][1], np.ndarray)


def test_splitting_and_taking_back():
    side = SideRows()
    for time_ms in (1, 5, 9):
        put(side, time_ms, {0: 1.0, 30: 2.0})
    early = side.split_before(6)
    assert (early.samples, side.samples) == (4, 2)
    put(side, 5, {0: 7.0, 1: 8.0})
    side.absorb(early, WIDTH)
    assert (early.samples, side.samples) == (0, 7)
    assert held(side)[5] == bits({0: 7.0, 1: 8.0, 30: 2.0})
    assert side.pop(1)[0].tolist() == [0, 30]
    assert side.pop(1) is None


def test_renumbering():
    side = SideRows()
    put(side, 1, {2: 1.0})
    put(side, 2, {slot: float(slot) for slot in range(0, WIDTH, 2)})
    used = np.zeros(WIDTH, np.bool_)
    side.mark_used(used)
    kept = np.flatnonzero(used)
    side.renumber(kept)
    assert held(side, len(kept)) == {
        1: bits({1: 1.0}),
        2: bits({place: 2.0 * place for place in range(len(kept))}),
    }
