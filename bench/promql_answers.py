"""Answers to PromQL queries, ours and a real Prometheus', in one form, and what is different between two."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
from tests.query.memory import MemoryReader, MonotonicClock

from meterhall.model.errors import BadInput, MeterhallError
from meterhall.model.labels import Labels, make_labels
from meterhall.promql.nodes import ValueType
from meterhall.promql.parser import parse_expr
from meterhall.promql.signatures import EXPERIMENTAL_FUNCTIONS
from meterhall.promql.typecheck import documented, value_type
from meterhall.query.budget import Budget, QueryLimits
from meterhall.query.engine import Engine
from meterhall.query.frame import SAME_LABELSET
from meterhall.query.result import GridResult, QueryResult, ScalarResult, StringResult, VectorResult

RELATIVE = 1e-9
FEATURES = frozenset((EXPERIMENTAL_FUNCTIONS,))
Points = dict[Labels, dict[int, float]]
# Start, end and step in milliseconds; a step of 0 asks for an instant.
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Answer:
    """What came back: points by series, or an error; and the annotations.

    `order` are the series as they came, where their order is promised.
    """

    points: Points
    error: str
    notes: frozenset[str]
    order: tuple[Labels, ...] = ()
    # Whether label_replace or label_join is in the query that failed.
    relabeled: bool = False


class Api:
    """A query API over one connection; `prefix` is what stands before /api/v1."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, f"no host in {url}"
        self._connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=120)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
        """The body of the answer, whatever its status."""
        target = f"{self._prefix}/api/v1/{path}"
        self._connection.request("POST", target, body, {**self._headers, **(headers or {})})
        return self._connection.getresponse().read()

    def ask(self, query: str, grid: Grid) -> dict[str, Any]:
        """The JSON of `query`, or of `query_range` where the grid has a step."""
        start, end, step = grid
        if step:
            # A step in seconds would be cut to milliseconds after a float has been through it.
            times = {"start": start / 1000, "end": end / 1000, "step": f"{step}ms"}
            path, parameters = "query_range", {"query": query, **times}
        else:
            path, parameters = "query", {"query": query, "time": start / 1000}
        answer: dict[str, Any] = json.loads(self.post(path, urlencode(parameters).encode()))
        return answer


def from_json(body: dict[str, Any], query: str = "") -> Answer:
    """What a query API said to a query."""
    notes = frozenset((*body.get("warnings", ()), *body.get("infos", ())))
    if body["status"] != "success":
        relabeled = "label_replace" in query or "label_join" in query
        return Answer({}, body["error"], notes, relabeled=relabeled)
    result = body["data"]["result"]
    kind = body["data"]["resultType"]
    if kind == "scalar":
        return Answer({(): {_ms(result[0]): float(result[1])}}, "", notes)
    if kind == "string":
        return Answer({((result[1], ""),): {}}, "", notes)
    points = {
        make_labels(entry["metric"]): {
            _ms(t): float(v) for t, v in entry.get("values", [entry.get("value")])
        }
        for entry in result
    }
    return Answer(points, "", notes, tuple(points))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def in_process(engine: Engine, reader: MemoryReader, query: str, grid: Grid) -> Answer:
    """What our evaluator says."""
    start, end, step = grid
    budget = Budget(QueryLimits(), MonotonicClock(), 120)
    try:
        expr = parse_expr(query, FEATURES)
        if step and value_type(expr) not in (ValueType.SCALAR, ValueType.VECTOR):
            kind = documented(value_type(expr))
            raise BadInput(
                f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
            )
        if step:
            result = engine.range(reader, expr, query, start, end, step, budget)
        else:
            result = engine.instant(reader, expr, query, start, budget)
    except MeterhallError as error:
        return Answer({}, str(error), frozenset())
    points = _points(result)
    return Answer(points, "", frozenset((*result.warnings, *result.infos)), tuple(points))


def _points(result: QueryResult) -> Points:
    value = result.value
    match value:
        case ScalarResult():
            return {(): {value.time_ms: value.value}}
        case StringResult():
            return {((value.value, ""),): {}}
        case VectorResult():
            return {
                labels: {value.time_ms: float(v)}
                for labels, v in zip(value.labels, value.values, strict=True)
            }
        case GridResult():
            mask = np.ones(value.values.shape, bool) if value.present is None else value.present
            return {
                labels: dict(zip(value.times[here].tolist(), row[here].tolist(), strict=True))
                for labels, row, here in zip(value.labels, value.values, mask, strict=True)
            }
    return {
        labels: dict(zip(t.tolist(), v.tolist(), strict=True))
        for labels, t, v in zip(value.labels, value.times, value.values, strict=True)
    }


def difference(left: Answer, right: Answer) -> str:
    """The first disagreement in words, or nothing; `left` are theirs."""
    if _is_explained(left, right):
        return ""
    if bool(left.error) != bool(right.error):
        return f"error: theirs {left.error!r}, ours {right.error!r}"
    if left.error:
        same = left.error.endswith(right.error) or _worded(left.error) == _worded(right.error)
        return "" if same else f"text: {left.error!r} / {right.error!r}"
    if left.points.keys() != right.points.keys():
        missing, extra = left.points.keys() - right.points.keys(), right.points.keys() - left.points
        return f"labels: missing {sorted(missing)[:2]}, extra {sorted(extra)[:2]}"
    for labels, points in left.points.items():
        mine = right.points[labels]
        if points.keys() != mine.keys():
            return f"times of {labels}: {sorted(points.keys() ^ mine.keys())[:5]}"
        for time_ms, value in points.items():
            if not _close(value, mine[time_ms]):
                return f"value of {labels} at {time_ms}: {value!r} / {mine[time_ms]!r}"
    return _note_difference(left.notes, right.notes)


