"""Warnings and infos of a query, in Prometheus' words (util/annotations/annotations.go).

A text is kept once, with the position `(line:col)` of the last expression that caused it: Prometheus keys
them without the position.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from meterhall.model.labels import quote
from meterhall.promql.nodes import Span

_QUANTILE_DOC = (
    "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile"
)


@dataclass(frozen=True, slots=True)
class Repairs:
    """Buckets that one kernel run raised to be monotonic: their bounds, the largest step, the times."""

    bucket_min: float
    bucket_max: float
    diff_max: float
    count: int
    first_ms: int
    last_ms: int

    def merged(self, other: "Repairs") -> "Repairs":
        """Both together."""
        return Repairs(
            min(self.bucket_min, other.bucket_min),
            max(self.bucket_max, other.bucket_max),
            max(self.diff_max, other.diff_max),
            self.count + other.count,
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
        )


class Annotations:
    """Collects the annotations of one query over `text`."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self._warnings: dict[str, Span] = {}
        self._infos: dict[str, Span] = {}
        self._repairs: dict[str, tuple[Repairs, Span]] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Each warning once, in order of appearance."""
        return tuple(
            f"PromQL warning: {words} ({self._position(span)})"
            for words, span in self._warnings.items()
        )

    @property
    def infos(self) -> tuple[str, ...]:
        """Each info once, in order of appearance."""
        repaired = {
            _repair_words(metric, repairs): span
            for metric, (repairs, span) in self._repairs.items()
        }
        return tuple(
            f"PromQL info: {words} ({self._position(span)})"
            for words, span in (self._infos | repaired).items()
        )

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
        known = self._repairs.get(metric)
        total = repairs if known is None else known[0].merged(repairs)
        self._repairs[metric] = (total, span)

    def _warn(self, words: str, span: Span) -> None:
        self._warnings[words] = span

    def _info(self, words: str, span: Span) -> None:
        self._infos[words] = span

    def _position(self, span: Span) -> str:
        before = self._text[: span.start]
        line = before.count(b"\n") + 1
        line_start = before.rfind(b"\n")
        return f"{line}:{span.start - line_start}"


def _repair_words(metric: str, repairs: Repairs) -> str:
    return (
        "input to histogram_quantile needed to be fixed for monotonicity "
        f"(see {_QUANTILE_DOC}){_for_metric(metric)}, from buckets "
        f"{format_float(repairs.bucket_min)} to {format_float(repairs.bucket_max)}, "
        f"with a max diff of {repairs.diff_max:.2g}, over {repairs.count} samples "
        f"from {_rfc3339(repairs.first_ms)} to {_rfc3339(repairs.last_ms)}"
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


def format_openmetrics(value: float) -> str:
    """`value` as OpenMetrics labels spell it: always with a point or an exponent."""
    text = format_float(value)
    return text if not np.isfinite(value) or "." in text or "e" in text else f"{text}.0"


def format_decimal(value: float) -> str:
    """A finite `value` as Go's FormatFloat(value, 'f', -1, 64): shortest digits, no exponent."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _for_metric(metric: str) -> str:
    return f" for metric name {quote(metric)}" if metric else ""


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
