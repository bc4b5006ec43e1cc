"""Noticing what other processes change: a thread that polls the database's counters.

Own changes do not wait for it: `Database.write` tells the same listeners before it returns.
"""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from meterhall.control.database import Database

_log = structlog.get_logger()


class ChangeWatcher:
    """Polls every `poll_ms` once started; calls a topic's listeners when its counter has moved.

    A database that cannot be read is logged once and tried again at the next turn: until then everything
    goes on with what was known.
    """

    def __init__(self, database: Database, poll_ms: int) -> None:
        self._database = database
        self._poll_s = poll_ms / 1000
        self._listeners: list[tuple[str, Callable[[], None]]] = []
        self._turns: list[Callable[[], None]] = []
        self._counters: dict[str, int] = database.counters()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        """Calls `listener` after a change of the topic, by this process or another.

        Where it fails after an own change, that change stands all the same, and the next poll tries again.
        """
        self._listeners.append((topic, listener))
        self._database.listen(topic, lambda: self.guarded(listener))

    def every_turn(self, work: Callable[[], None]) -> None:
        """Calls `work` at each poll."""
        self._turns.append(work)

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._run, name="control-changes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops the thread and waits for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def turn(self) -> None:
        """One poll."""
        counters = self._database.counters()
        for topic, listener in self._listeners:
            if counters.get(topic) != self._counters.get(topic):
                listener()
        # Only now: a listener that failed is called again at the next turn.
        self._counters = counters

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            self.guarded(self.turn)
            for work in self._turns:
                self.guarded(work)

    def guarded(self, work: Callable[[], None]) -> None:
        """Runs `work`; a database that is away is logged, once until it is back."""
        try:
            work()
        except SQLAlchemyError as error:
            if not self._failing:
                # The class only: a driver's text may hold the URL.
                _log.warning("control database cannot be read", error=type(error).__name__)
            self._failing = True
        else:
            if self._failing:
                _log.info("control database can be read again")
            self._failing = False
