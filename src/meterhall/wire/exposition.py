"""The classic text format (`text/plain; version=0.0.4`), to the letter of Prometheus 3's parser.

The format has no line structure of its own: a label value may hold raw newlines. So the page is read by
position, one pattern for each part of a line, and lines are only counted for an error. Quirks of the
original that real exporters may lean on are kept: leading blanks belong to a bare metric name, a comma
between labels may be missing, the last `# TYPE` decides how `le` and `quantile` are spelt for all that
follows, and a NUL where a line begins ends the page. Verdicts and samples are compared with the
original's in tests/wire/data/textparse-classic.jsonl.
"""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache

from meterhall.model.errors import ExpositionError
from meterhall.model.labels import METRIC_NAME as NAME_LABEL
from meterhall.model.labels import Labels
from meterhall.wire.entries import Comment, Entry, Help, Sample, Type
from meterhall.wire.labelblock import (
    METRIC_NAME,
    Fault,
    Pairs,
    label_grammar,
    read_labels,
)
from meterhall.wire.numbers import normalize_bound, parse_milliseconds, parse_value

# The lexer of the original skips NULs inside a label value before it looks at the next byte, so the
# byte that a backslash escapes is the next one that is not NUL.
_VALUE = rb'"([^"\\]*+(?:\\\0*+[^\n\0][^"\\]*+)*+)"'
_NAME_STRING = rb'"([^"\\\0]*+(?:\\[^\n\0][^"\\\0]*+)*+)"'
_GRAMMAR = label_grammar(rb"[ \t]*+", _VALUE, _NAME_STRING, comma_needed=False)

# Our own patterns, over bytes and possessive.
_HEAD = re.compile(rb"[ \t]*+(" + METRIC_NAME + rb")?+[ \t]*+(\{)?")  # noqa: TID251
_TAIL = re.compile(rb"[ \t]*+([^{ \t\n]++)[ \t]*+(?:([0-9]++)[ \t]*+)?(\n)?")  # noqa: TID251
_META = re.compile(rb"#[ \t]++(HELP|TYPE)[ \t]++")  # noqa: TID251
_FAMILY = re.compile(rb"(?:(" + METRIC_NAME + rb")|" + _NAME_STRING + rb")([^\n]*+)")  # noqa: TID251
_BLANKS = re.compile(rb"[ \t]*+")  # noqa: TID251
_HELP_ESCAPE = re.compile(r"\\([\\n])")  # noqa: TID251

_TYPES = {
    b"counter": "counter",
    b"gauge": "gauge",
    b"histogram": "histogram",
    b"summary": "summary",
    b"untyped": "unknown",
}
# Which label of which type holds a bound, in both text formats.
BOUND_LABELS = {"histogram": "le", "summary": "quantile"}

# How many lines are remembered by their bytes, and how long one may be for that: about 60 MB.
SERIES_REMEMBERED_MAX = 65_536
METADATA_REMEMBERED_MAX = 16_384
LINE_BYTES_MAX = 1_024

_BLANK_BYTES = b" \t"
_NEWLINE = 0x0A
_HASH = 0x23
_NUL = 0


def entries(page: bytes) -> Iterator[Entry]:
    """What the page says, in its order. Raises ExpositionError at the first fault, with its line.

    The texts of errors hold nothing of the page, which may hold secrets.
    """
    text = page + b"\n"
    at, end = 0, len(text)
    bound_label: str | None = None
    try:
        while at < end:
            begin, first = at, text[at]
            if first in _BLANK_BYTES:
                at = _skip_blanks(text, at)
                first = text[at]
            if first == _NEWLINE:
                at += 1
            elif first == _HASH:
                entry, at = _read_comment(text, at)
                if entry is None:
                    return
                if isinstance(entry, Type):
                    bound_label = BOUND_LABELS.get(entry.type)
                yield entry
            elif first == _NUL:
                return
            else:
                sample, at = _read_sample(text, begin, bound_label)
                yield sample
    except Fault as fault:
        raise ExpositionError(line_of(text, fault.at), fault.reason) from None


def line_of(page: bytes, at: int) -> int:
    """The line that byte `at` stands on, from 1."""
    return page.count(b"\n", 0, at) + 1


def sorted_labels(name: str, pairs: Pairs, bound_label: str | None) -> Labels:
    """A sample's labels with its name, sorted by label name; repeated names stay in page order."""
    if bound_label is not None:
        pairs = [
            (label, normalize_bound(value) if label == bound_label else value)
            for label, value in pairs
        ]
    return tuple(sorted([(NAME_LABEL, name), *pairs], key=_pair_name))


def _pair_name(pair: tuple[str, str]) -> str:
    return pair[0]


