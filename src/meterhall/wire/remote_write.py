"""Remote write 1.0: a snappy block with a protobuf WriteRequest → columns.

Senders repeat the same label sets in every request, so the unit here is the *label block*: the label fields
of one TimeSeries as they stand in the body. A receiver keeps what it knows by label block (`KnownSeries`) and never
decodes a label again. That buys a short way: a message that ends like one sample and begins with a known block can
only be that block and that sample, so nothing else of it is looked at. And where the messages follow each
other as they did before, they are not even looked at one by one (`push_layout`). Times and values are
read by NumPy for all samples at once (`push_sample`).

    WriteRequest  timeseries = 1, metadata = 3
    TimeSeries    labels = 1, samples = 2, exemplars = 3, histograms = 4
    Label         name = 1, value = 2
    Sample        value = 1 (double), timestamp = 2 (int64 ms); zero fields are left out
    Metadata      type = 1, metric_family_name = 2, help = 4, unit = 5

Exemplars and native histograms are counted and skipped. Format notes: docs/formats/remote-write.md.
"""

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from meterhall.model.errors import WriteRequestError
from meterhall.model.metadata import Metadata
from meterhall.model.samples import RefArray, TimestampArray, ValueArray
from meterhall.wire import protobuf
from meterhall.wire.protobuf import BYTES, FIXED64, VARINT, Budget, Malformed, bytes_field, expect
from meterhall.wire.push_layout import NEW, KnownSeries
from meterhall.wire.push_sample import (
    NO_TAIL,
    SAMPLE_BYTES,
    SAMPLE_HEAD,
    TAIL,
    ZERO_BYTES,
    ZERO_HEAD,
    ZERO_TAIL,
    ZERO_TAIL_BYTES,
    times_of,
    values_of,
    without_value,
)
from meterhall.wire.snappy import CORRUPT, decode_block

RawLabels = Sequence[tuple[bytes, bytes]]

# Read one by one, that is: the labels of 150,000 new series, or a second or two of a hostile body's work.
FIELDS_MAX = 1_500_000

# Usual labels that are remembered cut in two; each takes some 300 bytes.
_LABELS_REMEMBERED_MAX = 8_192

# MetricMetadata.MetricType by number.
_METADATA_TYPES = (
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)

_FIRST_TAG = 0x0A
_SECOND_TAG = 0x12
_CONTINUES = 0x80

# Where other series come than before, one is read by itself and the next are tried again: as many first, then more
# and more. Such a stop costs what it costs to read so many known series one by one; there may be this many, and
# more in a large body as long as it is worth it.
_TRIED_FIRST, _TRIED_GROWTH = 64, 8
_STOP_COST = 25
_STOPS_MAX = 32
# As long as a stop takes it to fit a layout of so many series.
_FITTED_LIKE_STOP = 256


@dataclass(frozen=True, slots=True, eq=False)
class WriteRequest:
    """A decoded request. Sample i belongs to series `owners[i]`, in the sender's order, which is that of the samples too.

    `refs` are what the receiver calls the series, NEW for those it did not know: their label blocks are `fresh_blocks`
    by place, and the labels `fresh`, unchecked. Values are as sent: NaNs of any kind.
    """

    refs: RefArray
    owners: NDArray[np.int64]
    times_ms: TimestampArray
    values: ValueArray
    fresh: Mapping[bytes, RawLabels]
    fresh_blocks: Mapping[int, bytes]
    metadata: Mapping[str, Metadata]
    exemplars: int
    histograms: int
    known: KnownSeries
    numbers: NDArray[np.int64]

    def blocks(self) -> list[bytes]:
        """The label blocks of all series. Takes some time; hardly anyone asks."""
        return [
            self.fresh_blocks[place] if number == NEW else self.known.block(number)
            for place, number in enumerate(self.numbers.tolist())
        ]


