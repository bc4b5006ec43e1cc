"""Warnings and infos of a query, in Prometheus' words (util/annotations/annotations.go).

A text is kept once, with the position of the expression that caused it as `(line:col)`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from meterhall.model.labels import quote
from meterhall.promql.nodes import Span

_QUANTILE_DOC = (
    "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile"
)


@dataclass(slots=True)
class _Monotonicity:
    """What all repairs of one histogram_quantile call for one metric name have in common."""

    bucket_min: float
    bucket_max: float
    diff_max: float
    count: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """Buckets that one kernel run raised to be monotonic: their bounds, the largest step, the times."""

    bucket_min: float
    bucket_max: float
    diff_max: float
    count: int
    first_ms: int
    last_ms: int


class Annotations:
    """Collects the annotations of one query over `text`."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}
        self._repairs: dict[tuple[str, Span], _Monotonicity] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once, in order of appearance."""
        return tuple(self._warnings)

    @property
    def infos(self) -> tuple[str, ...]:
        """Each info once, in order of appearance."""
        repaired = (self._repair_text(*key, entry) for key, entry in self._repairs.items())
        return tuple(dict.fromkeys((*self._infos, *repaired)))

    def possible_non_counter(self, metric: str, span: Span) -> None:
        """rate() of a metric that is not named like a counter."""
        self._info(
            "metric might not be a counter, name does not end in "
            f"_total/_sum/_count/_bucket: {quote(metric)}",
            span,
        )

    def invalid_quantile(self, quantile: float, span: Span) -> None:
        """A quantile outside [0, 1]."""
        self._warn(f"quantile value should be between 0 and 1, got {format_float(quantile)}", span)

    def invalid_ratio(self, ratio: float, capped: float, span: Span) -> None:
        """limit_ratio() outside [-1, 1]."""
        self._warn(
            f"ratio value should be between -1 and 1, got {format_float(ratio)}, "
            f"capping to {format_float(capped)}",
            span,
        )

    def bad_bucket(self, metric: str, le: str, span: Span) -> None:
        """A classic bucket whose `le` is no number."""
        self._warn(
            f'bucket label "le" is missing or has a malformed value of {quote(le)}'
            + _for_metric(metric),
            span,
        )

    def ineffective_sort(self, span: Span) -> None:
        """sort() in a range query."""
        self._warn(
            "sort is ineffective for range queries since results are always ordered by labels",
            span,
        )

    def repaired_buckets(self, metric: str, span: Span, repairs: Repairs) -> None:
        """Classic buckets whose counts decreased with growing `le`; merged per metric and call."""
        known = self._repairs.get((metric, span))
        if known is None:
            self._repairs[metric, span] = _Monotonicity(
                repairs.bucket_min,
                repairs.bucket_max,
                repairs.diff_max,
                repairs.count,
                repairs.first_ms,
                repairs.last_ms,
            )
            return
        known.bucket_min = min(known.bucket_min, repairs.bucket_min)
        known.bucket_max = max(known.bucket_max, repairs.bucket_max)
        known.diff_max = max(known.diff_max, repairs.diff_max)
        known.count += repairs.count
        known.first_ms = min(known.first_ms, repairs.first_ms)
        known.last_ms = max(known.last_ms, repairs.last_ms)

    def _warn(self, words: str, span: Span) -> None:
        self._warnings[f"PromQL warning: {words} ({self._position(span)})"] = None

    def _info(self, words: str, span: Span) -> None:
        self._infos[f"PromQL info: {words} ({self._position(span)})"] = None

    def _position(self, span: Span) -> str:
        before = self._text[: span.start]
        line = before.count(b"\n") + 1
        line_start = before.rfind(b"\n")
        return f"{line}:{span.start - line_start}"

    def _repair_text(self, metric: str, span: Span, entry: _Monotonicity) -> str:
        return (
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
            f"(see {_QUANTILE_DOC}){_for_metric(metric)}, from buckets "
            f"{format_float(entry.bucket_min)} to {format_float(entry.bucket_max)}, "
            f"with a max diff of {entry.diff_max:.2g}, over {entry.count} samples "
            f"from {_rfc3339(entry.first_ms)} to {_rfc3339(entry.last_ms)} "
            f"({self._position(span)})"
        )


def format_float(value: float) -> str:
    """`value` as Go's %g and %v print it: shortest digits, an exponent below -4 and from 6 on."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    exponent = Decimal(repr(value)).adjusted() if value else 0
    if -4 <= exponent < 6:
        return format_decimal(value)
    sign, digits, _ = Decimal(repr(value)).normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    point = "." if rest else ""
    return f"{'-' if sign else ''}{first}{point}{rest}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def format_decimal(value: float) -> str:
    """A finite `value` as Go's FormatFloat(value, 'f', -1, 64): shortest digits, no exponent."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _for_metric(metric: str) -> str:
    return f" for metric name {quote(metric)}" if metric else ""


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
