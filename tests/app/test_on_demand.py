"""What is made on demand is made by the first request, and once."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from meterhall.app.on_demand import OnDemand


def test_the_first_request_makes_it():
    made, passed = [], []

    async def application(*call):
        passed.append(call)

    def make():
        made.append(True)
        if len(made) == 1:
            raise ImportError("no such library")
        return application

    with ThreadPoolExecutor(1) as executor:
        on_demand = OnDemand(make, executor)
        assert not made
        with pytest.raises(ImportError):
            asyncio.run(on_demand({}, None, None))
        for number in range(3):
            asyncio.run(on_demand({"number": number}, None, None))
    assert passed == [({"number": number}, None, None) for number in range(3)]
    assert len(made) == 2


def test_a_start_loads_no_library_of_the_guide():
    code = "import sys, meterhall.app.serve_command, meterhall.app.wiring; print('fastapi' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