@dataclass(slots=True)
class _Columns:
    """A request in the making. Of a sample written as usual only its tail is noted; others are decoded at once, and
    noted by their place beside a tail that is none.
    """

    known: KnownSeries
    budget: Budget
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    # How many samples a series has, by its place, where it is not one.
    counts: dict[int, int] = field(default_factory=dict)
    tails: bytearray = field(default_factory=bytearray)
    odd: dict[int, tuple[int, float]] = field(default_factory=dict)
    fresh: dict[bytes, RawLabels] = field(default_factory=dict)
    fresh_blocks: dict[int, bytes] = field(default_factory=dict)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    exemplars: int = 0
    histograms: int = 0
    # How many known series were read one by one, and how often the next one was not the one that came before.
    single: int = 0
    stops: int = 0
    # How many series the layouts have that were fitted.
    fitted: int = 0


def decode(
    body: bytes, known: KnownSeries, decoded_bytes_max: int, fields_max: int = FIELDS_MAX
) -> WriteRequest:
    """Decodes a request's body. Raises WriteRequestError and nothing else, whatever the bytes.

    What is `known` are series of the same sender. How they follow each other is remembered there.
    Contract 6.2 has one text for every body that cannot be decoded; ours adds the cause behind it.
    """
    message = decode_block(body, decoded_bytes_max)
    columns = _Columns(known, Budget(fields_max))
    number = known.numbers.get(_first_block(message), NEW)
    at = _read_run(message, 0, number, len(message), columns)
    try:
        if at < len(message):
            _read_rest(message, at, columns)
        return _finish(columns)
    except Malformed as error:
        raise WriteRequestError(f"{CORRUPT}: proto: {error}") from None


def _first_block(message: bytearray) -> bytes:
    """The label block of a body that begins with a known series; where it doesn't, anything."""
    begin, length = 2, message[1] if len(message) > SAMPLE_BYTES else 0
    if length >= _CONTINUES:
        begin, length = 3, length + ((message[2] - 1) << 7)
    end = begin + length
    valued = message.startswith(SAMPLE_HEAD, max(0, end - SAMPLE_BYTES))
    return bytes(message[begin : max(begin, end - (SAMPLE_BYTES if valued else ZERO_BYTES))])


def _read_run(message: bytearray, at: int, number: int, most: int, columns: _Columns) -> int:
    """Reads series from that number on, as long as they follow each other as before; returns where others begin.

    `most` are compared first. The samples are blanked out in what was read.
    """
    known = columns.known
    found = known.find(number)
    while found is not None and at < len(message):
        layout, place = found
        tails, at = layout.match(message, at, place, most)
        same = len(tails)
        columns.numbers.frombytes(np.arange(number, number + same).tobytes())
        columns.tails += tails.tobytes()
        number += same
        if same == min(most, len(layout) - place) or at == len(message):
            most *= _TRIED_GROWTH
            found = known.find(number)
            continue
        fitted = layout.fitted(message, at, place + same)
        if fitted is None:
            columns.stops += 1
            break
        known.put(fitted)
        columns.fitted += len(fitted)
        found = fitted, place + same
    return at


def _read_rest(decoded: bytearray, at: int, columns: _Columns) -> None:
    """Reads what does not begin as it did before, and from there on."""
    message = bytes(decoded)
    while at < len(message):
        again = _is_worth_it(columns)
        end = _read_known(message, at, 1 if again else len(message), columns)
        if end == at:
            at = _read_field(message, at, columns)
        elif again:
            at = _read_run(decoded, end, columns.numbers[-1] + 1, _TRIED_FIRST, columns)
        else:
            at = end


def _is_worth_it(columns: _Columns) -> bool:
    """Whether reading in runs has saved more than its stops cost, or not been tried often."""
    stops = columns.stops + columns.fitted // _FITTED_LIKE_STOP
    return stops < _STOPS_MAX + len(columns.numbers) // _STOP_COST


def decode_labels(block: bytes) -> RawLabels:
    """The labels of one block of a request that was decoded before."""
    return _decode_labels(block, Budget(FIELDS_MAX))


def _decode_labels(block: bytes, budget: Budget) -> RawLabels:
    labels: list[tuple[bytes, bytes]] = []
    at, end = 0, len(block)
    while at < end:
        # Mostly a length of one byte; whatever else there may be, `fields` knows.
        size = block[at + 1] if at + 1 < end else _CONTINUES
        if size < _CONTINUES and at + 2 + size <= end:
            budget.spend()
            begin, at = at + 2, at + 2 + size
            usual = _usual_label(block[begin:at])
        else:
            _, _, begin, at = next(protobuf.fields(block, at, end, budget))
            usual = None
        labels.append(usual or _odd_label(block, begin, at, budget))
    return labels


