"""Query results to Prometheus' JSON, in pieces.

A piece has at most POINTS_PER_PIECE points and SERIES_PER_PIECE series, which bounds how much memory it takes and how
long it keeps others waiting: labels are spelled under the interpreter's lock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from meterhall.model.labels import Labels
from meterhall.query.result import (
    GridResult,
    HeldRange,
    QueryValue,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)
from meterhall.web.points import Points, Row, held_rows, points_for
from meterhall.web.spelling import (
    spell_loose_seconds,
    spell_scalar,
    spell_seconds,
    spell_values,
)

POINTS_PER_PIECE = 65_536
SERIES_PER_PIECE = 8_192
# A vector of so few series is written sooner than arrays of its text are made; most instant queries are such.
_SHORT_VECTOR = 64

_OPENING = b'{"status":"success","data":{"resultType":"%s","result":'
_RESULT_TYPES: dict[type[QueryValue], bytes] = {
    ScalarResult: b"scalar",
    StringResult: b"string",
    VectorResult: b"vector",
    GridResult: b"matrix",
    RaggedResult: b"matrix",
}


@dataclass(frozen=True, slots=True)
class Notes:
    """What surrounds an answer's data: annotations, and the `stats` member where it was asked for."""

    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()
    stats: object = None


def encode_query(value: QueryValue, notes: Notes) -> Iterator[bytes]:
    """The whole body of a query's answer; the pieces joined are one JSON document."""
    yield _OPENING % _RESULT_TYPES[type(value)]
    yield from encode_value(value)
    stats = b"" if notes.stats is None else b',"stats":' + orjson.dumps(notes.stats)
    yield stats + b"}" + _annotations(notes) + b"}"


def encode_held(held: HeldRange) -> bytes | None:
    """The whole body of a range's answer, or None where it must be looked up first."""
    heads = [b'{"metric":' + encode_labels(labels) + b',"values":[' for labels, _, _ in held.series]
    rows = held_rows(heads, held)
    if rows is None:
        return None
    # No comma after the last row.
    return _OPENING % b"matrix" + b"[" + rows[:-1] + b"]}}"


def encode_data(data: object, notes: Notes | None = None) -> bytes:
    """The body of any other success: `data` is what orjson can write."""
    annotations = _annotations(notes) if notes else b""
    return b'{"status":"success","data":' + orjson.dumps(data) + annotations + b"}"


def encode_series(found: Sequence[Labels], notes: Notes) -> Iterator[bytes]:
    """The body of an answer of label sets, in pieces."""
    opening = b'{"status":"success","data":['
    for first in range(0, len(found), SERIES_PER_PIECE):
        piece = found[first : first + SERIES_PER_PIECE]
        yield opening + orjson.dumps([dict(labels) for labels in piece])[1:-1]
        opening = b","
    yield (b"]" if found else opening + b"]") + _annotations(notes) + b"}"


def encode_error(error_type: str, text: str) -> bytes:
    """The body of a failure."""
    return orjson.dumps({"status": "error", "errorType": error_type, "error": text})


def encode_value(value: QueryValue, points: Points | None = None) -> Iterator[bytes]:
    """The `result` member; `points` is how points are written, where not by the fastest way."""
    match value:
        case ScalarResult():
            spelled = spell_scalar(value.value).encode()
            yield b'[%s,"%s"]' % (spell_loose_seconds(value.time_ms), spelled)
        case StringResult():
            yield b"[%s,%s]" % (spell_loose_seconds(value.time_ms), orjson.dumps(value.value))
        case VectorResult() if points is None and len(value.labels) <= _SHORT_VECTOR:
            yield _short_vector(value)
        case _:
            yield from _series(value, points or points_for(_count_points(value)))


def estimate_bytes(value: QueryValue) -> int:
    """Roughly what `encode_value` will write, from the shapes alone."""
    if isinstance(value, ScalarResult | StringResult):
        return 0
    points = _count_points(value)
    return points * _POINT_BYTES + len(value.labels) * _SERIES_BYTES


def _count_points(value: VectorResult | GridResult | RaggedResult) -> int:
    match value:
        case VectorResult():
            return len(value.labels)
        case GridResult(values=values, present=present):
            return values.size if present is None else int(np.count_nonzero(present))
        case RaggedResult():
            return sum(map(len, value.times))