def json_difference(left: dict[str, Any], right: dict[str, Any], query: str, grid: Grid) -> str:
    """As `difference`, and the parts of the JSON that it does not look at: kinds, order, digits."""
    theirs, ours = from_json(left, query), from_json(right)
    found = difference(theirs, ours)
    if found:
        return found
    if left["status"] != right["status"]:
        return ""  # It is one of the explained differences.
    if left.get("errorType") != right.get("errorType"):
        return f"status: {_short(left)} / {_short(right)}"
    if left["status"] != "success":
        return ""
    kinds = left["data"]["resultType"], right["data"]["resultType"]
    if kinds[0] != kinds[1]:
        return f"kind: {kinds[0]} / {kinds[1]}"
    if (grid[2] or kinds[0] == "matrix") and theirs.order != ours.order:
        return f"order: {theirs.order[:3]} / {ours.order[:3]}"
    for member in ("warnings", "infos"):
        if bool(left.get(member)) != bool(right.get(member)) and not _is_ineffective(right):
            return f"{member}: {left.get(member)} / {right.get(member)}"
    return _digit_difference(left["data"]["result"], right["data"]["result"])


def _is_ineffective(body: dict[str, Any]) -> bool:
    return any("sort is ineffective" in note for note in body.get("warnings", ()))


def _short(body: dict[str, Any]) -> str:
    return f"{body['status']} {body.get('errorType')} {body.get('error')}"


def _digit_difference(left: Any, right: Any) -> str:
    """Equal numbers must be spelled alike."""
    theirs, ours = _spellings(left), _spellings(right)
    for one, other in zip(sorted(theirs), sorted(ours), strict=True):
        if one == other or one[:-1] != other[:-1]:
            continue
        if float(one[-1]) == float(other[-1]) and one[-1] != other[-1]:
            return f"spelling: {one} / {other}"
    return ""


def _spellings(result: Any) -> list[tuple[str, str]]:
    """(series and time, number as text)."""
    if not result or not isinstance(result[0], dict):
        return []
    return [
        (json.dumps([sorted(entry["metric"].items()), time]), text)
        for entry in result
        for time, text in entry.get("values", [entry.get("value")])
    ]


def _note_difference(left: frozenset[str], right: frozenset[str]) -> str:
    theirs_worded = {_worded(note) for note in left if "annotations omitted" not in note}
    ours_worded = {
        _worded(note)
        for note in right
        if "sort is ineffective" not in note and "annotations omitted" not in note
    }
    # The API shows ten of a kind; then only what it shows can be compared.
    shortened = any("annotations omitted" in note for note in left)
    if theirs_worded == ours_worded or (shortened and len(ours_worded) >= len(theirs_worded)):
        return ""
    return f"notes: {sorted(theirs_worded ^ ours_worded)[:4]}"


# What 3.14 words differently from 3.5; see docs/promql-differences.md.
_REWORDED = [
    (r' for metric name ""', ""),
    (r", from buckets .* to \S+Z", ""),
    (r"match group .* of the operation: \[.*\]", "operation:"),
    (r"(fixed for monotonicity .*) for metric name \"[^\"]*\"", r"\1"),
    (r"between 0 and 1, got \S+", "between 0 and 1"),
    (r"expected number(,| or) duration.*", "expected duration"),
    (r'"<Item \d+>" ', ""),
    (r"1:\d+: parse error: label", "label"),
    (r"^invalid parameter \"query\": ", ""),
    (r"Scalar value NaN overflows int64", "Parameter value is NaN"),
    (r"Ratio value NaN is NaN", "Ratio value is NaN"),
    (r"Scalar value \S+ (over|under)flows", "Scalar value flows"),
]
# 3.5 lets pairs collide that a comparison drops.
_MANY_TO_ONE = "multiple matches for labels: many-to-one"


def _is_explained(left: Answer, right: Answer) -> bool:
    """Whether 3.14 answers and 3.5 refuses, or the other way round; see docs/promql-differences.md."""
    if not left.error:
        return bool(_PARAMETER.match(right.error)) or right.error.startswith(_MANY_TO_ONE)
    return not right.error and left.error.endswith(SAME_LABELSET) and left.relabeled


# 3.5 looks at the parameter of an aggregation only where there is something to aggregate.
_PARAMETER = re.compile(  # noqa: TID251 - our own pattern.
    "Parameter value is NaN|Ratio value is NaN|Scalar value .*flows int64"
)


def _worded(text: str) -> str:
    for pattern, plain in _REWORDED:
        text = re.sub(pattern, plain, text)
    return text


def _close(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or abs(left - right) <= RELATIVE * max(abs(left), abs(right))


def packed(query: str, grid: Grid, answer: Answer) -> dict[str, Any]:
    """An answer as a line of a recording; values to twelve digits."""
    points = [
        [dict(labels), " ".join(f"{t - grid[0]}:{v:.12g}" for t, v in values.items())]
        for labels, values in answer.points.items()
    ]
    return {
        "query": query,
        "grid": list(grid),
        "error": answer.error,
        "notes": sorted(answer.notes),
        "points": points,
    }


def unpacked(line: dict[str, Any]) -> tuple[str, Grid, Answer]:
    """What `packed` made of a query, its grid and its answer."""
    start, end, step = line["grid"]
    points = {
        make_labels(labels): {start + int(t): float(v) for t, v in map(_pair, text.split())}
        for labels, text in line["points"]
    }
    return (
        line["query"],
        (start, end, step),
        Answer(points, line["error"], frozenset(line["notes"])),
    )


def _pair(text: str) -> Sequence[str]:
    return text.split(":")
