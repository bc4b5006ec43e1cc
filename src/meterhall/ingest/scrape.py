"""One target's collections: page → one append of samples, synthetic series and staleness markers.

A session is made for a target and lives as long as the target does. Per collection it is told what came
of the fetch, and hands the store at most one append, so a collection is there as a whole or not at all:

    commit_page      the page parsed and within limits: its samples, markers for series that are gone,
    commit           `up` 1 and the other synthetic series. A page that does not parse is a failure.
    commit_failure   no page: markers for all series of the last collection, `up` 0
    end              the target was removed or moved: markers for everything, synthetic series included

Contract: prometheus-http-api.md 5.2 and 5.4-5.8, system-api.md "What collection writes".

A page that repeats its series (wire.page: the same Shape object) costs no Python per sample here: the refs
are kept as an array beside the shape. Where an exporter sends a series that is one of the synthetic ones
to the label, ours wins.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from meterhall.ingest.allowance import ACTIVE_SERIES, Allowance
from meterhall.ingest.limits import ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.outcome import both, done, refused_by_kind
from meterhall.ingest.rows import merge_rows, only_renamed, only_taken, renamed
from meterhall.ingest.stamp import BadLabels, stamp
from meterhall.model.errors import ExpositionError, LimitExceeded, TooLarge
from meterhall.model.labels import METRIC_NAME, Labels, make_labels
from meterhall.model.samples import REFUSED, STALE, RefArray, Row, TimestampArray
from meterhall.model.target import ScrapeTarget
from meterhall.ports.append import SampleWriter
from meterhall.telemetry.metrics import SAMPLES_APPENDED, SAMPLES_REFUSED
from meterhall.wire.page import Page, PageReader, Shape
from meterhall.wire.reading import BodyReading, Reading

SYNTHETIC = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)

_LOG = structlog.get_logger()
_APPENDED = SAMPLES_APPENDED.labels("scrape")
_NO_REFS: RefArray = np.empty(0, np.int64)
# A store that forgets a series while we intern it again has a fault; this ends such a loop.
_RETRIES_MAX = 3


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of one collection.

    `error` says why a page was not taken: ExpositionError (contract: RESULT_PARSE) or TooLarge
    (RESULT_LIMIT), or that only its old series were, LimitExceeded (RESULT_LIMIT too); its text is fit for a
    fail reason. `accepted` counts all samples written, markers and
    synthetic ones included; `refused` counts, by kind, those the store did not take. The collection may
    be acknowledged when `durable` is done.
    """

    accepted: int
    refused: Mapping[str, int]
    error: ExpositionError | TooLarge | LimitExceeded | None
    durable: Future[None]
    samples_scraped: int
    series_added: int


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where a shape's samples go: `refs[i]` is the series of sample i.

    `take` are the places of samples that are the first of their series and not one of ours; `refused` those
    of series that the project has no room for.
    """

    shape: Shape
    refs: RefArray
    take: NDArray[np.int64]
    refused: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """What one collection is going to write, and what is true of the target once it is written."""

    rows: Sequence[Row]
    layout: _Layout | None
    series: RefArray
    tracked: RefArray


class ScrapeSession:
    """Not thread-safe: a target is collected once at a time.

    All methods raise StoreUnavailable, and the session is then as if they had not been called.
    """

    def __init__(
        self,
        target: ScrapeTarget,
        writer: SampleWriter,
        catalog: MetadataCatalog,
        limits: ScrapeLimits,
        allowance: Allowance,
    ) -> None:
        self._target = target
        self._writer = writer
        self._catalog = catalog
        self._allowance = allowance
        self._clock = f"scrape/{target.target_id}"
        self._stamps = {
            "instance": f"{target.host_name}:{target.port}",
            "job": target.job,
            "openmetrics_id": target.host_id,
        }
        self._reader = PageReader(limits.samples_max)
        self._layout: _Layout | None = None
        self._synthetic: RefArray = _NO_REFS
        # Series of the last successful page, to count new ones; and those that get a marker when they
        # are gone: less those with timestamps of their own, and none after a failure.
        self._series: RefArray = _NO_REFS
        self._tracked: RefArray = _NO_REFS

    def commit_page(
        self, body: bytes, content_type: str, start_ms: int, duration_s: float
    ) -> Committed:
        """Takes a fetched page. One that does not parse or is over a limit counts as a failure.

        Of a page with new series that the project has no room for the others are taken, with `up` 0.
        """
        return self.commit(BodyReading(self._reader, body, content_type), start_ms, duration_s)

    def commit(self, reading: Reading, start_ms: int, duration_s: float) -> Committed:
        """Takes a page in whichever form it came."""
        try:
            page = reading.page()
            layout = self._laid_out(page.shape, reading)
        except (ExpositionError, TooLarge) as error:
            return self._commit_fault(start_ms, duration_s, error)
        if layout is self._layout and page.times_ms is None:
            added = 0
            draft = self._repeated(page, layout, start_ms, duration_s)
        else:
            added, draft = self._changed(page, layout, start_ms, duration_s)
        accepted, refused, durable = self._write(draft)
        self._catalog.scraped(self._target.tenant, self._target.target_id, page.shape.declared)
        over_limit = self._over_limit(layout, reading)
        return Committed(accepted, refused, over_limit, durable, len(page.values), added)

    def commit_failure(
        self, start_ms: int, duration_s: float, _failure: object = None
    ) -> Committed:
        """There was no page to take. Why does not matter here: samples only say that the target is down."""
        return self._commit_fault(start_ms, duration_s, None)

    def end(self, time_ms: int) -> Committed:
        """The target is gone: markers for all its series. The session may begin anew afterwards."""
        refs = np.concatenate((self._synthetic, self._tracked))
        if not len(refs):
            return Committed(0, {}, None, done(), 0, 0)
        rows = (Row(time_ms, refs, np.full(len(refs), STALE)),)
        accepted, refused, durable = self._write(_Draft(rows, None, _NO_REFS, _NO_REFS))
        self._synthetic = _NO_REFS
        self._catalog.forget(self._target.tenant, self._target.target_id)
        return Committed(accepted, refused, None, durable, 0, 0)

    def _commit_fault(
        self, start_ms: int, duration_s: float, error: ExpositionError | TooLarge | None
    ) -> Committed:
        refs = np.concatenate((self._synthetic_refs(), self._tracked))
        values = np.full(len(refs), STALE)
        values[: len(SYNTHETIC)] = (0.0, duration_s, 0.0, 0.0, 0.0)
        rows = (Row(start_ms, refs, values),)
        draft = _Draft(rows, self._layout, self._series, _NO_REFS)
        accepted, refused, durable = self._write(draft)
        return Committed(accepted, refused, error, durable, 0, 0)

    def _repeated(self, page: Page, layout: _Layout, start_ms: int, duration_s: float) -> _Draft:
        """The series of the page before, none with a timestamp: nothing is new and nothing vanished."""
        series = layout.refs[layout.take]
        count = float(len(page.values))
        row = Row(
            start_ms,
            np.concatenate((self._synthetic_refs(), series)),
            np.concatenate(((1.0, duration_s, count, count, 0.0), page.values[layout.take])),
        )
        return _Draft((row,), layout, series, series)

    def _changed(
        self, page: Page, layout: _Layout, start_ms: int, duration_s: float
    ) -> tuple[int, _Draft]:
        """Any other page: which series are new, which vanished, which have times of their own."""
        synthetic = self._synthetic_refs()
        taken = layout.refs != REFUSED
        theirs = taken & ~np.isin(layout.refs, synthetic)
        times, untimed = _times(page, start_ms)
        series = np.unique(layout.refs[theirs])
        tracked = np.unique(layout.refs[theirs & untimed])
        added = len(np.setdiff1d(series, self._series, assume_unique=True))
        vanished = np.setdiff1d(self._tracked, tracked, assume_unique=True)
        count = float(len(page.values))
        up = 0.0 if len(layout.refused) else 1.0
        now = np.full(len(synthetic) + len(vanished), start_ms, np.int64)
        # Of samples with equal series and time the first wins: ours, then the page's, then markers.
        rows = merge_rows(
            np.concatenate((now[: len(synthetic)], times[taken], now[len(synthetic) :])),
            np.concatenate((synthetic, layout.refs[taken], vanished)),
            np.concatenate(
                (
                    (up, duration_s, count, count, float(added)),
                    page.values[taken],
                    np.full(len(vanished), STALE),
                )
            ),
        )
        return added, _Draft(rows, layout, series, tracked)

    def _laid_out(self, shape: Shape, reading: Reading) -> _Layout:
        """Raises ExpositionError for labels that no series may have, TooLarge for those over a limit."""
        old = self._layout
        if old is not None and old.shape is shape and not len(old.refused):
            return old
        known = {} if old is None else _taken(old)
        fresh: dict[Labels, Labels] = {}
        for index, scraped in enumerate(shape.series):
            if scraped in known or scraped in fresh:
                continue
            try:
                fresh[scraped] = stamp(scraped, self._stamps, self._allowance.check_labels)
            except BadLabels as error:
                raise ExpositionError(reading.line_of(index), str(error)) from None
            except TooLarge as error:
                raise TooLarge(f"line {reading.line_of(index)}: {error}") from None
        # Ours first: where there is little room, `up` is worth more than what it speaks of.
        synthetic = self._synthetic_refs()
        interned = self._intern(list(fresh.values()))
        known.update(zip(fresh, interned.tolist(), strict=True))
        refs = np.array([known[scraped] for scraped in shape.series], np.int64)
        return _layout(shape, refs, synthetic)

    def _synthetic_refs(self) -> RefArray:
        if not len(self._synthetic) or REFUSED in self._synthetic:
            names = [make_labels({METRIC_NAME: name, **self._stamps}) for name in SYNTHETIC]
            self._synthetic = self._intern(names)
        return self._synthetic

    def _intern(self, series: Sequence[Labels]) -> RefArray:
        """Refs; REFUSED for new series over the project's limit, or while it is over its rate."""
        series_max = 0 if self._allowance.exhausted else self._allowance.series_max
        return self._writer.intern(self._clock, series, series_max)

    def _over_limit(self, layout: _Layout, reading: Reading) -> LimitExceeded | None:
        """What to tell of a page whose new series were refused. It names the first by its line."""
        if not len(layout.refused):
            return None
        self._allowance.refuse(ACTIVE_SERIES, len(layout.refused))
        refusal = self._allowance.series_refusal(len(layout.refused))
        line = reading.line_of(int(layout.refused[0]))
        return LimitExceeded(f"line {line}: {refusal}", refusal.retry_after_s)

    def _write(self, draft: _Draft) -> tuple[int, Mapping[str, int], Future[None]]:
        """One append, and then the new state. What the store has forgotten is interned and written again."""
        rows = [only_taken(row) for row in draft.rows]
        self._allowance.charge(sum(len(row.refs) for row in rows), collected=True)
        appended = self._writer.append(rows)
        self._layout, self._series, self._tracked = draft.layout, draft.series, draft.tracked
        accepted, durable = appended.accepted, appended.durable
        rejections = list(appended.rejections)
        for _ in range(_RETRIES_MAX):
            if not appended.forgotten:
                break
            names = self._interned_again(appended.forgotten)
            rows = [only_taken(only_renamed(row, names)) for row in rows]
            appended = self._writer.append([row for row in rows if len(row.refs)])
            accepted += appended.accepted
            rejections.extend(appended.rejections)
            durable = both(durable, appended.durable)
        refused = refused_by_kind(rejections)
        self._count(accepted, refused)
        return accepted, refused, durable

    def _interned_again(self, forgotten: Sequence[int]) -> dict[int, int]:
        """Old ref → new ref, of series that are still ours. A vanished one needs no marker any more."""
        lost = set(forgotten)
        labels: dict[int, Labels] = {}
        for name, ref in zip(SYNTHETIC, self._synthetic.tolist(), strict=False):
            if ref in lost:
                labels[ref] = make_labels({METRIC_NAME: name, **self._stamps})
        if self._layout is not None:
            for scraped, ref in zip(
                self._layout.shape.series, self._layout.refs.tolist(), strict=True
            ):
                if ref in lost and ref not in labels:
                    labels[ref] = stamp(scraped, self._stamps, self._allowance.check_labels)
        interned = self._intern(list(labels.values()))
        names = dict(zip(labels, interned.tolist(), strict=True))
        self._synthetic = renamed(self._synthetic, names)
        if self._layout is not None:
            refs = renamed(self._layout.refs, names)
            self._layout = _layout(self._layout.shape, refs, self._synthetic)
        self._series = _sorted(renamed(self._series, names))
        self._tracked = _sorted(renamed(self._tracked, names))
        return names

    def _count(self, accepted: int, refused: Mapping[str, int]) -> None:
        _APPENDED.inc(accepted)
        for kind, samples in refused.items():
            SAMPLES_REFUSED.labels(kind).inc(samples)
        if refused:
            _LOG.warning("samples refused", target=self._target.target_id, **_as_fields(refused))


