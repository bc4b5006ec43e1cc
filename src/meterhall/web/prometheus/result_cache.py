"""Answers of range queries, kept so that a refreshed dashboard costs only its new steps.

An entry is the last answer to one text of one tenant at one step and look-back. Of it, those steps are used again that lie
on the asked grid, are not before its start, and look at nothing that has changed since (`ports.changes`): the
newest steps, whose samples were still arriving, are found again with every refresh, and a sample that comes an hour late takes
the steps of an hour with it. Other steps are evaluated and joined.

Only what may be put together is kept: expressions whose steps stand alone (`query.stepwise`), and answers without annotations,
since those tell of the range as a whole. A step that is used again is what the evaluator said when it was asked over another range;
floating-point sums may differ in their last digits between ranges, with a cache as without.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from meterhall.model.tenant import Tenant
from meterhall.ports.changes import Changes
from meterhall.promql.nodes import Expr
from meterhall.query.budget import Budget
from meterhall.query.result import GridResult, QueryResult
from meterhall.query.splice import between, joined, memory_bytes, owned
from meterhall.query.stepwise import looks_ahead_ms
from meterhall.telemetry.metrics import RANGE_STEPS

# Who asks, what, at which step, and how far back selectors look. The tenant comes first.
Key = tuple[Tenant, str, int, int | None]
# Evaluates from a start to an end, both in milliseconds.
Evaluate = Callable[[int, int], QueryResult]

# An answer larger than this share of the cache is not kept.
_SHARE_MAX = 4
_KEPT, _EVALUATED = RANGE_STEPS.labels("kept"), RANGE_STEPS.labels("evaluated")


@dataclass(frozen=True, slots=True)
class RangeQuestion:
    """One range query. `tree` is as it was parsed, its durations not settled."""

    key: Key
    tree: Expr
    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def last_ms(self) -> int:
        """The time of the last step."""
        return self.end_ms - (self.end_ms - self.start_ms) % self.step_ms


@dataclass(frozen=True, slots=True)
class _Entry:
    """An answer, and what had been written when it was begun to be found."""

    grid: GridResult
    revision: int


class ResultCache:
    """Entries of all tenants, the longest unused dropped first. Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def answer(
        self, question: RangeQuestion, changes: Changes, budget: Budget, evaluate: Evaluate
    ) -> QueryResult:
        """What `evaluate(start, end)` says, of which the steps that are known are not evaluated."""
        ahead_ms = looks_ahead_ms(question.tree)
        if ahead_ms is None:
            return evaluate(question.start_ms, question.end_ms)
        revision = changes.revision()
        known = self._known(question, changes, ahead_ms)
        if known is None:
            result, grid = _evaluated(question, question.start_ms, evaluate)
        else:
            budget.reserve(len(known.labels), len(known.times))
            budget.hold(known.values.size)
            _KEPT.inc(len(known.times))
            following_ms = int(known.times[-1]) + question.step_ms
            if following_ms > question.end_ms:
                return QueryResult(known)
            result, fresh = _evaluated(question, following_ms, evaluate)
            grid = joined(known, fresh)
        if not result.warnings and not result.infos:
            self._keep(question.key, _Entry(owned(grid), revision))
        return replace(result, value=grid)

    def _known(self, question: RangeQuestion, changes: Changes, ahead_ms: int) -> GridResult | None:
        """The first steps of the answer, as far as they are kept and still true."""
        with self._lock:
            entry = self._entries.get(question.key)
            if entry is None:
                return None
            self._entries.move_to_end(question.key)
        begun_ms = int(entry.grid.times[0])
        if question.start_ms < begun_ms or (question.start_ms - begun_ms) % question.step_ms:
            return None
        # A step sees samples up to its time and so much more.
        true_until_ms = changes.earliest_since(entry.revision) - ahead_ms - 1
        if true_until_ms < question.start_ms:
            return None
        return between(entry.grid, question.start_ms, min(true_until_ms, question.last_ms))

    def _keep(self, key: Key, entry: _Entry) -> None:
        size = memory_bytes(entry.grid)
        if size > self._bytes_max // _SHARE_MAX:
            return
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._bytes -= memory_bytes(before.grid)
            self._entries[key] = entry
            self._bytes += size
            while self._bytes > self._bytes_max:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= memory_bytes(dropped.grid)


def _evaluated(
    question: RangeQuestion, start_ms: int, evaluate: Evaluate
) -> tuple[QueryResult, GridResult]:
    result = evaluate(start_ms, question.end_ms)
    assert isinstance(result.value, GridResult), "bug: a range query gave no grid"
    _EVALUATED.inc(len(result.value.times))
    return result, result.value
