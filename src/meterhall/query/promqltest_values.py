"""Series lines of promqltest scripts: a label set, and its values step by step.

Follows the series description grammar of promql/parser/generated_parser.y: `3`, `3x4`, `3+2x4`, `_`, `_x3`, `stale`,
and native histograms in double braces.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from meterhall.model.errors import BadInput
from meterhall.model.labels import METRIC_NAME, Labels, make_labels
from meterhall.model.matcher import MatchOp
from meterhall.model.samples import STALE
from meterhall.promql.numbers import parse_number
from meterhall.promql.parser import leading_selector

# A script is ours or the operator's own file, never a request; the patterns are linear all the same.
_NUMBER = r"[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?"
_FLOAT = re.compile(  # noqa: TID251 - not a user's pattern
    rf"(?P<first>{_NUMBER})(?:(?P<sign>[+-])(?P<delta>{_NUMBER[5:]}))?(?:x(?P<times>[0-9]+))?"
)
_GAP = re.compile(r"_(?:x(?P<times>[0-9]+))?")  # noqa: TID251 - not a user's pattern
_HISTOGRAM = re.compile(  # noqa: TID251 - not a user's pattern
    r"\{\{(?P<first>[^{}]*)\}\}(?:(?P<sign>[+-])\{\{(?P<delta>[^{}]*)\}\})?(?:x(?P<times>[0-9]+))?"
)
_SPECIALS = frozenset(("inf", "nan", "+inf", "-inf", "+nan", "-nan"))
_LISTS = frozenset(("buckets", "n_buckets", "custom_values"))
_WHOLE = frozenset(("schema", "offset", "n_offset"))
_PLAIN = frozenset(("sum", "count", "z_bucket", "z_bucket_w"))
_HINTS = frozenset(("unknown", "reset", "not_reset", "gauge"))
_REPEATS_MAX = 10_000_000


@dataclass(frozen=True, slots=True)
class Histogram:
    """A native histogram as written: `fields` by key; the k-th of a sequence adds `delta` k times."""

    fields: tuple[tuple[str, str | float | tuple[float, ...]], ...]
    delta: tuple[tuple[str, str | float | tuple[float, ...]], ...] | None = None
    negative: bool = False
    times: int = 0


Value = float | Histogram | None


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """A label set and its values; None where a step has no sample. `start_times` marks an `@st` line."""

    labels: Labels
    values: tuple[Value, ...]
    start_times: bool = False


def parse_series(line: str) -> SeriesLine:
    """Reads one line. Raises BadInput."""
    selector, end = leading_selector(line)
    pairs = {}
    for matcher in selector.matchers:
        if matcher.op is not MatchOp.EQUAL:
            raise BadInput(f"a series has labels, not matchers: {line}")
        pairs[matcher.name] = matcher.value
    labels = make_labels(pairs)
    rest = line[end:]
    if rest.startswith("@st"):
        return SeriesLine(labels, (), start_times=True)
    if rest and not rest[0].isspace():
        raise BadInput(f"unexpected {rest[0]!r} after the labels: {line}")
    return SeriesLine(labels, tuple(_values(rest)))


def parse_float(text: str) -> float:
    """A number as scripts write it. Raises BadInput."""
    value, fault = parse_number(text)
    if fault:
        raise BadInput(fault)
    return value


def _values(text: str) -> Iterator[Value]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if text.startswith("{{", at):
            end = _histogram_end(text, at)
            yield from _histograms(text[at:end])
        else:
            end = at
            while end < len(text) and not text[end].isspace():
                end += 1
            yield from _item(text[at:end])
        at = end


def _item(word: str) -> Iterator[Value]:
    if word == "stale":
        yield STALE
    elif word.lower() in _SPECIALS:
        yield parse_float(word)
    elif gap := _GAP.fullmatch(word):
        yield from (None for _ in range(_times(gap, 1)))
    elif found := _FLOAT.fullmatch(word):
        yield from _floats(found, word)
    else:
        raise BadInput(f"not a value: {word}")


def _floats(found: "re.Match[str]", word: str) -> Iterator[float]:
    value = parse_float(found["first"])
    if found["delta"] is not None and found["times"] is None:
        raise BadInput(f"a change without x: {word}")
    delta = 0.0 if found["delta"] is None else parse_float(found["delta"])
    if found["sign"] == "-":
        delta = -delta
    yield value
    for _ in range(_times(found, 0)):
        # Repeated addition, with its rounding, is what Prometheus does.
        value += delta
        yield value


def _times(found: "re.Match[str]", default: int) -> int:
    digits = found["times"]
    if digits is None:
        return default
    if len(digits) > len(str(_REPEATS_MAX)) or int(digits) > _REPEATS_MAX:
        raise BadInput(f"more than {_REPEATS_MAX} values: {found[0]}")
    return int(digits)


def _histogram_end(text: str, at: int) -> int:
    end = at
    while True:
        closing = text.find("}}", end)
        if closing < 0:
            raise BadInput(f"unclosed histogram: {text[at:]}")
        end = closing + 2
        if not text.startswith(("+{{", "-{{"), end):
            break
    while end < len(text) and not text[end].isspace():
        end += 1
    return end


def _histograms(word: str) -> Iterator[Histogram]:
    found = _HISTOGRAM.fullmatch(word)
    if found is None:
        raise BadInput(f"not a histogram: {word}")
    first = _fields(found["first"])
    delta = None if found["delta"] is None else _fields(found["delta"])
    if delta is not None and found["times"] is None:
        raise BadInput(f"a change without x: {word}")
    for index in range(_times(found, 0) + 1):
        yield Histogram(first, delta, found["sign"] == "-", index)


def _fields(body: str) -> tuple[tuple[str, str | float | tuple[float, ...]], ...]:
    fields: dict[str, str | float | tuple[float, ...]] = {}
    rest = body.strip()
    while rest:
        key, colon, rest = rest.partition(":")
        if not colon or key in fields:
            raise BadInput(f"bad or repeated key in a histogram: {key}")
        if rest.startswith("["):
            text, closing, rest = rest[1:].partition("]")
            if not closing:
                raise BadInput(f"unclosed list in a histogram: {body}")
        else:
            text, _, rest = rest.partition(" ")
        fields[key] = _field(key, text)
        rest = rest.lstrip()
    return tuple(sorted(fields.items()))


def _field(key: str, text: str) -> str | float | tuple[float, ...]:
    if key in _LISTS:
        return tuple(parse_float(word) for word in text.split())
    if key in _PLAIN or key in _WHOLE:
        return parse_float(text)
    if key == "counter_reset_hint" and text in _HINTS:
        return text
    raise BadInput(f"bad field of a histogram: {key}:{text}")


def metric_of(labels: Labels) -> str:
    """A label set in the notation of the scripts, for messages."""
    name = dict(labels).get(METRIC_NAME, "")
    inner = ", ".join(f'{key}="{value}"' for key, value in labels if key != METRIC_NAME)
    return f"{name}{{{inner}}}"
