"""Kinds of failure and the statuses that Prometheus' clients expect (contract 1.2)."""

import pytest

from meterhall.model import errors
from meterhall.web.errors import Refused, failure_of, internal_failure

CASES = [
    (errors.BadInput("x"), 400, "bad_data", None),
    (errors.PromQLError("x"), 400, "bad_data", None),
    (errors.WriteRequestError("x"), 400, "bad_data", None),
    (errors.ExpositionError(3, "x"), 400, "bad_data", None),
    (errors.TooLarge("x"), 413, "bad_data", None),
    (errors.Unauthorized("x"), 401, "unauthorized", None),
    (errors.Forbidden("x"), 403, "forbidden", None),
    (errors.QueryError("x"), 422, "execution", None),
    (errors.QueryTimeout("x"), 503, "timeout", None),
    (errors.QueryCanceled("x"), 499, "canceled", None),
    (errors.StoreUnavailable("x"), 503, "unavailable", 1),
    (errors.StoreError("x"), 500, "internal", None),
    (errors.Overloaded("x", 7), 503, "unavailable", 7),
    (errors.MeterhallError("x"), 500, "internal", None),
    (Refused(405, "method_not_allowed", "x"), 405, "method_not_allowed", None),
]


@pytest.mark.parametrize(
    ("error", "status", "error_type", "retry_after_s"),
    CASES,
    ids=[type(case[0]).__name__ for case in CASES],
)
def test_each_kind_has_its_status(error, status, error_type, retry_after_s):
    failure = failure_of(error)
    assert (failure.status, failure.error_type, failure.retry_after_s) == (
        status,
        error_type,
        retry_after_s,
    )
    assert b'"status":"error"' in failure.body


def test_a_bug_shows_only_its_request_id():
    assert internal_failure("p-7").text.endswith("p-7")
