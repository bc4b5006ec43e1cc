"""Single parameters: times, durations, numbers and selectors, with Prometheus' words for what is wrong.

Numbers are what Go's strconv.ParseFloat takes, which is neither more nor less than Python's float(): no blanks
at the ends, underscores only between digits, hexadecimal only with an exponent. Times that no sample can have
are clamped to the int64 nanoseconds that Prometheus' own clock spans (it lets them wrap around); NaN and
infinities are refused.
"""

import functools
import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from meterhall.model.errors import BadInput
from meterhall.model.labels import quote
from meterhall.model.matcher import Matcher
from meterhall.promql.durations import parse_duration
from meterhall.promql.parser import parse_selector
from meterhall.web.prometheus.form import Form
from meterhall.wire.numbers import parse_float

INT64_MAX = (1 << 63) - 1
INT64_MIN = -(1 << 63)
# The range of a Go time.Duration around 1970, about ±292 years, in milliseconds.
TIME_MS_MAX = INT64_MAX // 1_000_000
TIME_MS_MIN = -TIME_MS_MAX

POINTS_MAX = 11_000

# Selectors are kept by text, as whole expressions are (`call.Backend.parse`): short ones, and so many of them.
_CACHED_CHARS_MAX = 2048
_CACHED_SELECTORS = 128

