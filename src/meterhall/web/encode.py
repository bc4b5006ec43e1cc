"""Query results to Prometheus' JSON, in pieces.

Values are strings in Go's shortest spelling, with an exponent only below 1e-6 and from 1e21 on
(util/jsonutil/marshal.go); times are numbers of seconds with none or three decimals. The work is done a
block of at most POINTS_PER_PIECE points at a time, because each block is one hold of the interpreter's lock:
orjson spells the block's floats in one call, the text is cut at its commas, and the pieces are joined with a
template of timestamps that all series of an answer share. Where orjson's spelling is not Go's, the few values
concerned are spelled again by `spell_value`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from meterhall.model.labels import Labels
from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.query.result import (
    GridResult,
    QueryValue,
    RaggedResult,
    ScalarResult,
    StringResult,
    VectorResult,
)

POINTS_PER_PIECE = 65_536

# Below and from here on orjson writes an exponent, or writes it another way than Go.
_PLAIN_MIN, _PLAIN_MAX = 1e-5, 1e16
# From here up to _PLAIN_MAX, repr() too is Go's spelling.
_REPR_MIN = 1e-4
# So few values are spelled sooner one by one.
_FEW = 4
# Integers below this are exact as int64 and as float64.
_EXACT_MAX = float(1 << 53)

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
    head = b'{"status":"success","data":{"resultType":"' + _RESULT_TYPES[type(value)]
    yield head + b'","result":'
    yield from encode_value(value)
    stats = b"" if notes.stats is None else b',"stats":' + orjson.dumps(notes.stats)
    yield stats + b"}" + _annotations(notes) + b"}"


def encode_data(data: object, notes: Notes | None = None) -> bytes:
    """The body of any other success: `data` is what orjson can write."""
    annotations = _annotations(notes) if notes else b""
    return b'{"status":"success","data":' + orjson.dumps(data) + annotations + b"}"


def encode_error(error_type: str, text: str) -> bytes:
    """The body of a failure."""
    return orjson.dumps({"status": "error", "errorType": error_type, "error": text})


def encode_value(value: QueryValue) -> Iterator[bytes]:
    """The `result` member."""
    match value:
        case ScalarResult():
            yield b'[%s,"%s"]' % (_loose_seconds(value.time_ms), spell_scalar(value.value).encode())
        case StringResult():
            yield b"[%s,%s]" % (_loose_seconds(value.time_ms), orjson.dumps(value.value))
        case VectorResult():
            yield from _vector(value)
        case GridResult():
            yield from _grid(value)
        case RaggedResult():
            yield from _ragged(value)


def estimate_bytes(value: QueryValue) -> int:
    """Roughly what `encode_value` will write, from the shapes alone."""
    if isinstance(value, ScalarResult | StringResult):
        return 0
    if isinstance(value, VectorResult):
        points = len(value.labels)
    elif isinstance(value, GridResult):
        points = value.values.size if value.present is None else int(value.present.sum())
    else:
        points = sum(map(len, value.times))
    return points * _POINT_BYTES + len(value.labels) * _SERIES_BYTES


# `[1795445635.413,"1234.5678"],` and `{"metric":{…five labels…},"values":[]},`.
_POINT_BYTES, _SERIES_BYTES = 28, 128


def spell_value(value: float) -> str:
    """One sample's value as Prometheus spells it in vectors and matrices."""
    size = abs(value)
    if _REPR_MIN <= size < _PLAIN_MAX:
        return repr(value).removesuffix(".0")
    if value != 0 and not 1e-6 <= size < 1e21 and math.isfinite(value):
        digits, exponent = _decimal(value)
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{'-' * (value < 0)}{digits[0]}{fraction}e{exponent:+03d}"
    return spell_scalar(value)


def spell_scalar(value: float) -> str:
    """A scalar's value, which never has an exponent (strconv.FormatFloat with 'f', -1)."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    digits, exponent = _decimal(value)
    point = exponent + 1
    if point <= 0:
        text = "0." + "0" * -point + digits if value else "0"
    elif point >= len(digits):
        text = digits + "0" * (point - len(digits))
    else:
        text = f"{digits[:point]}.{digits[point:]}"
    return sign + text


def _decimal(value: float) -> tuple[str, int]:
    """Shortest digits of |value| without zeros at their ends, and the exponent of the first digit."""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    return digits.rstrip("0") or "0", int(exponent or 0) + len(whole) - 1 - leading


def spell_seconds(time_ms: int) -> bytes:
    """A sample's time: whole seconds, or exactly three decimals (`-0.500` too)."""
    seconds, rest = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return (f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}").encode()


def _loose_seconds(time_ms: int) -> bytes:
    """The time of a scalar or string: an ordinary float, without zeros at its end."""
    text = spell_seconds(time_ms)
    return text.rstrip(b"0") if b"." in text else text


def encode_labels(labels: Labels) -> bytes:
    """The `metric` member; labels come sorted."""
    return orjson.dumps(dict(labels))


def spell_values(values: ValueArray) -> list[bytes]:
    """Each value of a flat array as `spell_value` has it, without quotes."""
    if values.size <= _FEW:
        return [spell_value(value).encode() for value in values.tolist()]
    size = np.abs(values)
    integral = (size < _EXACT_MAX).all() and (values == np.rint(values)).all()
    # int64 would lose the sign of -0.
    if integral and not (np.signbit(values) & (values == 0)).any():
        return _cut(orjson.dumps(values.astype(np.int64), option=orjson.OPT_SERIALIZE_NUMPY))
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    spelled = _cut(text.replace(b".0,", b",").replace(b".0]", b"]"))
    odd = ~((size >= _PLAIN_MIN) & (size < _PLAIN_MAX)) & (values != 0)
    if odd.any():
        for index in np.flatnonzero(odd).tolist():
            spelled[index] = spell_value(float(values[index])).encode()
    return spelled


