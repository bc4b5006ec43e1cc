"""Outcomes on their way to the control plane: what changed at once, what did not now and then.

A thousand healthy targets at a second's interval would otherwise write a thousand rows a second to say
that nothing happened. At most one report a target waits here, so memory follows the number of targets.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from meterhall.collect.complaints import Complaints
from meterhall.collect.following import guarded
from meterhall.model.target import MonitoringStatus, TargetReport
from meterhall.ports.clock import Clock

Save = Callable[[Sequence[TargetReport]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Saved:
    status: MonitoringStatus
    result_code: int
    fail_reason: str | None
    at_s: float


class Reports:
    """Reports that wait to be saved. Times are monotonic seconds. Used on the event loop only."""

    def __init__(self, refresh_s: float) -> None:
        self._refresh_s = refresh_s
        self._saved: dict[str, _Saved] = {}
        self._waiting: dict[str, TargetReport] = {}

    def put(self, report: TargetReport, now_s: float) -> None:
        """Takes a report in, unless the same was saved less than `refresh_s` ago."""
        saved = self._saved.get(report.target_id)
        known = (
            saved is not None
            and saved == _saved_as(report, saved.at_s)
            and now_s - saved.at_s < self._refresh_s
        )
        # What waits already is out of date by now, even if it was not saved yet.
        if not known or report.target_id in self._waiting:
            self._waiting[report.target_id] = report

    def waiting(self) -> Sequence[TargetReport]:
        """What should be saved now; it keeps waiting until `saved` says that it was."""
        return list(self._waiting.values())

    def saved(self, reports: Iterable[TargetReport], now_s: float) -> None:
        """These reports are in the database; newer ones that came meanwhile stay."""
        for report in reports:
            self._saved[report.target_id] = _saved_as(report, now_s)
            if self._waiting.get(report.target_id) == report:
                del self._waiting[report.target_id]

    def forget(self, target_id: str) -> None:
        """The target is gone."""
        self._saved.pop(target_id, None)
        self._waiting.pop(target_id, None)


class ReportKeeper:
    """Saves reports in batches, with `save`. Used on the event loop only."""

    def __init__(self, save: Save, refresh_s: float, clock: Clock, complaints: Complaints) -> None:
        self._save = save
        self._reports = Reports(refresh_s)
        self._clock = clock
        self._complaints = complaints

    def put(self, report: TargetReport) -> None:
        """Takes a report in."""
        self._reports.put(report, self._clock.monotonic())

    def forget(self, target_id: str) -> None:
        """The target is gone."""
        self._reports.forget(target_id)

    async def run(self, every_s: float) -> None:
        """Saves what waits, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.flush()

    async def flush(self) -> None:
        """Saves what waits now. Where that fails it keeps waiting."""
        reports = self._reports.waiting()
        if not reports:
            return
        failing = "cannot save the states of targets"
        if await guarded(lambda: self._save(reports), failing, self._complaints):
            self._reports.saved(reports, self._clock.monotonic())


def _saved_as(report: TargetReport, at_s: float) -> _Saved:
    return _Saved(report.status, report.result_code, report.fail_reason, at_s)