_INTEGER = re.compile(r"[+-]?[0-9]+")  # noqa: TID251 - our own pattern
_RFC3339 = re.compile(  # noqa: TID251 - our own pattern
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
# The ends of Prometheus' own time, which clients send for "everything".
_EDGES = {
    "-292273086-05-16T16:47:06Z": TIME_MS_MIN,
    "292277025-08-18T07:12:54.999999999Z": TIME_MS_MAX,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A literal longer than this is no number that anyone means; Python's int() refuses more than 4,300 digits.
_NUMBER_CHARS_MAX = 1000
# Whole seconds of so few digits are the same as int and as float. Most clients send such.
_WHOLE_DIGITS_MAX = 12


def go_int(text: str, function: str = "Atoi") -> int:
    """strconv.Atoi, or ParseInt where `function` says so. Raises BadInput in Go's words."""
    if not _INTEGER.fullmatch(text):
        raise BadInput(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    value = int(text) if len(text) <= _NUMBER_CHARS_MAX else INT64_MAX + 1
    if not INT64_MIN <= value <= INT64_MAX:
        raise BadInput(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return value


def parse_time_ms(text: str) -> int:
    """Unix milliseconds of a float of seconds or an RFC 3339 time. Raises BadInput."""
    if len(text) <= _WHOLE_DIGITS_MAX and text.isascii() and text.isdigit():
        return _clamped(int(text) * 1000)
    seconds = parse_float(text)
    if seconds is not None:
        if not math.isfinite(seconds):
            raise _no_timestamp(text)
        return _clamped(_go_round_ms(seconds))
    if text in _EDGES:
        return _EDGES[text]
    return _clamped(_rfc3339_ms(text))


def _go_round_ms(seconds: float) -> int:
    """Half away from zero, as math.Round."""
    fraction, whole = math.modf(seconds)
    return int(whole) * 1000 + math.floor(abs(fraction) * 1000 + 0.5) * (1 if fraction > 0 else -1)


def _clamped(time_ms: int) -> int:
    return min(max(time_ms, TIME_MS_MIN), TIME_MS_MAX)


def _no_timestamp(text: str) -> BadInput:
    return BadInput(f"cannot parse {quote(text)} to a valid timestamp")


def _rfc3339_ms(text: str) -> int:
    found = _RFC3339.fullmatch(text)
    if not found:
        raise _no_timestamp(text)
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = found.groups()[6:]
    offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    try:
        # Year 0 is a leap year that Python's calendar lacks; its times are clamped anyway.
        day_number = date(year or 4, month, day).toordinal() - _EPOCH.toordinal()
    except ValueError:
        raise _no_timestamp(text) from None
    if hour > 23 or minute > 59 or second > 59 or offset > timedelta(hours=24):
        raise _no_timestamp(text)
    seconds = day_number * 86_400 + hour * 3600 + minute * 60 + second
    seconds -= int(offset.total_seconds()) * (-1 if sign == "-" else 1)
    return seconds * 1000 + int((fraction or "0")[:3].ljust(3, "0"))


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a float of seconds or a Prometheus duration. Raises BadInput.

    NaN is the least int64, which is what Go's conversion makes of it.
    """
    seconds = parse_float(text)
    if seconds is not None:
        if math.isnan(seconds):
            return INT64_MIN
        if not INT64_MIN <= seconds * 1e9 <= INT64_MAX:
            raise BadInput(f"cannot parse {quote(text)} to a valid duration. It overflows int64")
        return min(int(seconds * 1e9), INT64_MAX)
    try:
        return parse_duration(text) * 1_000_000
    except BadInput:
        raise BadInput(f"cannot parse {quote(text)} to a valid duration") from None


def invalid(name: str, error: BadInput) -> BadInput:
    """Prometheus' invalidParamError."""
    return BadInput(f'invalid parameter "{name}": {error}')


def limit_of(form: Form) -> int:
    """The `limit` parameter; 0 means none. Raises BadInput."""
    text = form.first("limit")
    if not text:
        return 0
    try:
        limit = go_int(text)
        if limit < 0:
            raise BadInput("limit must be non-negative")
    except BadInput as error:
        raise invalid("limit", error) from None
    return limit


def optional_time_ms(form: Form, name: str, default: int) -> int:
    """A time that may be absent, as `query`, `series` and the label calls take it. Raises BadInput."""
    text = form.first(name)
    if not text:
        return default
    try:
        return parse_time_ms(text)
    except BadInput as error:
        raise invalid(name, BadInput(f"invalid time value for '{name}': {error}")) from None


def required_time_ms(form: Form, name: str) -> int:
    """A time that must be there, as `query_range` takes it. Raises BadInput."""
    try:
        return parse_time_ms(form.first(name))
    except BadInput as error:
        raise invalid(name, error) from None


def step_ms_of(form: Form, start_ms: int, end_ms: int) -> int:
    """The `step` of a range, checked against its ends. Raises BadInput.

    A step below a millisecond is refused like one of zero, where Prometheus divides by zero.
    """
    try:
        step_ns = parse_duration_ns(form.first("step"))
        if step_ns < 1_000_000:
            raise BadInput(
                "zero or negative query resolution step widths are not accepted. "
                "Try a positive integer"
            )
    except BadInput as error:
        raise invalid("step", error) from None
    if min((end_ms - start_ms) * 1_000_000, INT64_MAX) // step_ns > POINTS_MAX:
        raise BadInput(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return step_ns // 1_000_000


def grid_of(form: Form) -> tuple[int, int, int]:
    """Start, end and step of a range in milliseconds. Raises BadInput."""
    start_ms = required_time_ms(form, "start")
    end_ms = required_time_ms(form, "end")
    if end_ms < start_ms:
        raise invalid("end", BadInput("end timestamp must not be before start time"))
    return start_ms, end_ms, step_ms_of(form, start_ms, end_ms)


def timeout_s_of(form: Form, ceiling_s: float) -> float:
    """Seconds that the query may take; zero or less where the deadline has passed. Raises BadInput."""
    text = form.first("timeout")
    if not text:
        return ceiling_s
    try:
        return min(parse_duration_ns(text) / 1e9, ceiling_s)
    except BadInput as error:
        raise invalid("timeout", error) from None


def lookback_ms_of(form: Form) -> int | None:
    """The `lookback_delta`, or None where the default holds. Raises BadInput."""
    text = form.first("lookback_delta")
    if not text:
        return None
    try:
        lookback_ns = parse_duration_ns(text)
    except BadInput as error:
        raise BadInput(f"error parsing lookback delta duration: {error}") from None
    return max(lookback_ns // 1_000_000, 1) if lookback_ns > 0 else None


def matcher_sets(texts: Sequence[str]) -> list[tuple[Matcher, ...]]:
    """The selectors of `match[]`. Raises BadInput, PromQLError where one does not parse."""
    sets = []
    for text in texts:
        matchers = _selector(text)
        if all(matcher.matches("") for matcher in matchers):
            raise BadInput("match[] must contain at least one non-empty matcher")
        sets.append(matchers)
    return sets


def _selector(text: str) -> tuple[Matcher, ...]:
    return _parse_cached(text) if len(text) <= _CACHED_CHARS_MAX else parse_selector(text)


_parse_cached = functools.lru_cache(_CACHED_SELECTORS)(parse_selector)
