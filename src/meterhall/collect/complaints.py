"""Warnings about what goes on going wrong, without flooding the log."""

import structlog

from meterhall.ports.clock import Clock

log = structlog.get_logger()


class Complaints:
    """Says the same thing at most once a minute, with how often it happened meanwhile."""

    def __init__(self, interval_s: float, clock: Clock) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._said_s: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, event: str, error: Exception, **fields: str) -> None:
        """Warns of an event, unless it was said a moment ago."""
        now_s = self._clock.monotonic()
        said_s = self._said_s.get(event)
        if said_s is not None and now_s - said_s < self._interval_s:
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._said_s[event] = now_s
        log.warning(
            event,
            error=str(error),
            kind=type(error).__name__,
            repeated=self._unsaid.pop(event, 0),
            **fields,
        )