def _cut(array_text: bytes) -> list[bytes]:
    return array_text[1:-1].split(b",")


def _vector(vector: VectorResult) -> Iterator[bytes]:
    seconds = spell_seconds(vector.time_ms)
    middle, end = b',"value":[%s,"' % seconds, b'"]}'
    opening = b"["
    for first in range(0, len(vector.labels), POINTS_PER_PIECE):
        labels = vector.labels[first : first + POINTS_PER_PIECE]
        spelled = spell_values(vector.values[first : first + POINTS_PER_PIECE])
        entries = [
            b'{"metric":' + encode_labels(metric) + middle + text + end
            for metric, text in zip(labels, spelled, strict=True)
        ]
        yield opening + b",".join(entries)
        opening = b","
    yield b"[]" if opening == b"[" else b"]"


def _grid(grid: GridResult) -> Iterator[bytes]:
    """Blocks of whole series: a range query has at most 11,001 steps, so one series fits a block."""
    between = _separators(grid.times)
    rows = max(1, POINTS_PER_PIECE // max(1, len(between)))
    opening = b"["
    for first in range(0, len(grid.labels), rows):
        labels = grid.labels[first : first + rows]
        block = grid.values[first : first + rows]
        present = None if grid.present is None else grid.present[first : first + rows]
        yield opening + _block(labels, block, present, between)
        opening = b","
    yield b"[]" if opening == b"[" else b"]"


def _separators(times: TimestampArray) -> list[bytes]:
    """What stands before each value: the end of the point before it, and its own time."""
    seconds, rest = np.divmod(times, 1000)
    if len(times) and times[0] >= 0 and (rest == rest[0]).all():
        decimals = b".%03d" % rest[0] if rest[0] else b""
        text = orjson.dumps(seconds, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        spelled = text.replace(b",", decimals + b',"\n"],[').split(b"\n")
        spelled[0] = b'"],[' + spelled[0]
        spelled[-1] += decimals + b',"'
        return spelled
    return [b'"],[%s,"' % spell_seconds(time) for time in times.tolist()]


# How long the end of the point before is, which a series' first separator goes without.
_POINT_END = len(b'"],')


def _block(
    labels: Sequence[Labels],
    block: ValueArray,
    present: NDArray[np.bool_] | None,
    between: list[bytes],
) -> bytes:
    """Some series, joined in one go: separators and values take turns, series' ends are separators."""
    if present is None or present.all():
        spelled = spell_values(block.ravel())
        whose: Iterable[list[bytes]] = [between] * len(labels)
    else:
        spelled = spell_values(block[present])
        whose = _present_separators(present, between)
    separators: list[bytes] = []
    end = b""
    for metric, mine in zip(labels, whose, strict=True):
        start = len(separators)
        separators += mine
        head = b'{"metric":' + encode_labels(metric) + b',"values":['
        separators[start] = end + head + mine[0][_POINT_END:]
        end = b'"]]},'
    parts = [b""] * (2 * len(spelled))
    parts[0::2] = separators
    parts[1::2] = spelled
    parts.append(b'"]]}')
    return b"".join(parts)


def _present_separators(present: NDArray[np.bool_], between: list[bytes]) -> Iterator[list[bytes]]:
    """For each series the separators of the steps at which it has a point; it has at least one."""
    first = present.argmax(axis=1)
    end = present.shape[1] - present[:, ::-1].argmax(axis=1)
    unbroken = np.count_nonzero(present, axis=1) == end - first
    edges = zip(first.tolist(), end.tolist(), unbroken.tolist(), strict=True)
    for row, (begin, stop, whole) in enumerate(edges):
        if whole:
            yield between[begin:stop]
        else:
            yield [between[step] for step in np.flatnonzero(present[row]).tolist()]


def _points(between: Sequence[bytes], spelled: Sequence[bytes]) -> bytes:
    """`[t,"v"],[t,"v"]` of one series."""
    parts: list[bytes] = [b""] * (2 * len(between))
    parts[0::2] = between
    parts[1::2] = spelled
    # The first separator closes a point that does not exist.
    return b"".join(parts)[_POINT_END:] + b'"]' if parts else b""


def _ragged(ragged: RaggedResult) -> Iterator[bytes]:
    """Raw samples: a long series goes out in several pieces, short ones are gathered into one."""
    opening, waiting, points = b"[", [], 0
    for metric, times, values in zip(ragged.labels, ragged.times, ragged.values, strict=True):
        waiting.append(opening + b'{"metric":' + encode_labels(metric) + b',"values":[')
        opening = b","
        for first in range(0, len(times), POINTS_PER_PIECE):
            piece = slice(first, first + POINTS_PER_PIECE)
            comma = b"," if first else b""
            waiting.append(comma + _points(_separators(times[piece]), spell_values(values[piece])))
            points += len(times[piece])
            if points >= POINTS_PER_PIECE:
                yield b"".join(waiting)
                waiting, points = [], 0
        waiting.append(b"]}")
    yield b"".join(waiting) + (b"[]" if opening == b"[" else b"]")


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