@lru_cache(maxsize=_LABELS_REMEMBERED_MAX)
def _usual_label(label: bytes) -> tuple[bytes, bytes] | None:
    """A label as senders write it, `0a <n> <name> 12 <m> <value>` with lengths of one byte each; None where it is not.

    Series have most of their labels in common. These are short: so is what is remembered.
    """
    if len(label) > 1 and label[0] == _FIRST_TAG and (name_size := label[1]) < _CONTINUES:
        name_end = 2 + name_size
        if name_end + 1 < len(label) and label[name_end] == _SECOND_TAG:
            value_size = label[name_end + 1]
            if value_size < _CONTINUES and name_end + 2 + value_size == len(label):
                return label[2:name_end], label[name_end + 2 :]
    return None


def _odd_label(block: bytes, begin: int, end: int, budget: Budget) -> tuple[bytes, bytes]:
    name = value = b""
    for number, wire_type, part_begin, part_end in protobuf.fields(block, begin, end, budget):
        if number == 1:
            expect(number, wire_type, BYTES)
            name = block[part_begin:part_end]
        elif number == 2:
            expect(number, wire_type, BYTES)
            value = block[part_begin:part_end]
    return name, value


def _read_known(message: bytes, at: int, most: int, columns: _Columns) -> int:
    """Reads at most so many messages of known series with one sample each; returns where something else begins."""
    number_of, numbers, tails = columns.known.numbers.get, columns.numbers, columns.tails
    size, first = len(message), len(numbers)
    for _ in repeat(None, most):
        if at >= size - SAMPLE_BYTES or message[at] != _FIRST_TAG:
            break
        begin = at + 2
        length = message[at + 1]
        if length >= _CONTINUES:
            high = message[begin]
            if high >= _CONTINUES:
                break
            length += (high - 1) << 7
            begin += 1
        end = begin + length
        if end > size or length < SAMPLE_BYTES:
            break
        if message.startswith(SAMPLE_HEAD, end - SAMPLE_BYTES):
            number = number_of(message[begin : end - SAMPLE_BYTES])
            if number is None:
                break
            tails += message[end - TAIL.itemsize : end]
        elif message.startswith(ZERO_HEAD, end - ZERO_BYTES):
            number = number_of(message[begin : end - ZERO_BYTES])
            if number is None:
                break
            tails += ZERO_TAIL + message[end - ZERO_TAIL_BYTES : end]
        else:
            break
        numbers.append(number)
        at = end
    columns.single += len(numbers) - first
    return at


def _read_field(message: bytes, at: int, columns: _Columns) -> int:
    """Reads one field of the request, whatever it is; returns where the next begins."""
    number, wire_type, begin, end = next(protobuf.fields(message, at, len(message), columns.budget))
    if number == 1:
        expect(number, wire_type, BYTES)
        if not _read_series(message, begin, end, columns):
            _read_odd_series(message, begin, end, columns)
    elif number == 3:
        expect(number, wire_type, BYTES)
        family, metadata = _read_metadata(message, begin, end, columns.budget)
        columns.metadata[family] = metadata
    return end


def _read_series(message: bytes, begin: int, end: int, columns: _Columns) -> bool:
    """Reads a TimeSeries of labels and then samples in the usual layouts; False where it is another."""
    at = begin
    while at + 1 < end and message[at] == _FIRST_TAG:
        length = message[at + 1]
        if length < _CONTINUES:
            at += 2 + length
        elif at + 2 < end and message[at + 2] < _CONTINUES:
            at += 3 + length + ((message[at + 2] - 1) << 7)
        else:
            return False
    block_end = at
    tails: list[bytes] = []
    while at < end:
        if message.startswith(SAMPLE_HEAD, at):
            at += SAMPLE_BYTES
            tails.append(message[at - TAIL.itemsize : at])
        elif message.startswith(ZERO_HEAD, at):
            at += ZERO_BYTES
            tails.append(ZERO_TAIL + message[at - ZERO_TAIL_BYTES : at])
        else:
            return False
    if at != end:
        return False
    _add_series(message[begin:block_end], tails, columns)
    return True


