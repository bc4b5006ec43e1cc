"""The operator's listener."""

from prometheus_client import CollectorRegistry, Counter
from tests.web.listening import fetch, listening

from meterhall.web.admin import create_admin


def test_metrics_and_probe():
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    with listening(create_admin(registry)) as port:
        _, headers, text = fetch(port, "/metrics")
        assert headers["content-type"].startswith("text/plain; version=")
        assert "things_total 3.0" in text
        accept = {"Accept": "application/openmetrics-text"}
        _, headers, text = fetch(port, "/metrics", headers=accept)
        assert headers["content-type"].startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")
        assert fetch(port, "/-/healthy")[0] == 200
