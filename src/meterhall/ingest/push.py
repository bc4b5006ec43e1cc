"""Remote write requests → rows of the caller's project.

What a sender names, it keeps: a push has its own `job` and `instance`. How labels are judged (contract
6.2, threats S6), series by series, the good ones being kept whatever becomes of the others:

    no `__name__`                               skipped in silence, as Prometheus does (204)
    empty values, unsorted labels               dropped; sorted
    a name twice, an empty name, one with       refused, and the reason names the label: the spec of
    control characters, a NUL; not UTF-8;       remote write forbids a 2xx where something was rejected,
    too many labels, too long a name or value   and S6 asks for 400 with the culprit
    a new series too many for the project       refused and named, with LimitExceeded
    `__x__` other than `__name__`               dropped: such labels are messages to a server (HA pairs
                                                send `__replica__`), never part of a series
    native histograms, exemplars                counted and skipped

Samples of one time become a row; rows are appended in one go, oldest first, so a request is there as a whole
or not at all after a crash. Within a request a sample repeated bit by bit counts once; another value for
the same series and time is refused. Ordinary NaNs are made canonical, staleness markers kept.
"""

import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from meterhall.ingest.allowance import (
    ACTIVE_SERIES,
    SAMPLES_PER_SECOND,
    Allowance,
    Allowances,
    series_text,
)
from meterhall.ingest.limits import PushLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.outcome import both, done, refused_by_kind
from meterhall.ingest.rows import merge_rows, only_renamed, only_taken, renamed
from meterhall.model.errors import BadInput, LimitExceeded
from meterhall.model.labels import METRIC_NAME, Labels, label_value, quote
from meterhall.model.samples import NAN, REFUSED, RefArray, Rejection, Row, ValueArray, is_stale
from meterhall.model.tenant import Tenant
from meterhall.ports.append import SampleWriter
from meterhall.telemetry.metrics import SAMPLES_APPENDED, SAMPLES_REFUSED
from meterhall.wire.numbers import format_float
from meterhall.wire.push_layout import KnownSeries
from meterhall.wire.remote_write import RawLabels, WriteRequest, decode, decode_labels

