import pytest

from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant

TENANT = Tenant("kr", "aOpreudC")


def make_target(**changes) -> ScrapeTarget:
    """A target on loopback that is collected four times a second; any field can be changed."""
    fields = {
        "target_id": "8b0ad7b4-7f8b-4d1e-9df1-0c1f0a4e2a11",
        "tenant": TENANT,
        "job": "node",
        "host_id": "0b0b5c3e-7d7a-4c80-9d6c-000000000001",
        "host_name": "web-1",
        "address": "127.0.0.1",
        "port": 9100,
        "metrics_path": "/metrics",
        "interval_ms": 250,
        "timeout_ms": 1000,
    }
    return ScrapeTarget(**(fields | changes))


@pytest.fixture
def target_of():
    return make_target
