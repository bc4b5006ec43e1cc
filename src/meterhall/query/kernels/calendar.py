"""Civil dates of Unix times in UTC, for any int64, as Go's time package has them.

Go counts seconds as uint64 from a year far in the past, and wraps before it; so does `_split`. Days to dates after Howard Hinnant's civil_from_days (proleptic Gregorian, years from March).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meterhall.model.samples import ValueArray

Seconds = NDArray[np.int64]
_DAY = 86_400
# Seconds from Go's absolute zero, the start of the year -292277022399, to the Unix epoch.
_GO_EPOCH = 9_223_372_028_741_760_000


def _split(seconds: Seconds) -> tuple[Seconds, Seconds]:
    """Days since the Unix epoch, and seconds of the day."""
    absolute = seconds.astype(np.uint64) + np.uint64(_GO_EPOCH)
    days = (absolute // np.uint64(_DAY)).astype(np.int64) - _GO_EPOCH // _DAY
    return days, (absolute % np.uint64(_DAY)).astype(np.int64)


def _date(seconds: Seconds) -> tuple[Seconds, Seconds, Seconds]:
    days = _split(seconds)[0] + 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = np.where(month_from_march < 10, month_from_march + 3, month_from_march - 9)
    return year_of_era + era * 400 + (month <= 2), month, day


def _leap(year: Seconds) -> NDArray[np.bool_]:
    return np.asarray((year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0)))


def year(seconds: Seconds) -> Seconds:
    """The year."""
    return _date(seconds)[0]


def month(seconds: Seconds) -> Seconds:
    """1 to 12."""
    return _date(seconds)[1]


def day_of_month(seconds: Seconds) -> Seconds:
    """1 to 31."""
    return _date(seconds)[2]


def day_of_week(seconds: Seconds) -> Seconds:
    """0 (Sunday) to 6."""
    return (_split(seconds)[0] + 4) % 7


def day_of_year(seconds: Seconds) -> Seconds:
    """1 to 366."""
    found_year, found_month, day = _date(seconds)
    starts = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
    return np.asarray(starts[found_month - 1] + day + (_leap(found_year) & (found_month > 2)))


def days_in_month(seconds: Seconds) -> Seconds:
    """28 to 31."""
    found_year, found_month, _ = _date(seconds)
    lengths = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    return np.asarray(lengths[found_month - 1] + (_leap(found_year) & (found_month == 2)))


def hour(seconds: Seconds) -> Seconds:
    """0 to 23."""
    return _split(seconds)[1] // 3600


def minute(seconds: Seconds) -> Seconds:
    """0 to 59."""
    return _split(seconds)[1] % 3600 // 60


def of_values(part: Callable[[Seconds], Seconds], values: ValueArray) -> ValueArray:
    """A part of the date at each value's second, truncated as Go converts it to int64."""
    inside = np.abs(values) < 2.0**63
    seconds = np.where(inside, values, -(2.0**63)).astype(np.int64)
    return part(seconds).astype(np.float64)