def _read_odd_series(message: bytes, begin: int, end: int, columns: _Columns) -> None:
    """Reads a TimeSeries field by field, in any order, with fields that are new."""
    budget = columns.budget
    labels: list[bytes] = []
    samples: list[tuple[int, float]] = []
    for number, wire_type, part_begin, part_end in protobuf.fields(message, begin, end, budget):
        if 1 <= number <= 4:
            expect(number, wire_type, BYTES)
        if number == 1:
            # As a field again, so that odd series have the usual label blocks.
            labels.append(bytes_field(1, message[part_begin:part_end]))
        elif number == 2:
            samples.append(_read_sample(message, part_begin, part_end, budget))
        columns.exemplars += number == 3
        columns.histograms += number == 4
    columns.odd.update(enumerate(samples, len(columns.tails) // TAIL.itemsize))
    _add_series(b"".join(labels), [NO_TAIL] * len(samples), columns)


def _add_series(block: bytes, tails: Sequence[bytes], columns: _Columns) -> None:
    place, number = len(columns.numbers), columns.known.numbers.get(block, NEW)
    if number == NEW:
        columns.fresh_blocks[place] = block
        if block not in columns.fresh:
            columns.fresh[block] = _decode_labels(block, columns.budget)
    if len(tails) != 1:
        columns.counts[place] = len(tails)
    columns.numbers.append(number)
    columns.tails += b"".join(tails)


def _read_sample(message: bytes, begin: int, end: int, budget: Budget) -> tuple[int, float]:
    value, time_ms = 0.0, 0
    for number, wire_type, part_begin, part_end in protobuf.fields(message, begin, end, budget):
        if number == 1:
            expect(number, wire_type, FIXED64)
            (value,) = struct.unpack_from("<d", message, part_begin)
        elif number == 2:
            expect(number, wire_type, VARINT)
            time_ms, _ = protobuf.read_int64(message, part_begin, part_end)
    return time_ms, value


def _read_metadata(message: bytes, begin: int, end: int, budget: Budget) -> tuple[str, Metadata]:
    kind, texts = 0, {2: b"", 4: b"", 5: b""}
    for number, wire_type, part_begin, part_end in protobuf.fields(message, begin, end, budget):
        if number == 1:
            expect(number, wire_type, VARINT)
            kind, _ = protobuf.read_varint(message, part_begin, part_end)
        elif number in texts:
            expect(number, wire_type, BYTES)
            texts[number] = message[part_begin:part_end]
    family, text, unit = (raw.decode("utf-8", "replace") for raw in texts.values())
    named = _METADATA_TYPES[kind] if kind < len(_METADATA_TYPES) else "unknown"
    return family, Metadata(named, text, unit)


def _finish(columns: _Columns) -> WriteRequest:
    tails = np.frombuffer(columns.tails, TAIL)
    numbers = np.frombuffer(columns.numbers, np.int64)
    values = values_of(tails)
    times, fits = times_of(tails)
    for place in np.flatnonzero(~fits).tolist():
        sample = columns.odd.get(place) or _read_tail(tails[place].tobytes(), columns.budget)
        times[place], values[place] = sample
    if not columns.counts and fits.all() and _owes(columns):
        known = numbers != NEW
        columns.known.arrange(numbers[known], without_value(tails)[known])
    return WriteRequest(
        columns.known.refs(numbers),
        _owners(columns),
        times,
        values,
        columns.fresh,
        columns.fresh_blocks,
        columns.metadata,
        columns.exemplars,
        columns.histograms,
        columns.known,
        numbers,
    )


def _owes(columns: _Columns) -> bool:
    return columns.known.owes(columns.single + _STOP_COST * columns.stops, len(columns.numbers))


def _read_tail(tail: bytes, budget: Budget) -> tuple[int, float]:
    """A sample whose time is not six bytes."""
    begin = len(ZERO_TAIL) if tail.startswith(ZERO_TAIL) else 0
    return _read_sample(tail, begin, len(tail), budget)


def _owners(columns: _Columns) -> NDArray[np.int64]:
    owners = np.arange(len(columns.numbers))
    if not columns.counts:
        return owners
    counts = np.ones(len(owners), np.int64)
    counts[list(columns.counts)] = list(columns.counts.values())
    return np.repeat(owners, counts)
