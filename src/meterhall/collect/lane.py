"""One target that an agent collects: which of its sessions takes a scrape, and what is known of it.

Scrapes that come in the order in which they were made go through the target's live session, as if the server
had fetched them. After an outage the agent sends live ones first and what its spool holds behind them: a
scrape older than the newest goes through a session of its own, which lives while there is something to fill.

Where a run of scrapes ends, because the agent is silent or the gap is filled, its series are marked stale a
millisecond before the next one would have been due (Prometheus marks at that time too, and also waits first to see
whether the target comes back). So a marker never stands where a later back-fill has a sample, and once the
gap is filled it hides nothing.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from meterhall.collect import status
from meterhall.collect.fetch import Failure
from meterhall.collect.schedule import offset_ms, tick_after
from meterhall.collect.targetloop import TargetState
from meterhall.ingest.scrape import Committed, ScrapeSession
from meterhall.model.target import MonitoringStatus, ScrapeTarget, TargetReport
from meterhall.telemetry.metrics import SCRAPES
from meterhall.wire.reading import Reading

OpenSession = Callable[[ScrapeTarget], ScrapeSession]


@dataclass(frozen=True, slots=True)
class Sessions:
    """How sessions begin. Those that fill a gap must not tell or forget what the target declares now."""

    live: OpenSession
    filling: OpenSession


# Scrapes whose answer was lost come again soon. Older ones the store knows, at a higher price.
_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Reported:
    """One scrape as its agent tells it: a page, or why there is none."""

    time_ms: int
    duration_s: float
    outcome: Reading | Failure


@dataclass(frozen=True, slots=True)
class Taken:
    """A scrape that was appended; it counts when `durable` is done. `report` is None where a newer one is known."""

    reported: Reported
    failure: Failure | None
    committed: Committed
    report: TargetReport | None


class Lane:
    """Not thread-safe: one batch of a host at a time. Raises StoreUnavailable where the store does."""

    def __init__(self, target: ScrapeTarget, sessions: Sessions) -> None:
        self.state = TargetState(target, "unknown", None, 0.0, "")
        self._target = target
        self.stopped = False
        self._sessions = sessions
        self._live: ScrapeSession | None = None
        self._newest_ms = 0
        self._filling: ScrapeSession | None = None
        self._filled_ms = 0
        self._stored: deque[int] = deque(maxlen=_REMEMBERED)

    @property
    def target(self) -> ScrapeTarget:
        """What is collected."""
        return self._target

    @property
    def is_filling(self) -> bool:
        """Whether a back-fill is under way."""
        return self._filling is not None

    def retarget(self, target: ScrapeTarget) -> None:
        """Pace, path or address changed, but not the series."""
        self._target = target
        self.state = replace(self.state, target=target)

    def knows(self, time_ms: int) -> bool:
        """Whether the scrape of this time is on disk, as far as is remembered."""
        return time_ms in self._stored

    def take(self, reported: Reported) -> Taken:
        """Hands a scrape to the store. Raises BadInput for one that is no page at all."""
        session, is_newest = self._session_for(reported.time_ms)
        outcome, failure = reported.outcome, None
        if isinstance(outcome, Failure):
            failure = outcome
            committed = session.commit_failure(reported.time_ms, reported.duration_s)
        else:
            committed = session.commit(outcome, reported.time_ms, reported.duration_s)
            if committed.error is not None:
                failure = status.page_failure(committed.error)
        report = None
        if is_newest:
            self._newest_ms = reported.time_ms
            report = status.report(self.target.target_id, failure, reported.time_ms)
        else:
            self._filled_ms = reported.time_ms
        return Taken(reported, failure, committed, report)

    def settle(self, taken: Taken) -> None:
        """The scrape is on disk."""
        failure, reported = taken.failure, taken.reported
        self._stored.append(reported.time_ms)
        SCRAPES.labels("ok" if failure is None else failure.kind.value).inc()
        if taken.report is None:
            return
        self.stopped = False
        self.state = TargetState(
            self.target,
            "up" if failure is None else "down",
            reported.time_ms,
            reported.duration_s,
            taken.report.fail_reason or "",
        )

    def end_filling(self) -> Future[None] | None:
        """The gap is filled, or nothing more comes of it for now."""
        session, self._filling = self._filling, None
        if session is None:
            return None
        return session.end(self._due_ms(self._filled_ms) - 1).durable

    def stop(self, report: TargetReport) -> Future[None] | None:
        """The agent is silent: the target's series end where the next scrape was due."""
        assert report.status is MonitoringStatus.STOPPED
        self.stopped = True
        self.state = replace(self.state, health="unknown", last_error=report.fail_reason or "")
        if self._live is None:
            return None
        return self._live.end(self._due_ms(self._newest_ms) - 1).durable

    def end(self, now_ms: int) -> Future[None] | None:
        """The target was removed or became another."""
        if self._live is None:
            return None
        return self._live.end(max(now_ms, self._newest_ms + 1)).durable

    def _session_for(self, time_ms: int) -> tuple[ScrapeSession, bool]:
        if time_ms > self._newest_ms:
            if self._live is None:
                self._live = self._sessions.live(self.target)
            return self._live, True
        if self._filling is None:
            self._filling = self._sessions.filling(self.target)
        return self._filling, False

    def _due_ms(self, time_ms: int) -> int:
        """When the scrape after this one would have been made, at the earliest."""
        interval_ms = self.target.interval_ms
        return tick_after(time_ms, interval_ms, offset_ms(self.target.target_id, interval_ms))
