import pytest

from meterhall.collect import status
from meterhall.collect.fetch import Failure, FailureKind
from meterhall.model.errors import ExpositionError, TooLarge
from meterhall.model.target import MonitoringStatus, TargetReport

NORMAL, HTTP_ERROR, UNREACHABLE = (
    MonitoringStatus.NORMAL,
    MonitoringStatus.HTTP_ERROR,
    MonitoringStatus.UNREACHABLE,
)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (None, (NORMAL, 0, None)),
        (
            Failure(FailureKind.HTTP, "404 Not Found", 404),
            (HTTP_ERROR, 404, "404 Not Found"),
        ),
        (
            Failure(FailureKind.HTTP, "503 Service Unavailable", 503),
            (HTTP_ERROR, 503, "503 Service Unavailable"),
        ),
        (Failure(FailureKind.HTTP, "302 Found", 302), (HTTP_ERROR, 302, "302 Found")),
        (
            Failure(FailureKind.CONNECT, "connection refused"),
            (UNREACHABLE, -1, "connection refused"),
        ),
        (
            Failure(FailureKind.REFUSED, "address refused: link-local"),
            (UNREACHABLE, -1, "address refused: link-local"),
        ),
        (
            Failure(FailureKind.TIMEOUT, "timed out after 10 s"),
            (UNREACHABLE, -2, "timed out after 10 s"),
        ),
        (
            status.page_failure(ExpositionError(17, "no value")),
            (UNREACHABLE, -3, "line 17: no value"),
        ),
        (
            Failure(FailureKind.UNREADABLE, "the gzip body is damaged"),
            (UNREACHABLE, -3, "the gzip body is damaged"),
        ),
        (
            status.page_failure(TooLarge("sample limit exceeded: more than 5 samples")),
            (UNREACHABLE, -4, "sample limit exceeded: more than 5 samples"),
        ),
        (
            Failure(FailureKind.LIMIT, "the page is larger than 5 bytes"),
            (UNREACHABLE, -4, "the page is larger than 5 bytes"),
        ),
    ],
)
def test_outcomes(failure, expected):
    assert status.report("t1", failure, 1234) == TargetReport("t1", *expected, 1234)


def test_every_kind_of_failure_has_a_result():
    for kind in FailureKind:
        report = status.report("t1", Failure(kind, "reason", 500), 0)
        assert report.result_code != 0
        assert report.status is not NORMAL


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("connection refused", "connection refused"),
        ("a\r\nb\x00c\x1b[31m", "a\\r\\nb\\x00c\\x1b[31m"),
        ("käse \u202e", "käse \\u202e"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 254 + "…"),
        ("\n" * 200, "\\n" * 127 + "…"),
    ],
)
def test_reasons_are_one_short_line(text, line):
    assert status.fail_reason(text) == line
    assert len(line) <= 255