# `[1795445635.413,"1234.5678"],` and `{"metric":{…five labels…},"values":[]},`.
_POINT_BYTES, _SERIES_BYTES = 28, 128


def encode_labels(labels: Labels) -> bytes:
    """The `metric` member; labels come sorted."""
    return orjson.dumps(dict(labels))


def _series(value: VectorResult | GridResult | RaggedResult, points: Points) -> Iterator[bytes]:
    """A list of series; each is followed by what the head of the next one begins with."""
    if not value.labels:
        yield b"[]"
        return
    match value:
        case VectorResult():
            yield from _vector(value, points)
            yield b"}]"
        case GridResult():
            yield from _grid(value, points)
            yield b"]}]"
        case RaggedResult():
            yield from _ragged(value, points)
            yield b"]}]"


def _heads(labels: Sequence[Labels], first: int, before: bytes, after: bytes) -> list[bytes]:
    """What goes before the points of these series: the end of the one before, and the labels."""
    opening = before + b',{"metric":'
    heads = [opening + encode_labels(metric) + after for metric in labels]
    if first == 0:
        heads[0] = b"[" + heads[0].removeprefix(before + b",")
    return heads


def _short_vector(vector: VectorResult) -> bytes:
    middle = b',"value":[%s,"' % spell_seconds(vector.time_ms)
    entries = [
        b'{"metric":' + encode_labels(metric) + middle + text + b'"]}'
        for metric, text in zip(vector.labels, spell_values(vector.values), strict=True)
    ]
    return b"[" + b",".join(entries) + b"]"


def _vector(vector: VectorResult, points: Points) -> Iterator[bytes]:
    write = points.grid(np.array([vector.time_ms], np.int64))
    for first in range(0, len(vector.labels), SERIES_PER_PIECE):
        piece = slice(first, first + SERIES_PER_PIECE)
        heads = _heads(vector.labels[piece], first, b"}", b',"value":')
        yield write(heads, vector.values[piece, None], None)


def _grid(grid: GridResult, points: Points) -> Iterator[bytes]:
    """Pieces of whole series: a range query has at most 11,001 steps, so one series fits a piece."""
    write = points.grid(grid.times)
    rows = max(1, min(SERIES_PER_PIECE, POINTS_PER_PIECE // max(1, len(grid.times))))
    for first in range(0, len(grid.labels), rows):
        piece = slice(first, first + rows)
        present = None if grid.present is None else grid.present[piece]
        heads = _heads(grid.labels[piece], first, b"]}", b',"values":[')
        yield write(heads, grid.values[piece], present)


def _ragged(ragged: RaggedResult, points: Points) -> Iterator[bytes]:
    """Raw samples: a long series goes out in several pieces, short ones are gathered into one."""
    rows: list[Row] = []
    count = 0
    for first, (metric, times, values) in enumerate(
        zip(ragged.labels, ragged.times, ragged.values, strict=True)
    ):
        (head,) = _heads([metric], first, b"]}", b',"values":[')
        for start in range(0, len(times), POINTS_PER_PIECE):
            piece = slice(start, start + POINTS_PER_PIECE)
            rows.append((b"," if start else head, times[piece], values[piece]))
            count += len(times[piece])
            if count >= POINTS_PER_PIECE or len(rows) >= SERIES_PER_PIECE:
                yield points.samples(rows)
                rows, count = [], 0
    if rows:
        yield points.samples(rows)


# Prometheus' util/annotations: at most so many of each kind, then a line that counts the rest.
_ANNOTATIONS_MAX = 10


def _annotations(notes: Notes) -> bytes:
    text = b""
    if notes.warnings:
        text += b',"warnings":' + orjson.dumps(_capped(notes.warnings, "warning"))
    if notes.infos:
        text += b',"infos":' + orjson.dumps(_capped(notes.infos, "info"))
    return text


def _capped(lines: Sequence[str], kind: str) -> list[str]:
    kept = list(lines[:_ANNOTATIONS_MAX])
    if len(lines) > _ANNOTATIONS_MAX:
        kept.append(f"{len(lines) - _ANNOTATIONS_MAX} more {kind} annotations omitted")
    return kept
