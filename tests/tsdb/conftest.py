"""Keeps the store's log events out of the way: thousands of them would drown a failure."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()
