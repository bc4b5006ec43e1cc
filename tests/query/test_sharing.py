"""Work that two threads share: every item once, errors are heard, and the error state of NumPy goes along."""

import threading

import numpy as np
import pytest

from meterhall.query.sharing import shared

MANY, FEW = 10**9, 1


@pytest.mark.parametrize("cells", [FEW, MANY])
def test_every_item_is_worked_on_once(cells):
    done = []
    shared(range(500), done.append, cells)
    assert sorted(done) == list(range(500))


def test_two_threads_work_at_once():
    together = threading.Barrier(2, timeout=20)
    shared(range(2), lambda _: together.wait(), MANY)


def test_little_work_stays_in_its_thread():
    threads = set()
    shared(range(50), lambda _: threads.add(threading.get_ident()), FEW)
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("cells", [FEW, MANY])
def test_an_error_ends_the_work(cells):
    done = []

    def work(item):
        if item == 3:
            raise ValueError(item)
        done.append(item)

    with pytest.raises(ValueError, match="3"):
        shared(range(10_000), work, cells)
    assert len(done) < 10_000


@pytest.mark.parametrize("cells", [FEW, MANY])
def test_an_error_of_the_items_is_raised(cells):
    def items():
        yield 1
        raise KeyError("items")

    with pytest.raises(KeyError, match="items"):
        shared(items(), lambda _: None, cells)


def test_the_error_state_goes_along():
    both = threading.Barrier(2, timeout=20)

    def divide(_):
        both.wait()
        assert np.isinf(np.ones(1) / np.zeros(1))

    with np.errstate(divide="ignore"):
        shared(range(2), divide, MANY)