def _as_fields(refused: Mapping[str, int]) -> dict[str, int]:
    return {kind.replace(" ", "_"): samples for kind, samples in refused.items()}


def _layout(shape: Shape, refs: RefArray, synthetic: RefArray) -> _Layout:
    _, first = np.unique(refs, return_index=True)
    take = np.sort(first)
    take = take[~np.isin(refs[take], synthetic) & (refs[take] != REFUSED)]
    return _Layout(shape, refs, take, np.flatnonzero(refs == REFUSED))


def _taken(layout: _Layout) -> dict[Labels, int]:
    """Refs of the shape's series that the project had room for."""
    pairs = zip(layout.shape.series, layout.refs.tolist(), strict=True)
    return {labels: ref for labels, ref in pairs if ref != REFUSED}


def _sorted(refs: RefArray) -> RefArray:
    return np.sort(refs[refs != REFUSED])


def _times(page: Page, start_ms: int) -> tuple[TimestampArray, NDArray[np.bool_]]:
    """The time of each sample, and whether the page left it to us."""
    if page.times_ms is None:
        return np.full(len(page.values), start_ms, np.int64), np.ones(len(page.values), np.bool_)
    untimed = np.array([time_ms is None for time_ms in page.times_ms], np.bool_)
    times = [start_ms if time_ms is None else time_ms for time_ms in page.times_ms]
    return np.array(times, np.int64), untimed
