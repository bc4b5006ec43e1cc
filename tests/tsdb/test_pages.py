"""The page codec gives back every bit."""

import numpy as np
import pytest
from hypothesis import given, strategies

from meterhall.model.samples import ABSENT, NAN, STALE
from meterhall.tsdb import pages
from meterhall.tsdb.pages import (
    decode_matrix,
    decode_numbers,
    decode_page,
    encode_matrix,
    encode_numbers,
    encode_page,
)

SPECIAL = [ABSENT, STALE, NAN, 0.0, -0.0, 1.0, 2.0**53, 2.0**63, -(2.0**63), 1e300, float("inf")]
value = strategies.one_of(
    strategies.sampled_from(SPECIAL),
    strategies.integers(-1000, 1000).map(float),
    strategies.floats(width=64),
)


@given(strategies.lists(strategies.lists(value, min_size=1, max_size=30), min_size=1, max_size=8))
def test_every_bit_comes_back(columns):
    flat = np.array([cell for column in columns for cell in column])
    lengths = np.array([len(column) for column in columns])
    decoded = decode_page(encode_page(flat, lengths), lengths)
    assert decoded.view("u8").tolist() == flat.view("u8").tolist()


def test_markers_do_not_spoil_a_page():
    counter = np.cumsum(np.arange(480.0) % 7)
    marked = counter.copy()
    marked[[0, 100, 479]] = STALE
    lengths = np.array([480])
    assert len(encode_page(marked, lengths)) < len(encode_page(counter, lengths)) + 60


def test_constant_series_cost_one_number():
    flat = np.repeat(np.arange(100) + 0.1, 480)
    assert len(encode_page(flat, np.full(100, 480))) < 100 * 9 + 40


def test_a_page_that_does_not_fit_is_refused():
    page = encode_page(np.arange(4.0), np.array([2, 2]))
    for lengths in ([4], [2, 3], [2, 2, 1]):
        with pytest.raises(ValueError, match="series"):
            decode_page(page, np.array(lengths))


@given(strategies.integers(1, 7), strategies.lists(value, min_size=1, max_size=150))
def test_pages_of_a_matrix_are_those_of_its_series(times, cells):
    matrix = np.resize(np.array(cells), (-(-len(cells) // times), times))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_MATRIX_PAGE_VALUES", 8)
        patch.setattr(pages, "PAGE_VALUES_MAX", 24)
        made = encode_matrix(matrix)
    parts = np.split(matrix, range(8 // times, len(matrix), 8 // times))
    assert made == [encode_page(part.ravel(), np.full(len(part), times)) for part in parts]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (50, 100), (2, 5000)])
def test_a_matrix_is_pages_of_a_few_series(shape):
    matrix = np.random.default_rng(1).integers(0, 9, shape).astype(float)
    made = encode_matrix(np.asfortranarray(matrix))
    assert len(made) == {3: 1, 50: 2}.get(shape[0], shape[0])
    assert np.array_equal(decode_matrix([memoryview(page) for page in made], *shape), matrix)
    with pytest.raises(ValueError, match="series"):
        decode_matrix(made, shape[0] + 1, shape[1])


def test_numbers():
    for numbers in ([], [5], list(range(1000)), [2**62, -(2**62)]):
        data = encode_numbers(np.array(numbers, np.int64))
        assert decode_numbers(data, len(numbers)).tolist() == numbers
    with pytest.raises(ValueError, match="want 3"):
        decode_numbers(encode_numbers(np.arange(2)), 3)
