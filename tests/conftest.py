"""What every area may ask for."""

import pytest

from bench import peers as debian


@pytest.fixture(scope="session")
def peers():
    """The folder with a current Prometheus and promtool: Debian's packages, fetched where they are not there."""
    return debian.servers()
