"""Kernels are absent until work is worth loading them, and stay absent where they cannot be had."""

import sys

import pytest

from meterhall.compiled.loading import KERNEL_MODULES, Loader


@pytest.fixture
def loader():
    loader = Loader()
    yield loader
    loader.wait()


def test_small_work_loads_nothing(loader):
    assert loader.kernels("points") is None
    assert loader.kernels("points", worth_loading=False) is None
    assert loader._thread is None


def test_large_work_begins_to_load_and_does_not_wait(loader):
    loader.kernels("points", worth_loading=True)
    loader.wait()
    for name in KERNEL_MODULES:
        assert loader.kernels(name) is sys.modules[f"meterhall.compiled.{name}"]


def test_what_cannot_be_loaded_is_absent_and_reported_once():
    loader, reasons = Loader(["points", "no_such_kernels"]), []
    loader.report = reasons.append
    for _ in range(2):
        loader.wait()
        assert loader.kernels("points", worth_loading=True) is None
    assert reasons == ["ModuleNotFoundError: No module named 'meterhall.compiled.no_such_kernels'"]