_APPENDED = SAMPLES_APPENDED.labels("push")
_BAD_LABELS = "bad labels"
_OVER_LIMIT = "series limit"
_CULPRIT_CHARS_MAX = 80
_RETRIES_MAX = 3
# Labels that are remembered by their bytes, and how long they may be for that: about 50 MB.
_PAIRS_REMEMBERED_MAX = 65_536
_PAIR_BYTES_MAX = 512
# C0, DEL and C1: what no terminal, log or page should meet in a name.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # noqa: TID251 - our own pattern
# In place of a ref, for series that are not stored.
_SKIPPED = -2
_UNFIT = -3


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a push. It may be acknowledged when `durable` is done.

    `reasons` are the distinct reasons of refusals, in Prometheus' words, the first few of them; empty means
    that all was accepted. `skipped` samples were not stored and are no reason for a 4xx. `over_limit`
    says that new series were refused because the project is over a ceiling.
    """

    accepted: int
    rejected: int
    skipped: int
    reasons: Sequence[str]
    histograms: int
    exemplars: int
    durable: Future[None]
    over_limit: LimitExceeded | None = None


class PushReceiver:
    """Thread-safe. Remembers, tenant by tenant, what repeats."""

    def __init__(
        self,
        writer_for: Callable[[Tenant], SampleWriter],
        catalog: MetadataCatalog,
        limits: PushLimits,
        allowances: Allowances,
    ) -> None:
        self._writer_for = writer_for
        self._catalog = catalog
        self._limits = limits
        self._allowances = allowances
        self._known: dict[Tenant, KnownSeries] = {}

    def receive(self, tenant: Tenant, body: bytes) -> Received:
        """Raises WriteRequestError for a body that is none, StoreUnavailable when the store is.

        LimitExceeded where the project is over its rate: nothing was taken then.
        """
        allowance = self._allowances.of(tenant)
        try:
            allowance.admit()
        except LimitExceeded:
            allowance.refuse(SAMPLES_PER_SECOND, 1)
            raise
        known = self._known.get(tenant) or self._known.setdefault(
            tenant, KnownSeries(self._limits.cached_layout_bytes_max)
        )
        request = decode(body, known, self._limits.decoded_bytes_max)
        if request.metadata:
            self._catalog.pushed(tenant, request.metadata)
        allowance.charge(len(request.values))
        push = _Push(self._writer_for(tenant), known, self._limits.reasons_max, allowance)
        received = push.take(request)
        if known.size > self._limits.cached_series_max:
            self._known.pop(tenant, None)
        return received


class _Push:
    """One request on its way to one tenant's writer."""

    def __init__(
        self, writer: SampleWriter, known: KnownSeries, reasons_max: int, allowance: Allowance
    ) -> None:
        self._writer = writer
        self._known = known
        self._reasons_max = reasons_max
        self._allowance = allowance
        self._over_limit: LimitExceeded | None = None
        self._accepted = 0
        self._rejected = 0
        self._reasons: dict[str, None] = {}
        self._durable: Future[None] | None = None

    def take(self, request: WriteRequest) -> Received:
        of_blocks = self._refs_of_blocks(request)
        refs = of_blocks[request.owners]
        times, values = request.times_ms, _canonical(request.values)
        skipped = 0
        if refs.min(initial=0) < 0:
            stored = refs >= 0
            self._refuse(_BAD_LABELS, int(np.count_nonzero(refs == _UNFIT)))
            self._refuse(_OVER_LIMIT, int(np.count_nonzero(refs == REFUSED)))
            skipped = int(np.count_nonzero(refs == _SKIPPED))
            times, refs, values = times[stored], refs[stored], values[stored]
        rows = self._rows(times, refs, values)
        if rows:
            self._append(rows, request, of_blocks)
        _APPENDED.inc(self._accepted)
        return Received(
            self._accepted,
            self._rejected,
            skipped,
            list(self._reasons),
            request.histograms,
            request.exemplars,
            self._durable or done(),
            self._over_limit,
        )

    def _refs_of_blocks(self, request: WriteRequest) -> RefArray:
        """A ref for each series of the request, or _SKIPPED, _UNFIT or REFUSED."""
        if not request.fresh:
            return request.refs
        good: dict[bytes, Labels] = {}
        unfit: dict[bytes, int] = {}
        for block, raw in request.fresh.items():
            try:
                labels = _judge(raw, self._allowance)
            except BadInput as error:
                unfit[block] = _UNFIT
                self._add_reason(str(error))
            else:
                if label_value(labels, METRIC_NAME):
                    good[block] = labels
                else:
                    unfit[block] = _SKIPPED
        interned = self._intern(good)
        self._known.add({block: ref for block, ref in interned.items() if ref != REFUSED})
        names = interned | unfit
        refs = request.refs
        for place, block in request.fresh_blocks.items():
            refs[place] = names[block]
        return refs

    def _intern(self, series: dict[bytes, Labels]) -> dict[bytes, int]:
        """Refs for label blocks, with job and instance as the clock; or REFUSED."""
        by_clock: dict[str, list[bytes]] = {}
        for block, labels in series.items():
            clock = f"push/{label_value(labels, 'job')}\xff{label_value(labels, 'instance')}"
            by_clock.setdefault(clock, []).append(block)
        interned: dict[bytes, int] = {}
        for clock, blocks in by_clock.items():
            wanted = [series[block] for block in blocks]
            refs = self._writer.intern(clock, wanted, self._allowance.series_max)
            interned.update(zip(blocks, refs.tolist(), strict=True))
        refused = [block for block, ref in interned.items() if ref == REFUSED]
        if refused:
            self._name_refused([series[block] for block in refused])
        return interned

    def _name_refused(self, series: Sequence[Labels]) -> None:
        self._allowance.refuse(ACTIVE_SERIES, len(series))
        self._over_limit = self._allowance.series_refusal(len(series))
        self._add_reason(str(self._over_limit))
        for labels in series[: self._reasons_max]:
            self._add_reason(f"refused: {series_text(labels)}")

    def _rows(self, times: NDArray[np.int64], refs: RefArray, values: ValueArray) -> list[Row]:
        """Rows by time. What is there twice is accepted or refused here: a row holds a series once."""
        rows = merge_rows(times, refs, values)
        if sum(len(row.refs) for row in rows) == len(refs):
            return rows
        bits = values.view(np.uint64).tolist()
        first: dict[tuple[int, int], int] = {}
        for place, sample in enumerate(zip(times.tolist(), refs.tolist(), strict=True)):
            kept = first.setdefault(sample, place)
            if kept == place:
                continue
            if bits[kept] == bits[place]:
                self._accepted += 1
            else:
                self._reject(
                    f"duplicate sample for timestamp {sample[0]}; overrides not allowed: existing "
                    f"{format_float(float(values[kept]))}, new value {format_float(float(values[place]))}"
                )
        return rows

    def _append(self, rows: Sequence[Row], request: WriteRequest, of_blocks: RefArray) -> None:
        """Appends; series that the store has forgotten are interned and appended again."""
        for _ in range(_RETRIES_MAX):
            appended = self._writer.append(rows)
            self._accepted += appended.accepted
            self._rejected += len(appended.rejections)
            for rejection in appended.rejections:
                self._add_reason(rejection.reason)
            for kind, samples in refused_by_kind(appended.rejections).items():
                SAMPLES_REFUSED.labels(kind).inc(samples)
            durable = appended.durable
            self._durable = durable if self._durable is None else both(self._durable, durable)
            if not appended.forgotten:
                return
            names = self._interned_again(appended.forgotten, request, of_blocks)
            of_blocks = renamed(of_blocks, names)
            rows = [only_renamed(row, names) for row in rows]
            self._refuse(_OVER_LIMIT, sum(int((row.refs == REFUSED).sum()) for row in rows))
            rows = [row for row in map(only_taken, rows) if len(row.refs)]

    def _interned_again(
        self, forgotten: Sequence[int], request: WriteRequest, of_blocks: RefArray
    ) -> dict[int, int]:
        """Old ref → new ref. Another request may have interned them again already."""
        lost = set(forgotten)
        pairs = zip(request.blocks(), of_blocks.tolist(), strict=True)
        old = {block: ref for block, ref in pairs if ref in lost}
        series = {block: _judge(decode_labels(block), self._allowance) for block in old}
        interned = self._intern(series)
        names = {ref: interned[block] for block, ref in old.items()}
        self._known.rename({ref: name for ref, name in names.items() if name != REFUSED})
        return names

    def _refuse(self, kind: str, samples: int) -> None:
        if samples:
            self._rejected += samples
            SAMPLES_REFUSED.labels(kind).inc(samples)

    def _reject(self, reason: str) -> None:
        self._rejected += 1
        self._add_reason(reason)
        for kind in refused_by_kind((Rejection(0, 0, 0.0, reason),)):
            SAMPLES_REFUSED.labels(kind).inc()

    def _add_reason(self, reason: str) -> None:
        if len(self._reasons) < self._reasons_max:
            self._reasons[reason] = None


