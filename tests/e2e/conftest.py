"""Fixtures of the end-to-end tests."""

import pytest

from e2e.agent import Agent, Ledger
from e2e.service import Exporter, Service


@pytest.fixture
def service(tmp_path):
    running = Service(tmp_path / "data").start()
    yield running
    if running.process.poll() is None:
        running.kill()


@pytest.fixture
def node_exporter():
    exporter = Exporter("node_exporter").start()
    yield exporter
    exporter.stop()


@pytest.fixture
def blackbox_exporter(tmp_path):
    """Debian's, which asks over HTTP for what its `target` says."""
    config = tmp_path / "blackbox.yml"
    config.write_text("modules: {http_2xx: {prober: http, timeout: 1s}}\n")
    exporter = Exporter("blackbox_exporter", f"--config.file={config}").start()
    yield exporter
    exporter.stop()


@pytest.fixture
def agents(tmp_path, service):
    """Makes agents of the service; those that still run are killed at the end."""
    made = []

    def make(name, *options, **fields):
        made.append(Agent(tmp_path / name, service, name, *options, **fields))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def ledgers(tmp_path):
    """Makes exporters with a ledger."""
    made = []

    def make(name, prefix=()):
        made.append(Ledger(tmp_path / f"{name}.ledger", prefix))
        return made[-1]

    yield make
    for each in made:
        each.stop()
