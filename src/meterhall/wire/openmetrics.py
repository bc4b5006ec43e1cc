"""OpenMetrics 1.0 text, as far as Prometheus' own parser is strict about it.

Where the specification and that parser differ, the parser wins: it refuses wrong syntax, a missing
`# EOF`, blank lines, unknown types and units that are no suffix, but takes clashing families, wrong order
and values that the type forbids. A stricter reading would refuse targets that Prometheus collects. The
verdicts are compared in tests/wire/data/openmetrics-parsers.jsonl.

Exemplars are checked and dropped. Series such as `_created` are samples like any other. One blank is one
blank here: the format has no runs of them and no tabs.
"""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache

from meterhall.model.errors import ExpositionError
from meterhall.model.labels import Labels
from meterhall.model.metadata import METRIC_TYPES
from meterhall.wire.entries import Entry, Help, Sample, Type, Unit
from meterhall.wire.exposition import (
    BOUND_LABELS,
    LINE_BYTES_MAX,
    SERIES_REMEMBERED_MAX,
    line_of,
    sorted_labels,
)
from meterhall.wire.labelblock import (
    METRIC_NAME,
    Fault,
    Pairs,
    label_grammar,
    read_labels,
    unescape,
)
from meterhall.wire.numbers import parse_seconds, parse_value

_VALUE = rb'"([^"\\\n]*+(?:\\\0*+[^\n\0][^"\\\n]*+)*+)"'
# A quoted name may hold a raw newline, a value may not.
_NAME_STRING = rb'"([^"\\\0]*+(?:\\[^\n\0][^"\\\0]*+)*+)"'
_GRAMMAR = label_grammar(b"", _VALUE, _NAME_STRING, comma_needed=True)

# Our own patterns, over bytes and possessive.
_HEAD = re.compile(rb"(" + METRIC_NAME + rb")?+(\{)?")  # noqa: TID251
_NUMBER = re.compile(rb" ([^ \n]++)")  # noqa: TID251
_META = re.compile(rb"# (HELP|TYPE|UNIT) ")  # noqa: TID251
_FAMILY = re.compile(  # noqa: TID251
    rb"(?:(" + METRIC_NAME + rb")|" + _NAME_STRING + rb") ([^\n]*+)\n"
)
_EOF = re.compile(rb"# EOF\n?")  # noqa: TID251

_TYPES = frozenset(name.encode() for name in METRIC_TYPES)
_EXEMPLAR = b" # {"
_HASH = 0x23
_NO_EOF = "page does not end with # EOF"


def entries(page: bytes) -> Iterator[Entry]:
    """What the page says, in its order. Raises ExpositionError at the first fault, with its line.

    The texts of errors hold nothing of the page, which may hold secrets.
    """
    at = 0
    bound_label: str | None = None
    try:
        while at < len(page):
            if page[at] != _HASH:
                sample, at = _read_sample(page, at, bound_label)
                yield sample
                continue
            if eof := _EOF.match(page, at):
                if eof.end() != len(page):
                    raise Fault(at, "data after # EOF")
                return
            entry, at = _read_metadata(page, at)
            if isinstance(entry, Type):
                bound_label = BOUND_LABELS.get(entry.type)
            yield entry
        raise Fault(at, _NO_EOF)
    except Fault as fault:
        raise ExpositionError(line_of(page, fault.at), fault.reason) from None


def _read_metadata(page: bytes, at: int) -> tuple[Entry, int]:
    meta = _META.match(page, at)
    if meta is None:
        raise Fault(at, "a comment must be HELP, TYPE, UNIT or EOF")
    family = _FAMILY.match(page, meta.end())
    if family is None:
        raise Fault(at, f"no metric name or no text after {meta[1].decode()}")
    raw_name = family[1] if family[1] is not None else family[2]
    name, text = raw_name.decode("utf-8", "replace"), family[3]
    if meta[1] == b"HELP":
        return Help(name, unescape(text, at, "help")), family.end()
    if meta[1] == b"TYPE":
        if text not in _TYPES:
            raise Fault(at, "unknown metric type")
        return Type(name, text.decode()), family.end()
    if text and not raw_name.endswith(b"_" + text):
        raise Fault(at, "unit is not a suffix of the metric name")
    return Unit(name, text.decode("utf-8", "replace")), family.end()


def _read_sample(page: bytes, begin: int, bound_label: str | None) -> tuple[Sample, int]:
    end = page.find(b"\n", begin)
    if 0 < end - begin <= LINE_BYTES_MAX:
        series, blank, token = page[begin:end].rpartition(b" ")
        labels = _whole_series(series, bound_label) if blank else None
        value = parse_value(token)
        if labels is not None and value is not None:
            return Sample(labels, value, None, begin, end - len(token)), end + 1
    return _read_odd_sample(page, begin, bound_label)


@lru_cache(maxsize=SERIES_REMEMBERED_MAX)
def _whole_series(series: bytes, bound_label: str | None) -> Labels | None:
    """As in the classic format: the labels of bytes that are one series from end to end, else None."""
    try:
        name, pairs, at = _read_series(series, 0)
    except Fault:
        return None
    return sorted_labels(name, pairs, bound_label) if at == len(series) else None


def _read_odd_sample(page: bytes, begin: int, bound_label: str | None) -> tuple[Sample, int]:
    """Any sample: with a timestamp, an exemplar, or a fault."""
    name, pairs, at = _read_series(page, begin)
    value, value_at, at = _read_value(page, at)
    if at == len(page):
        raise Fault(at, _NO_EOF)
    time_ms: int | None = None
    if not page.startswith((b"\n", _EXEMPLAR), at):
        time_ms, at = _read_time(page, at)
    if page.startswith(_EXEMPLAR, at):
        at = _skip_exemplar(page, at)
    if not page.startswith(b"\n", at):
        raise Fault(at, "more after the sample, or no line end")
    return Sample(sorted_labels(name, pairs, bound_label), value, time_ms, begin, value_at), at + 1


def _read_series(page: bytes, begin: int) -> tuple[str, Pairs, int]:
    """Metric name, labels, and where the series ends. Raises Fault."""
    head = _HEAD.match(page, begin)
    assert head is not None, "bug: every part of the pattern is optional"
    name = None if head[1] is None else sys.intern(head[1].decode())
    if head[2] is None:
        if name is None:
            raise Fault(begin, "not a sample: metric name expected")
        return name, [], head.end()
    name, pairs, at = read_labels(page, head.end(), _GRAMMAR, name)
    if name is None:
        raise Fault(begin, "no metric name")
    return name, pairs, at


def _read_value(page: bytes, at: int) -> tuple[float, int, int]:
    """A number behind one blank: the number, where it begins, where it ends."""
    token = _NUMBER.match(page, at)
    if token is None:
        raise Fault(at, "no value")
    value = parse_value(token[1])
    if value is None:
        raise Fault(at, "value is not a number")
    return value, token.start(1), token.end()


def _read_time(page: bytes, at: int) -> tuple[int, int]:
    token = _NUMBER.match(page, at)
    time_ms = None if token is None else parse_seconds(token[1])
    if token is None or time_ms is None:
        raise Fault(at, "timestamp is not a number of seconds")
    return time_ms, token.end()


def _skip_exemplar(page: bytes, at: int) -> int:
    at += len(_EXEMPLAR)
    name, _, at = read_labels(page, at, _GRAMMAR, None)
    if name is not None:
        raise Fault(at, "an exemplar has no metric name")
    _, _, at = _read_value(page, at)
    if not page.startswith(b"\n", at):
        _, at = _read_time(page, at)
    return at
