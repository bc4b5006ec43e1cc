"""Opening the whole."""

from pathlib import Path

import pytest

from meterhall.control.database import sqlite_url
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.model.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (ControlSettings(regions=()), "at least one region"),
        (ControlSettings(time_zones={"kr": "Asia/Seuol"}), "Asia/Seuol"),
        (ControlSettings(time_zones={"kr": "../../etc/passwd"}), "not a time zone"),
    ],
)
def test_wrong_settings_stop_the_start(
    tmp_path: Path, clock, settings: ControlSettings, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        open_control_plane(sqlite_url(tmp_path / "control.db"), settings, clock)


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/control.db", "postgresql://u:secret@127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(clock, url: str) -> None:
    with pytest.raises(ConfigError, match="control database cannot be used: ") as caught:
        open_control_plane(url, ControlSettings(), clock)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        open_control_plane(sqlite_url(tmp_path / "control.db"), ControlSettings(), clock)


def test_closing_twice_is_fine(control: Control) -> None:
    control.start()
    control.close()
    control.close()
