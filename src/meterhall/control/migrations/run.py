"""Runs the steps on a connection that the caller has opened, in the caller's transaction.

The only module, with `env` and the steps, that imports Alembic.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from meterhall.model.errors import ConfigError


def forward(connection: Connection, revision: str) -> None:
    """Applies every step up to `revision`. Raises ConfigError where the database has an unknown one."""
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise ConfigError(
            f"the control database cannot be brought to revision {revision}; "
            f"was it written by a newer version? ({error})"
        ) from None


def newest() -> str:
    """The number of the last step."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    # Percent signs are Alembic's interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
