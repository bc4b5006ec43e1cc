"""Opening the control plane from the settings, for the service and for the operator's commands."""

from dataclasses import fields
from pathlib import Path

from meterhall.app.clock import SystemClock
from meterhall.app.config import Settings, load
from meterhall.control.database import sqlite_url
from meterhall.control.plane import Control, open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.model.errors import ConfigError
from meterhall.model.limits import ProjectLimits

CONTROL_FILE = "control.db"


def settings_of(data: Path | None, config: Path | None) -> Settings:
    """Settings of a configuration file, or the defaults, with `--data` in place of storage.data."""
    settings = load(config)
    return settings if data is None else settings.with_values("storage", data=str(data))


def data_directory(settings: Settings) -> Path:
    """The data directory, made where it is missing. Raises ConfigError where it cannot be."""
    path = Path(settings.storage.data).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"storage.data: {path} cannot be made: {error.strerror}") from None
    return path


def database_url(settings: Settings) -> str:
    """The configured database, or SQLite in the data directory."""
    return settings.database.url or sqlite_url(data_directory(settings) / CONTROL_FILE)


def project_limits(settings: Settings) -> ProjectLimits:
    """What `[limits]` says of every project."""
    section = settings.limits
    return ProjectLimits(
        **{item.name: getattr(section, item.name) for item in fields(ProjectLimits)}
    )


def open_control(settings: Settings) -> Control:
    """The control plane, its schema brought forward."""
    return open_control_plane(
        database_url(settings),
        ControlSettings(
            regions=settings.server.regions,
            time_zones=settings.server.region_time_zones,
            targets_per_host_max=settings.limits.targets_per_host,
            limits=project_limits(settings),
            agents_per_project_max=settings.limits.agents_per_project,
            interval_ms=int(settings.collect.interval),
            timeout_ms=int(settings.collect.timeout),
        ),
        SystemClock(),
    )
