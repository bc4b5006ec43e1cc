"""Refusals of the agent channel."""

import json

import pytest

from meterhall.model import errors
from meterhall.web.agent.refusals import refusal_of

CASES = [
    (errors.BadInput("x"), 400, False),
    (errors.TooLarge("x"), 413, False),
    (errors.Unauthorized("x"), 401, False),
    (errors.Forbidden("x"), 403, False),
    (errors.ControlError("BAD_INPUT_VALUE", "x"), 400, False),
    (errors.ControlError("LIMIT_EXCEEDED", "x"), 409, False),
    (errors.Overloaded("x", 5), 429, True),
    (errors.StoreUnavailable("x"), 503, True),
    (errors.MeterhallError("x"), 500, False),
]


@pytest.mark.parametrize(
    ("error", "status", "later"), CASES, ids=[type(c[0]).__name__ for c in CASES]
)
def test_each_kind_has_its_status(error, status, later):
    reply = refusal_of(error)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": "x"})
    assert (b"retry-after" in dict(reply.headers)) is later


def test_those_who_were_refused_together_come_back_apart():
    waits = {
        dict(refusal_of(errors.Overloaded("x", 5)).headers)[b"retry-after"] for _ in range(200)
    }
    assert waits <= {b"%d" % seconds for seconds in range(5, 11)}
    assert len(waits) > 1
