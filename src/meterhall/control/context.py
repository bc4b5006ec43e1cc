"""What every use case works with, and the one way in which they are run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from meterhall.control import tables
from meterhall.control.database import Database
from meterhall.control.identifiers import Identifiers
from meterhall.control.settings import ControlSettings
from meterhall.ports.clock import Clock

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to each noun's class. Sharing it is safe across threads."""

    database: Database
    settings: ControlSettings
    clock: Clock
    identifiers: Identifiers

    def change_access(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction that changes who may call."""
        return self.database.write(work, topics=(tables.ACCESS_TOPIC,))

    def change_inventory(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction that changes what is collected."""
        return self.database.write(work, topics=(tables.INVENTORY_TOPIC,))

    def change_all(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction that changes both."""
        return self.database.write(work, topics=tables.TOPICS)
