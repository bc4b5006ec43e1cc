"""The defaults are the contract's."""

from meterhall.control.settings import ControlSettings


def test_defaults() -> None:
    settings = ControlSettings()
    assert settings.regions == ("kr",)
    assert settings.targets_per_host_max == 5
    assert (settings.interval_ms, settings.timeout_ms) == (60_000, 10_000)
    # The contract promises that other processes' changes are noticed within 5 s.
    assert settings.poll_ms * 2 < 5_000
