"""`query` and `query_range`: parameters in Prometheus' order of checks, evaluation, encoding."""

from collections.abc import Iterator
from typing import Any

from meterhall.model.errors import BadInput, QueryError
from meterhall.promql.durations import resolve
from meterhall.promql.nodes import Expr, ValueType
from meterhall.promql.typecheck import documented, value_type
from meterhall.query.result import (
    GridResult,
    QueryResult,
    QueryValue,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)
from meterhall.telemetry.metrics import QUERY_SECONDS
from meterhall.web.encode import Notes, encode_query, estimate_bytes
from meterhall.web.prometheus import params
from meterhall.web.prometheus.call import Answer, Backend, Call
from meterhall.web.prometheus.result_cache import RangeQuestion

TRUNCATED = "results truncated due to limit"


def query(backend: Backend, call: Call) -> Answer:
    """The value of an expression at one time (contract 1.7)."""
    form = call.form
    limit = params.limit_of(form)
    time_ms = params.optional_time_ms(form, "time", backend.clock.now_ms())
    timeout_s = params.timeout_s_of(form, call.ticket.timeout_s)
    lookback_ms = params.lookback_ms_of(form)
    text = form.first("query")
    expr = _parsed(backend, text, (time_ms, time_ms, 0))
    begun = backend.clock.monotonic()
    result = backend.engine.instant(
        backend.store.reader(call.tenant),
        expr,
        text,
        time_ms,
        call.ticket.budget(timeout_s),
        lookback_ms,
    )
    return _answer(backend, call, result, limit, begun)


def query_range(backend: Backend, call: Call) -> Answer:
    """The values of an expression over a grid of times (contract 1.8)."""
    form = call.form
    limit = params.limit_of(form)
    start_ms, end_ms, step_ms = params.grid_of(form)
    timeout_s = params.timeout_s_of(form, call.ticket.timeout_s)
    lookback_ms = params.lookback_ms_of(form)
    text = form.first("query")
    expr = _parsed(backend, text, (start_ms, end_ms, step_ms), only_series=True)
    begun = backend.clock.monotonic()
    reader = backend.store.reader(call.tenant)
    budget = call.ticket.budget(timeout_s)

    def evaluate(first_ms: int, last_ms: int) -> QueryResult:
        return backend.engine.range(
            reader, expr, text, first_ms, last_ms, step_ms, budget, lookback_ms
        )

    # Statistics tell what evaluating took.
    if backend.results is None or form.first("nocache") == "1" or form.first("stats"):
        result = evaluate(start_ms, end_ms)
    else:
        key = (call.tenant, text, step_ms, lookback_ms)
        question = RangeQuestion(key, backend.parse(text), start_ms, end_ms, step_ms)
        changes = backend.store.changes(call.tenant)
        result = backend.results.answer(question, changes, budget, evaluate)
    return _answer(backend, call, result, limit, begun)


def _parsed(
    backend: Backend, text: str, grid: tuple[int, int, int], *, only_series: bool = False
) -> Expr:
    """The tree with its durations settled for a grid of (start, end, step). Raises BadInput."""
    try:
        expr = backend.parse(text)
        if only_series:
            _check_series(expr)
        return resolve(expr, *grid)
    except BadInput as error:
        raise params.invalid("query", error) from None


def _check_series(expr: Expr) -> None:
    kind = value_type(expr)
    if kind not in (ValueType.SCALAR, ValueType.VECTOR):
        raise BadInput(
            f'invalid expression type "{documented(kind)}" for range query, '
            "must be Scalar or instant Vector"
        )


def _answer(
    backend: Backend, call: Call, result: QueryResult, limit: int, begun: float
) -> Iterator[bytes]:
    took_s = backend.clock.monotonic() - begun
    QUERY_SECONDS.observe(took_s)
    value = _truncated(result.value, limit) if limit else result.value
    expected_bytes = estimate_bytes(value)
    if expected_bytes > backend.settings.answer_bytes_max:
        raise QueryError(
            f"the answer would take about {expected_bytes} bytes; "
            f"at most {backend.settings.answer_bytes_max} are allowed"
        )
    stats = _stats(call, result, took_s) if call.form.first("stats") else None
    cut = value is not result.value
    warnings = [*result.warnings, TRUNCATED] if cut else result.warnings
    return encode_query(value, Notes(warnings, result.infos, stats))


def _truncated(value: QueryValue, limit: int) -> QueryValue:
    """The first `limit` series, or the very same value where there are no more than these."""
    if isinstance(value, ScalarResult | StringResult) or len(value.labels) <= limit:
        return value
    labels = value.labels[:limit]
    match value:
        case VectorResult():
            return VectorResult(value.time_ms, labels, value.values[:limit])
        case GridResult():
            present = None if value.present is None else value.present[:limit]
            return GridResult(labels, value.times, value.values[:limit], present)
        case RaggedResult():
            return RaggedResult(labels, value.times[:limit], value.values[:limit])


def _stats(call: Call, result: QueryResult, took_s: float) -> dict[str, Any]:
    """The `stats` member. Our evaluator has no phases to tell apart, so they share one time."""
    timings = {
        "evalTotalTime": took_s,
        "resultSortTime": 0,
        "queryPreparationTime": 0,
        "innerEvalTime": took_s,
        "execQueueTime": call.ticket.queue_s,
        "execTotalTime": took_s + call.ticket.queue_s,
    }
    timings.update(result.timings_s)
    samples = {
        "totalQueryableSamples": result.samples_read,
        "peakSamples": result.samples_peak,
    }
    return {"timings": timings, "samples": samples}
