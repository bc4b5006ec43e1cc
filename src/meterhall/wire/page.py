"""A page of one target, read again and again: the fast path for pages that repeat their series.

Exporters answer with the same lines every time, but for the values. After a careful reading whose samples
all stand on a line of their own as `SERIES VALUE`, the reader keeps the page's template: of every line
the part before its last blank, and whole the lines that are no samples. A later page that differs from
the template in nothing but those last words, all of them plain numbers, would be read the same way
byte for byte by the careful parser, so only the numbers are read. Anything else goes to the careful
parser, whose verdict is the only one: the fast path never refuses.

A repeated page comes with the very Shape object of the page before, so that whoever derived something
from the series can keep it as long as the shape is the same object.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from operator import itemgetter

import numpy as np
import orjson

from meterhall.model.errors import TooLarge
from meterhall.model.labels import Labels
from meterhall.model.metadata import Metadata
from meterhall.model.samples import NAN, ValueArray
from meterhall.wire import exposition, openmetrics
from meterhall.wire.entries import Comment, Entry, Help, Sample, Type, Unit
from meterhall.wire.numbers import parse_value

OPENMETRICS = "application/openmetrics-text"
_NUMBER_BYTES = b"0123456789.eE+-,"
# A sample rarely has more lines to itself than HELP, TYPE and UNIT. Lines that hold nothing would cost us
# time without ever reaching the limit of samples.
_LINES_PER_SAMPLE_MAX = 4
_LINES_MAX = 200_000


_Column = tuple[str, ...]
_Columns = tuple[_Column, _Column, _Column]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """All of a page but its numbers: the series in page order and the families it declares.

    A series may be there twice, and hold what no series may; see wire.entries.Sample.
    """

    series: tuple[Labels, ...]
    declared: Mapping[str, Metadata]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One reading. `values[i]` and `times_ms[i]` belong to `shape.series[i]`.

    `times_ms` is None where no sample has a timestamp. Ordinary NaNs are canonical.
    """

    shape: Shape
    values: ValueArray
    times_ms: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    media_type: str
    heads: _Column
    blanks: _Column
    fixed: Callable[[_Column], _Column]
    fixed_words: _Column
    numbers: Callable[[_Column], _Column]
    shape: Shape


class PageReader:
    """Reads one target's pages. Not thread-safe: one page at a time."""

    __slots__ = ("_samples_max", "_template")

    def __init__(self, samples_max: int) -> None:
        self._samples_max = samples_max
        self._template: _Template | None = None

    @property
    def repeatable(self) -> bool:
        """Whether each sample of the last page is a line `SERIES VALUE`, so that numbers alone tell the next."""
        return self._template is not None

    def read(self, body: bytes, content_type: str) -> Page:
        """Raises ExpositionError, and TooLarge where there are more samples or lines than allowed.

        The format goes by the media type alone (contract 5.2). What is not declared as OpenMetrics is
        read as classic text, because many exporters omit or mangle the header.
        """
        media_type = _media_type(content_type)
        lines_max = max(_LINES_MAX, self._samples_max * _LINES_PER_SAMPLE_MAX)
        if body.count(b"\n") > lines_max:
            raise TooLarge(f"line limit exceeded: more than {lines_max} lines")
        columns = _columns(body)
        if self._template is not None and media_type == self._template.media_type:
            values = _repeated_values(self._template, columns)
            if values is not None:
                return Page(self._template.shape, values, None)
        self._template = None
        page, samples = self._read_carefully(body, media_type)
        self._template = _learn(media_type, columns, samples, page.shape)
        return page

    def _read_carefully(self, body: bytes, media_type: str) -> tuple[Page, list[Sample]]:
        samples: list[Sample] = []
        declared = _Declared(self._samples_max)
        for entry in _parse(body, media_type):
            if not isinstance(entry, Sample):
                declared.add(entry)
            elif len(samples) < self._samples_max:
                samples.append(entry)
            else:
                raise TooLarge(f"sample limit exceeded: more than {self._samples_max} samples")
        series = tuple([sample.labels for sample in samples])
        values = np.array([sample.value for sample in samples], np.float64)
        times = tuple([sample.time_ms for sample in samples])
        timed = times.count(None) < len(times)
        shape = Shape(series, declared.families())
        return Page(shape, values, times if timed else None), samples


