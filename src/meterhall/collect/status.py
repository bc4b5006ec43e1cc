"""What became of a collection, as the console shows it: `mntrnStatCd`, `resultCd` and `failReason`.

The contract's table in one place. A reason is one line of at most 255 characters with everything
unprintable escaped, and never quotes the page.
"""

from typing import Final

from meterhall.collect.fetch import Failure, FailureKind
from meterhall.model.errors import ExpositionError, LimitExceeded, TooLarge
from meterhall.model.target import (
    FAIL_REASON_CHARS_MAX,
    RESULT_CONNECT,
    RESULT_LIMIT,
    RESULT_OK,
    RESULT_PARSE,
    RESULT_TIMEOUT,
    MonitoringStatus,
    TargetReport,
)
from meterhall.telemetry.log import one_line

_RESULT_CODES: Final = {
    FailureKind.CONNECT: RESULT_CONNECT,
    FailureKind.REFUSED: RESULT_CONNECT,
    FailureKind.TIMEOUT: RESULT_TIMEOUT,
    FailureKind.UNREADABLE: RESULT_PARSE,
    FailureKind.LIMIT: RESULT_LIMIT,
}


def report(target_id: str, failure: Failure | None, time_ms: int) -> TargetReport:
    """The report of one collection; `failure` is None where it was fine."""
    if failure is None:
        return TargetReport(target_id, MonitoringStatus.NORMAL, RESULT_OK, None, time_ms)
    reason = fail_reason(failure.reason)
    if failure.kind is FailureKind.HTTP:
        status, code = MonitoringStatus.HTTP_ERROR, failure.http_status
    else:
        status, code = MonitoringStatus.UNREACHABLE, _RESULT_CODES[failure.kind]
    return TargetReport(target_id, status, code, reason, time_ms)


def page_failure(error: ExpositionError | TooLarge | LimitExceeded) -> Failure:
    """A page that came but was refused, wholly or in part: not parsable, or over a limit."""
    kind = FailureKind.UNREADABLE if isinstance(error, ExpositionError) else FailureKind.LIMIT
    return Failure(kind, str(error))


def fail_reason(text: str) -> str:
    """One printable line of at most 255 characters; a longer one ends in `…`."""
    line = one_line(text)
    return line if len(line) <= FAIL_REASON_CHARS_MAX else line[: FAIL_REASON_CHARS_MAX - 1] + "…"