def _skip_blanks(text: bytes, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None, "bug: the pattern matches nothing, too"
    return match.end()


def _read_sample(text: bytes, begin: int, bound_label: str | None) -> tuple[Sample, int]:
    end = text.index(b"\n", begin)
    if end - begin <= LINE_BYTES_MAX:
        series, blank, token = text[begin:end].rpartition(b" ")
        labels = _whole_series(series, bound_label) if blank else None
        value = parse_value(token)
        if labels is not None and value is not None:
            return Sample(labels, value, None, begin, end - len(token)), end + 1
    return _read_odd_sample(text, begin, bound_label)


@lru_cache(maxsize=SERIES_REMEMBERED_MAX)
def _whole_series(series: bytes, bound_label: str | None) -> Labels | None:
    """The labels of bytes that are one series from end to end, else None.

    Remembered, because lines come again: in the next page, and from other hosts, which then share the
    labels. What follows such bytes as a blank, a number and a line end can only be read one way.
    """
    try:
        name, pairs, at = _read_series(series, 0)
    except Fault:
        return None
    return sorted_labels(name, pairs, bound_label) if at == len(series) else None


def _read_odd_sample(text: bytes, begin: int, bound_label: str | None) -> tuple[Sample, int]:
    """Any sample: with a timestamp, with other blanks, over several lines, or with a fault."""
    name, pairs, at = _read_series(text, begin)
    tail = _TAIL.match(text, at)
    if tail is None:
        raise Fault(at, "no value")
    value = parse_value(tail[1])
    if value is None:
        raise Fault(at, "value is not a number")
    time_ms = None if tail[2] is None else parse_milliseconds(tail[2])
    if tail[3] is None or (tail[2] is not None and time_ms is None):
        raise Fault(at, "timestamp is not whole milliseconds, or more follows it")
    labels = sorted_labels(name, pairs, bound_label)
    return Sample(labels, value, time_ms, begin, tail.start(1)), tail.end()


def _read_series(text: bytes, begin: int) -> tuple[str, Pairs, int]:
    """Metric name, labels, and where the series ends. Raises Fault."""
    head = _HEAD.match(text, begin)
    assert head is not None, "bug: every part of the pattern is optional"
    # The original takes a bare name from where the line begins, leading blanks and all.
    name = None if head[1] is None else sys.intern(text[begin : head.end(1)].decode())
    if head[2] is None:
        if name is None:
            raise Fault(begin, "not a sample: metric name expected")
        return name, [], head.end()
    name, pairs, at = read_labels(text, head.end(), _GRAMMAR, name)
    if name is None:
        raise Fault(begin, "no metric name")
    return name, pairs, at


def _read_comment(text: bytes, at: int) -> tuple[Entry | None, int]:
    """The entry of a line that begins with `#`, or None where a NUL ends the page."""
    end = text.index(b"\n", at)
    meta = _META.match(text, at)
    if meta is not None:
        if end - at <= LINE_BYTES_MAX and (entry := _whole_metadata(text[at:end])) is not None:
            return entry, end + 1
        return _read_metadata(text, at, meta)
    # Only behind `# ` does the original's lexer step over NULs.
    if text[at + 1] not in _BLANK_BYTES and text.find(b"\0", at, end) >= 0:
        return None, end
    return Comment(text[at:end].decode("utf-8", "replace")), end + 1


@lru_cache(maxsize=METADATA_REMEMBERED_MAX)
def _whole_metadata(line: bytes) -> Help | Type | None:
    """The entry of a line that is one from end to end, else None. Remembered as series are."""
    meta = _META.match(line)
    assert meta is not None, "bug: called for another line"
    try:
        entry, end = _read_metadata(line, 0, meta)
    except Fault:
        return None
    return entry if end == len(line) + 1 else None


def _read_metadata(text: bytes, at: int, meta: "re.Match[bytes]") -> tuple[Help | Type, int]:
    family = _FAMILY.match(text, meta.end())
    if family is None:
        raise Fault(at, f"no metric name after {meta[1].decode()}")
    raw_name = family[1] if family[1] is not None else family[2]
    name = sys.intern(raw_name.decode("utf-8", "replace"))
    if meta[1] == b"TYPE":
        kind = _TYPES.get(_meta_text(family[3]))
        if kind is None:
            raise Fault(at, "unknown metric type")
        return Type(name, kind), family.end() + 1
    try:
        return Help(name, _unescape_help(_meta_text(family[3]).decode())), family.end() + 1
    except UnicodeDecodeError:
        raise Fault(at, "help is not UTF-8") from None


def _meta_text(rest: bytes) -> bytes:
    """The text behind a family's name: one byte is dropped, whatever it is; all of a blank run."""
    return rest[1:] if rest.strip(b" \t") else b""


def _unescape_help(text: str) -> str:
    if "\\" not in text:
        return text
    return _HELP_ESCAPE.sub(lambda match: "\n" if match[1] == "n" else "\\", text)