def _judge(raw: RawLabels, allowance: Allowance) -> Labels:
    """The labels to store, perhaps without a metric name. Raises BadInput with the culprit."""
    pairs = [
        _pair(name, value) if len(name) + len(value) <= _PAIR_BYTES_MAX else _new_pair(name, value)
        for name, value in raw
    ]
    names = [pair[0] for pair in pairs]
    if len(set(names)) != len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise BadInput(f"duplicate label name {_culprit(twice)}")
    labels = tuple(sorted([pair for pair in pairs if pair[1]]))
    allowance.check_labels(labels)
    return labels


def _new_pair(raw_name: bytes, raw_value: bytes) -> tuple[str, str]:
    """A label as text; its value is empty where it is not to be stored. Raises BadInput."""
    name = _decoded(raw_name, "label name")
    value = _decoded(raw_value, "value of a label")
    if not name:
        raise BadInput(f"empty label name, with value {_culprit(value)}")
    if _CONTROL.search(name):
        raise BadInput(f"control character in label name {_culprit(name)}")
    if name == METRIC_NAME:
        if _CONTROL.search(value):
            raise BadInput(f"control character in metric name {_culprit(value)}")
    elif name.startswith("__") and name.endswith("__"):
        value = ""
    elif "\0" in value:
        raise BadInput(f"NUL in the value of label {_culprit(name)}")
    return sys.intern(name), value


# Series have most of their labels in common; so those are decoded once, and share their memory.
_pair = lru_cache(maxsize=_PAIRS_REMEMBERED_MAX)(_new_pair)


def _decoded(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        shown = raw[:_CULPRIT_CHARS_MAX].decode("utf-8", "backslashreplace")
        raise BadInput(f"{what} is not UTF-8: {quote(shown)}") from None


def _culprit(text: str) -> str:
    """The text quoted, and cut where it is long."""
    return quote(text[:_CULPRIT_CHARS_MAX])


def _canonical(values: ValueArray) -> ValueArray:
    """The values with every NaN but the staleness marker made the one ordinary NaN."""
    nans = np.isnan(values)
    if not nans.any():
        return values
    ordinary = nans & ~is_stale(values)
    return np.where(ordinary, NAN, values) if ordinary.any() else values