class _Declared:
    """Families as they are declared, line by line. Above the limit new ones are left out."""

    def __init__(self, families_max: int) -> None:
        self._families_max = families_max
        self._parts: dict[str, list[str]] = {}

    def add(self, entry: Help | Type | Unit | Comment) -> None:
        if isinstance(entry, Comment):
            return
        family, text = entry
        parts = self._parts.get(family)
        if parts is None:
            if len(self._parts) >= self._families_max:
                return
            parts = self._parts[family] = ["unknown", "", ""]
        parts[_PLACES[type(entry)]] = text

    def families(self) -> dict[str, Metadata]:
        return {family: _metadata(*parts) for family, parts in self._parts.items()}


# Which part of a declaration an entry tells; see model.metadata.Metadata.
_PLACES: dict[type, int] = {Type: 0, Help: 1, Unit: 2}


@lru_cache(maxsize=exposition.METADATA_REMEMBERED_MAX)
def _metadata(kind: str, text: str, unit: str) -> Metadata:
    """Hosts of one kind share their declarations."""
    return Metadata(kind, text, unit)


def line_of_sample(body: bytes, content_type: str, index: int) -> int:
    """The line, from 1, of sample `index` of a page that parses that far: for an error text."""
    samples = (
        entry for entry in _parse(body, _media_type(content_type)) if isinstance(entry, Sample)
    )
    return exposition.line_of(body, next(islice(samples, index, None)).begin)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _parse(body: bytes, media_type: str) -> Iterator[Entry]:
    if media_type == OPENMETRICS:
        return openmetrics.entries(body)
    return exposition.entries(body)


def _columns(body: bytes) -> _Columns:
    """Of every line: what stands before its last blank, that blank, and its last word.

    As str of one character a byte, because those can be interned: the templates of a hundred hosts share
    the lines that are the same.
    """
    lines = body.decode("latin-1").split("\n")
    heads, blanks, words = zip(*[line.rpartition(" ") for line in lines], strict=True)
    return heads, blanks, words


def _repeated_values(template: _Template, columns: _Columns) -> ValueArray | None:
    heads, blanks, words = columns
    if (
        heads != template.heads
        or blanks != template.blanks
        or template.fixed(words) != template.fixed_words
    ):
        return None
    return _plain_numbers(template.numbers(words))


def _plain_numbers(words: _Column) -> ValueArray | None:
    return values_of(",".join(words).encode("latin-1"), len(words))


def values_of(joined: bytes, count: int) -> ValueArray | None:
    """`count` words joined by commas as float64, or None where one of them is no value.

    JSON's numbers are a part of the format's, and orjson reads a list of them several times faster than
    float() would one by one. A NaN, which summaries without observations are full of, goes as null. JSON
    takes -0 for the integer 0, so that goes the slow way.
    """
    if joined.count(b",") != count - 1 or not joined:
        # A single word that is empty would look like no word at all.
        return None
    rest = joined.replace(b"NaN", b"")
    plain = not rest.translate(None, _NUMBER_BYTES)
    if plain and b"-0," not in joined and not joined.endswith(b"-0"):
        try:
            numbers = orjson.loads(b"[" + joined.replace(b"NaN", b"null") + b"]")
        except orjson.JSONDecodeError:
            pass
        else:
            values = np.array(numbers, np.float64)
            if len(rest) != len(joined):
                values[np.isnan(values)] = NAN
            return values
    parsed = [parse_value(word) for word in joined.split(b",")]
    return None if None in parsed else np.array(parsed, np.float64)


def _learn(
    media_type: str, columns: _Columns, samples: list[Sample], shape: Shape
) -> _Template | None:
    """The page's template, or None where a sample is not exactly one line `SERIES VALUE`."""
    heads, blanks, words = columns
    sizes = [len(h) + len(b) + len(w) + 1 for h, b, w in zip(heads, blanks, words, strict=True)]
    line_at = dict(zip(accumulate(sizes, initial=0), range(len(sizes)), strict=False))
    numbered: list[int] = []
    for sample in samples:
        at = line_at.get(sample.begin)
        if at is None or not blanks[at] or sample.time_ms is not None:
            return None
        if sample.value_at - 1 - sample.begin != len(heads[at]):
            return None
        numbered.append(at)
    rest = sorted(set(range(len(heads))) - set(numbered))
    if not numbered:
        return None
    fixed, numbers = _picker(rest), _picker(numbered)
    heads = tuple(map(sys.intern, heads))
    fixed_words = tuple(map(sys.intern, fixed(words)))
    return _Template(media_type, heads, blanks, fixed, fixed_words, numbers, shape)


def _picker(lines: list[int]) -> Callable[[_Column], _Column]:
    """Picks those lines of a column. itemgetter is fastest, but spells one and none differently."""
    if len(lines) > 1:
        return itemgetter(*lines)
    return lambda column: tuple(column[line] for line in lines)
