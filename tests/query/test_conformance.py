"""Prometheus' own scripts (Apache-2.0, see the head of each file), one test a file."""

from pathlib import Path

import pytest

from meterhall.query.promqltest import run_script

SCRIPTS = sorted((Path(__file__).parent / "data" / "promqltest").rglob("*.test"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_script_passes(path):
    report = run_script(path.read_text(encoding="utf-8"), path.name)
    assert report.passed
    assert list(report.failures) == []


def test_the_scripts_are_all_there():
    """652 cases of default features on floats, and 36 of duration arithmetic."""
    passed = {"stable_float": 0, "duration_expr": 0}
    for path in SCRIPTS:
        if path.parent.name in passed:
            report = run_script(path.read_text(encoding="utf-8"), path.name)
            passed[path.parent.name] += report.passed
    assert passed == {"stable_float": 652, "duration_expr": 36}
