"""Fixtures of the end-to-end tests."""

import pytest

from e2e.service import NodeExporter, Service


@pytest.fixture
def service(tmp_path):
    running = Service(tmp_path / "data").start()
    yield running
    if running.process.poll() is None:
        running.kill()


@pytest.fixture
def node_exporter():
    exporter = NodeExporter().start()
    yield exporter
    exporter.stop()
