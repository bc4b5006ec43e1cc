"""A page of one target, read again and again: the fast path for pages that repeat their series.

Exporters answer with the same lines every time, but for the values. After a careful reading whose samples
all stand on a line of their own as `SERIES VALUE`, the reader keeps the page's template: which lines are samples,
where in them the value begins, and a hash of all bytes but the values. A later page of as many lines that has
the same hash, and plain numbers from those places to the ends of their lines, would be read the same way
byte for byte by the careful parser, so only the numbers are read. Anything else goes to the careful
parser, whose verdict is the only one: the fast path never refuses.

The hash is Python's of `bytes`, of 64 bits and keyed anew in each process: that another page has the same one is
less likely than that the machine errs, and cannot be brought about.

A repeated page comes with the very Shape object of the page before, so that whoever derived something
from the series can keep it as long as the shape is the same object.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import orjson
from numpy.typing import NDArray

from meterhall.model.errors import TooLarge
from meterhall.model.labels import Labels
from meterhall.model.metadata import Metadata
from meterhall.model.samples import NAN, ValueArray
from meterhall.wire import exposition, openmetrics
from meterhall.wire.entries import Comment, Entry, Help, Sample, Type, Unit
from meterhall.wire.numbers import parse_value

OPENMETRICS = "application/openmetrics-text"
_NEWLINE, _BLANK, _COMMA = b"\n ,"
_NUMBER_BYTES = b"0123456789.eE+-,"
# A sample rarely has more lines to itself than HELP, TYPE and UNIT. Lines that hold nothing would cost us
# time without ever reaching the limit of samples.
_LINES_PER_SAMPLE_MAX = 4
_LINES_MAX = 200_000


_Places = NDArray[np.int64]


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
    """Sample i is on line `samples[i]`, its value from `begins[i]` bytes behind the newline before to the next."""

    media_type: str
    newlines: int
    samples: NDArray[np.int32]
    begins: NDArray[np.int32]
    rest: int
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
        # Counted before their places are listed, which takes eight bytes a line.
        if body.count(b"\n") > lines_max:
            raise TooLarge(f"line limit exceeded: more than {lines_max} lines")
        if self._template is not None and media_type == self._template.media_type:
            values = _repeated_values(self._template, body)
            if values is not None:
                return Page(self._template.shape, values, None)
        self._template = None
        page, samples = self._read_carefully(body, media_type)
        self._template = _learn(media_type, body, samples, page.shape)
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


def _newlines(body: bytes) -> _Places:
    """Where newlines are, one before the page among them: line n lies between the n-th and the next."""
    found = np.flatnonzero(np.frombuffer(body, np.uint8) == _NEWLINE)
    return np.concatenate(([-1], found))


def _split(body: bytes, begins: _Places, ends: _Places) -> tuple[bytes, int] | None:
    """What stands between `begins` and the newlines at `ends`, joined by commas; and a hash of all the rest.

    None where one begins behind its end.
    """
    page = np.frombuffer(body, np.uint8)
    sizes = ends - begins + 1
    if sizes.min() < 1:
        return None
    after = np.cumsum(sizes)
    places = np.arange(after[-1]) + np.repeat(ends + 1 - after, sizes)
    words = page[places]
    words[after - 1] = _COMMA
    rest = np.ones(len(page), np.bool_)
    rest[places] = False
    return words[:-1].tobytes(), hash(np.compress(rest, page).tobytes())


def _repeated_values(template: _Template, body: bytes) -> ValueArray | None:
    newlines = _newlines(body)
    if len(newlines) != template.newlines or not body.endswith(b"\n"):
        return None
    lines = template.samples
    split = _split(body, newlines[lines] + template.begins, newlines[lines + 1])
    if split is None or split[1] != template.rest:
        return None
    return values_of(split[0], len(lines))


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


def _learn(media_type: str, body: bytes, samples: list[Sample], shape: Shape) -> _Template | None:
    """The page's template, or None where a sample is not exactly one line `SERIES VALUE`."""
    if not samples or not body.endswith(b"\n"):
        return None
    if any(sample.time_ms is not None for sample in samples):
        return None
    values_at = np.array([sample.value_at for sample in samples])
    if (np.frombuffer(body, np.uint8)[values_at - 1] != _BLANK).any():
        # Who splits lines at their last blank, as agents do, would take another word for the value.
        return None
    newlines = _newlines(body)
    lines = np.searchsorted(newlines, values_at) - 1
    split = _split(body, values_at, newlines[lines + 1])
    if split is None or values_of(split[0], len(samples)) is None:
        # Something follows a value.
        return None
    begins = values_at - newlines[lines]
    places = lines.astype(np.int32), begins.astype(np.int32)
    return _Template(media_type, len(newlines), *places, split[1], shape)
