"""What waits to be sent: the newest scrapes in memory, all others in the spool; batches, and their answers.

Live scrapes go first. What does not fit into memory, or was left by an earlier run, is back-fill and is read
from the spool in order. An entry leaves when the service has stored it or says that it never will; until
then it is sent again, with the same number and the same time.

A page's shape travels with it until the service has stored a page of that shape, and again when the service
says that it does not know it.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from msgspec.structs import replace

from meterhall.agent.spool import Entry, Spool
from meterhall.agent.spool_format import SpooledScrape
from meterhall.agent.timekeeping import AgentClock
from meterhall.collect.status import fail_reason
from meterhall.wire.agent_calls import ReportAnswer, ReportLimits
from meterhall.wire.agent_report import (
    FailedScrape,
    Scrape,
    SplitPage,
    WholePage,
    encode_batch,
)

log = structlog.get_logger()

_LIVE_MAX: Final = 256
_LIVE_BYTES_MAX: Final = 8 << 20
# What waited longer when sending failed is no longer live: agents that return together send it as back-fill.
_LIVE_AGE_S_MAX: Final = 120.0
_BATCH_SCRAPES_MAX: Final = 200
_BATCH_BYTES: Final = 1 << 20
_SHAPES_MAX: Final = 1000
# What a scrape costs beside its page.
_SCRAPE_BYTES: Final = 200
# Numbers of scrapes that could not be spooled; a spooled one's is below.
_UNSPOOLED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Parcel:
    """One batch, ready to be sent. `with_shape` are the numbers whose page carries its shape."""

    entries: tuple[Entry, ...]
    body: bytes
    dropped: int
    with_shape: frozenset[int]


class Outbox:
    """`put` and `put_unspooled` may be called on any thread, the rest on one at a time."""

    def __init__(self, spool: Spool, clock: AgentClock) -> None:
        self._spool = spool
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[int, Entry] = {}
        self._live_since_s: dict[int, float] = {}
        self._live_bytes = 0
        self._unspooled = _UNSPOOLED
        self._lost = 0
        # Back-fill that was read and is not delivered yet, and where reading goes on.
        self._in_hand: dict[int, Entry] = {}
        self._reading: Iterator[Entry] | None = None
        self._known_shapes: OrderedDict[bytes, None] = OrderedDict()
        self._asked_for: set[int] = set()
        self._scrapes_max = _BATCH_SCRAPES_MAX

    @property
    def waiting(self) -> int:
        """How many scrapes are not delivered."""
        with self._lock:
            unspooled = sum(seq >= _UNSPOOLED for seq in self._live)
        return self._spool.waiting + unspooled

    @property
    def has_backfill(self) -> bool:
        """Whether something waits that is not live."""
        with self._lock:
            spooled = sum(seq < _UNSPOOLED for seq in self._live)
        return self._spool.waiting > spooled

    def put(self, entry: Entry) -> None:
        """A scrape that is on disk, to be sent at once."""
        with self._lock:
            self._add(entry)

    def put_unspooled(self, scrape: SpooledScrape, shape: bytes | None) -> None:
        """A scrape that the disk did not take: it lives in memory, as long as there is room."""
        with self._lock:
            self._unspooled += 1
            self._add(Entry(self._unspooled, scrape, shape))

    def live(self, limits: ReportLimits) -> Parcel | None:
        """The next batch of live scrapes."""
        with self._lock:
            entries = list(self._live.values())
        return self._parcel(self._fitting(entries, limits))

    def backfill(self, limits: ReportLimits) -> Parcel | None:
        """The next batch of what is older. Blocks for the disk."""
        return self._parcel(self._fitting(self._older(), limits))

    def delivered(self, parcel: Parcel, answer: ReportAnswer) -> None:
        """Takes in what became of a batch. Blocks for the disk."""
        self._scrapes_max = min(_BATCH_SCRAPES_MAX, self._scrapes_max * 2)
        unknown = set(answer.unknown_shapes)
        refused = {each.seq: each.reason for each in answer.refused}
        done = []
        for entry in parcel.entries:
            if entry.seq in unknown and self._ask_again(entry, parcel):
                continue
            if entry.seq in refused:
                _refusal(entry, refused[entry.seq])
            elif entry.seq not in unknown:
                self._learn_shape(entry)
            done.append(entry.seq)
        self._finish(done)
        from_spool = min(parcel.dropped, self._spool.dropped)
        self._spool.told(from_spool)
        self._lost -= parcel.dropped - from_spool

    def unacceptable(self, parcel: Parcel, reason: str) -> bool:
        """The service cannot take this batch: smaller ones are tried, down to the scrape that is to blame.

        True where that scrape is found; it is dropped, and it is said.
        """
        if len(parcel.entries) > 1:
            self._scrapes_max = len(parcel.entries) // 2
            return False
        entry = parcel.entries[0]
        _refusal(entry, reason)
        self._finish([entry.seq])
        return True

    def failed(self) -> None:
        """A batch could not be sent."""
        horizon_s = self._clock.monotonic() - _LIVE_AGE_S_MAX
        with self._lock:
            for seq, since_s in list(self._live_since_s.items()):
                if seq < _UNSPOOLED and since_s < horizon_s:
                    self._forget(seq)

    def expire(self) -> None:
        """Drops what is too old, where the time is certain. Blocks for the disk."""
        if self._clock.certain:
            self._spool.expire(self._clock.now_ms())

    def _add(self, entry: Entry) -> None:
        self._live[entry.seq] = entry
        self._live_since_s[entry.seq] = self._clock.monotonic()
        self._live_bytes += _size(entry)
        while len(self._live) > _LIVE_MAX or self._live_bytes > _LIVE_BYTES_MAX:
            oldest = next(iter(self._live))
            self._forget(oldest)
            if oldest >= _UNSPOOLED:
                self._lost += 1
                log.warning("a scrape is lost: the disk did not take it, the service is away")

    def _older(self) -> Iterator[Entry]:
        yield from list(self._in_hand.values())
        if self._reading is None:
            self._reading = self._spool.unsent(_Both(self._live, self._in_hand))
        for entry in self._reading:
            self._in_hand[entry.seq] = entry
            yield entry
        self._reading = None

    def _fitting(self, entries: Iterable[Entry], limits: ReportLimits) -> list[Entry]:
        # Compressed bytes are fewer, but for rubbish; half leaves room for what they are wrapped in.
        bytes_max = min(_BATCH_BYTES, limits.batch_decoded_bytes_max // 2, limits.batch_bytes_max)
        fitting: list[Entry] = []
        total = 0
        for entry in entries:
            total += _size(entry) + len(entry.shape or b"")
            if fitting and total > bytes_max:
                break
            fitting.append(entry)
            if len(fitting) >= self._scrapes_max:
                break
        return fitting

    def _parcel(self, entries: list[Entry]) -> Parcel | None:
        if not entries:
            return None
        scrapes = [self._scrape(entry) for entry in entries]
        with_shape = frozenset(
            each.seq
            for each in scrapes
            if isinstance(each.outcome, SplitPage) and each.outcome.shape is not None
        )
        dropped = self._spool.dropped + self._lost
        return Parcel(tuple(entries), encode_batch(scrapes, dropped), dropped, with_shape)

    def _scrape(self, entry: Entry) -> Scrape:
        kept, outcome = entry.scrape, entry.scrape.outcome
        if isinstance(outcome, SplitPage):
            known = outcome.shape_id in self._known_shapes and entry.seq not in self._asked_for
            outcome = replace(outcome, shape=None if known else entry.shape)
        time_ms = self._clock.resolved(kept)
        return Scrape(entry.seq, kept.target_id, time_ms, kept.duration_s, outcome)

    def _ask_again(self, entry: Entry, parcel: Parcel) -> bool:
        """Whether a page of unknown shape can be sent again with it."""
        outcome = entry.scrape.outcome
        if isinstance(outcome, SplitPage):
            self._known_shapes.pop(outcome.shape_id, None)
            if entry.shape is not None and entry.seq not in parcel.with_shape:
                self._asked_for.add(entry.seq)
                return True
        _refusal(entry, "nobody knows the shape of its page")
        return False

    def _learn_shape(self, entry: Entry) -> None:
        outcome = entry.scrape.outcome
        if isinstance(outcome, SplitPage):
            self._known_shapes[outcome.shape_id] = None
            self._known_shapes.move_to_end(outcome.shape_id)
            if len(self._known_shapes) > _SHAPES_MAX:
                self._known_shapes.popitem(last=False)

    def _finish(self, done: list[int]) -> None:
        self._spool.delivered([seq for seq in done if seq < _UNSPOOLED])
        self._asked_for.difference_update(done)
        with self._lock:
            for seq in done:
                self._in_hand.pop(seq, None)
                self._forget(seq)

    def _forget(self, seq: int) -> None:
        """It is live no more; the lock is held."""
        entry = self._live.pop(seq, None)
        if entry is not None:
            self._live_bytes -= _size(entry)
            del self._live_since_s[seq]


class _Both:
    """Membership in either of two dicts, as they are when it is asked."""

    def __init__(self, first: dict[int, Entry], second: dict[int, Entry]) -> None:
        self._first = first
        self._second = second

    def __contains__(self, seq: object) -> bool:
        return seq in self._first or seq in self._second


def _size(entry: Entry) -> int:
    match entry.scrape.outcome:
        case WholePage(body=body):
            return len(body) + _SCRAPE_BYTES
        case SplitPage(words=words):
            return len(words) + _SCRAPE_BYTES
        case FailedScrape():
            return _SCRAPE_BYTES


def _refusal(entry: Entry, reason: str) -> None:
    log.warning(
        "a scrape can never be stored and is dropped",
        target=entry.scrape.target_id,
        time_ms=entry.scrape.time_ms,
        reason=fail_reason(reason),
    )
