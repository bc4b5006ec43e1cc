"""Futures that are joined, refusals that are counted."""

from concurrent.futures import Future
from itertools import permutations

import pytest

from meterhall.ingest.outcome import both, done, refused_by_kind
from meterhall.model.errors import StoreUnavailable
from meterhall.model.samples import OUT_OF_BOUNDS, OUT_OF_ORDER, TOO_FAR_AHEAD, Rejection


@pytest.mark.parametrize("order", list(permutations((0, 1))))
@pytest.mark.parametrize("failing", [(), (0,), (1,), (0, 1)])
def test_both(order, failing):
    parts = [Future(), Future()]
    joined = both(*parts)
    for part in order:
        assert not joined.done()
        if part in failing:
            parts[part].set_exception(StoreUnavailable(str(part)))
        else:
            parts[part].set_result(None)
    assert joined.done()
    failure = joined.exception(0)
    assert (str(failure) if failing else failure) == (str(failing[0]) if failing else None)


def test_done():
    assert done().result(0) is None


def test_refusals_have_few_kinds():
    reasons = [
        OUT_OF_ORDER,
        OUT_OF_BOUNDS,
        TOO_FAR_AHEAD,
        TOO_FAR_AHEAD,
        "duplicate sample for timestamp 5; overrides not allowed: existing 1, new value 2",
        "duplicate sample for timestamp 6; overrides not allowed: existing 3, new value 4",
        "something else",
    ]
    assert refused_by_kind(Rejection(1, 5, 0.0, reason) for reason in reasons) == {
        OUT_OF_ORDER: 1,
        OUT_OF_BOUNDS: 1,
        TOO_FAR_AHEAD: 2,
        "duplicate sample for timestamp": 2,
        "other": 1,
    }
