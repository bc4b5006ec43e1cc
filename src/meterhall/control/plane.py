"""The control plane as one object: every noun's use cases over one database."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.exc import DBAPIError

from meterhall.control.access import SnapshotAccess
from meterhall.control.agents import Agents
from meterhall.control.changes import ChangeWatcher
from meterhall.control.context import Context
from meterhall.control.database import Database, open_database, upgrade
from meterhall.control.hosts import Hosts
from meterhall.control.identifiers import Identifiers
from meterhall.control.inventory import Inventory
from meterhall.control.jobs import Jobs
from meterhall.control.keys import Keys
from meterhall.control.limits import Limits
from meterhall.control.projects import Projects
from meterhall.control.retentions import Retentions
from meterhall.control.settings import ControlSettings
from meterhall.control.targets import Targets
from meterhall.model.errors import ConfigError
from meterhall.ports.clock import Clock


class Control:
    """Use cases and readers. Close it to note last uses and to give back the connections."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.projects = Projects(context)
        self.keys = Keys(context)
        self.hosts = Hosts(context)
        self.agents = Agents(context)
        self.jobs = Jobs(context)
        self.targets = Targets(context)
        self.watcher = ChangeWatcher(context.database, context.settings.poll_ms)
        self.access = SnapshotAccess(context, self.watcher)
        self.limits = Limits(context, self.watcher)
        self.retentions = Retentions(context, self.watcher)
        self.inventory = Inventory(context, self.watcher)

    @property
    def database(self) -> Database:
        """The database below."""
        return self.context.database

    def start(self) -> None:
        """Begins to notice what other processes change; a single command does not need it."""
        self.watcher.start()

    def close(self) -> None:
        """Stops the watcher, writes what is owed, closes the database."""
        self.watcher.close()
        self.watcher.guarded(self.access.write_last_used)
        self.database.close()


def open_control_plane(
    url: str, settings: ControlSettings, clock: Clock, identifiers: Identifiers | None = None
) -> Control:
    """Opens the database, brings its schema forward and loads the snapshot.

    Raises ConfigError on a wrong URL or setting, and where the database cannot be used.
    """
    _check(settings)
    database = open_database(url)
    try:
        upgrade(database)
        return Control(Context(database, settings, clock, identifiers or Identifiers()))
    except DBAPIError as error:
        database.close()
        # The driver's first line says what is wrong (no file, no server, no role); no password is in it.
        reason = str(error.orig).partition("\n")[0]
        raise ConfigError(f"database.url: the control database cannot be used: {reason}") from None
    except BaseException:
        database.close()
        raise


def _check(settings: ControlSettings) -> None:
    if not settings.regions:
        raise ConfigError("server.regions: at least one region is needed")
    for region, zone in settings.time_zones.items():
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError(
                f"server.region_time_zones: {region} = {zone!r}: not a time zone of this machine"
            ) from None
