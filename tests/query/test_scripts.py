"""Prometheus' own scripts, the given part, and ours with what random queries have found: all pass."""

from pathlib import Path

import pytest

from meterhall.query.promqltest import run_script

SCRIPTS = sorted((Path(__file__).parent / "data" / "promqltest").glob("*/*.test"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_passes(script):
    report = run_script(script.read_text("utf-8"), script.name)
    assert report.failures == []
    assert report.passed > 0


def test_there_are_scripts():
    assert len(SCRIPTS) > 20
