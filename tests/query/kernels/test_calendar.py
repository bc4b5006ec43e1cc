"""Dates against Python's own calendar, and Go's answers outside of it."""

from calendar import monthrange
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhall.query.kernels import calendar

PARTS = {
    calendar.year: lambda moment: moment.year,
    calendar.month: lambda moment: moment.month,
    calendar.day_of_month: lambda moment: moment.day,
    calendar.day_of_week: lambda moment: moment.isoweekday() % 7,
    calendar.day_of_year: lambda moment: moment.timetuple().tm_yday,
    calendar.days_in_month: lambda moment: monthrange(moment.year, moment.month)[1],
    calendar.hour: lambda moment: moment.hour,
    calendar.minute: lambda moment: moment.minute,
}


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_parts_of_a_date(second):
    moment = datetime.fromtimestamp(second, UTC)
    for part, expected in PARTS.items():
        assert calendar.of_values(part, np.array([float(second)]))[0] == expected(moment)


# From Prometheus 3.5.3.
FAR = [
    (calendar.minute, np.nan, 30),
    (calendar.year, np.nan, 292277026596),
    (calendar.year, 1e300, 292277026596),
    (calendar.year, -1e18, -31688736537),
    (calendar.day_of_week, -1e18, 2),
    (calendar.year, 9e18, 285198648531),
    (calendar.month, 9.2e18, 8),
]


@pytest.mark.parametrize(("part", "value", "expected"), FAR)
def test_what_is_no_date_comes_out_as_in_go(part, value, expected):
    assert calendar.of_values(part, np.array([value]))[0] == expected
