"""Remote write 1.0: a snappy block with a protobuf WriteRequest → columns.

Senders repeat the same label sets in every request, so the unit here is the *label block*: the label fields
of one TimeSeries as they stand in the body. A receiver keeps what it knows by label block and never
decodes a label again. `decode` is told which blocks are known, which buys the fast way: a message that ends
like one sample and begins with a known block can only be that block and that sample, so nothing else of
it is looked at, and times and values are read by NumPy for all samples at once. And it is told which whole
bodies there were (`push_layout`), which buys the fastest way.

    WriteRequest  timeseries = 1, metadata = 3
    TimeSeries    labels = 1, samples = 2, exemplars = 3, histograms = 4
    Label         name = 1, value = 2
    Sample        value = 1 (double), timestamp = 2 (int64 ms); zero fields are left out
    Metadata      type = 1, metric_family_name = 2, help = 4, unit = 5

Exemplars and native histograms are counted and skipped. Format notes: docs/formats/remote-write.md.
"""

import struct
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meterhall.model.errors import WriteRequestError
from meterhall.model.metadata import Metadata
from meterhall.model.samples import TimestampArray, ValueArray
from meterhall.wire import protobuf
from meterhall.wire.protobuf import BYTES, FIXED64, VARINT, Budget, Malformed, expect
from meterhall.wire.push_layout import Layout, Layouts
from meterhall.wire.snappy import CORRUPT, decode_block

RawLabels = Sequence[tuple[bytes, bytes]]

# Read one by one, that is: the labels of 150,000 new series, or a second or two of a hostile body's work.
FIELDS_MAX = 1_500_000

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

# A sample field as senders write it: `12 10 09 <double> 10 <time in six bytes>`, or without the value
# where that is zero: `12 07 10 <time in six bytes>`. Six bytes hold the years 1971 to 2109.
_SAMPLE_HEAD = b"\x12\x10\x09"
_SAMPLE_BYTES = 18
_ZERO_HEAD = b"\x12\x07\x10"
_ZERO_BYTES = 9
_TAIL_BYTES = 16
_FIRST_TAG = 0x0A
_SECOND_TAG = 0x12
_TIME_TAG = 0x10
_CONTINUES = 0x80
_TIME_SHIFTS = np.arange(6, dtype=np.int64) * 7


@dataclass(frozen=True, slots=True, eq=False)
class WriteRequest:
    """A decoded request. Sample i belongs to the series with label block `blocks[owners[i]]`.

    `fresh` holds the labels of all blocks that were not known, in the sender's order and unchecked.
    Samples are in the sender's order. Values are as sent: NaNs of any kind.
    """

    blocks: Sequence[bytes]
    owners: NDArray[np.int64]
    times_ms: TimestampArray
    values: ValueArray
    fresh: Mapping[bytes, RawLabels]
    metadata: Mapping[str, Metadata]
    exemplars: int
    histograms: int
    layout: Layout | None = None


@dataclass(slots=True)
class _Columns:
    """A request in the making. Of a sample in one of the usual layouts only its end is noted, and whether
    it has a value; others are decoded at once and noted by their place.
    """

    known: Container[bytes]
    budget: Budget
    blocks: list[bytes] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    zeros: list[int] = field(default_factory=list)
    odd: dict[int, tuple[int, float]] = field(default_factory=dict)
    fresh: dict[bytes, RawLabels] = field(default_factory=dict)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    exemplars: int = 0
    histograms: int = 0
    # How much of the body was known series in the usual layouts.
    plain_bytes: int = 0


def decode(
    body: bytes,
    known: Container[bytes],
    decoded_bytes_max: int,
    fields_max: int = FIELDS_MAX,
    layouts: Layouts | None = None,
) -> WriteRequest:
    """Decodes a request's body. Raises WriteRequestError and nothing else, whatever the bytes.

    `layouts` are of the same sender and `known` for ever; the body's own is kept there, if it has one.
    Contract 6.2 has one text for every body that cannot be decoded; ours adds the cause behind it.
    """
    decoded = decode_block(body, decoded_bytes_max)
    if layouts is not None:
        repeated = _read_repeated(decoded, layouts)
        if repeated is not None:
            return repeated
    message = bytes(decoded)
    columns = _Columns(known, Budget(fields_max))
    try:
        at = 0
        while at < len(message):
            at = _read_known(message, at, columns)
            if at < len(message):
                at = _read_field(message, at, columns)
        return _finish(message, columns, layouts)
    except Malformed as error:
        raise WriteRequestError(f"{CORRUPT}: proto: {error}") from None


def _read_repeated(message: bytearray, layouts: Layouts) -> WriteRequest | None:
    """A body of a known layout; None for any other."""
    first = _first_block(message)
    layout = None if first is None else layouts.get(first)
    samples = None if layout is None else layout.read(message)
    if layout is None or samples is None:
        return None
    owners = np.arange(len(layout.blocks))
    return WriteRequest(layout.blocks, owners, *samples, {}, {}, 0, 0, layout)


def _first_block(message: bytearray) -> bytes | None:
    """The label block of a body that begins with a known series; where it doesn't, anything."""
    begin, length = 2, message[1] if len(message) > _SAMPLE_BYTES else 0
    if length >= _CONTINUES:
        begin, length = 3, length + ((message[2] - 1) << 7)
    end = begin + length
    size = (
        _SAMPLE_BYTES
        if message.startswith(_SAMPLE_HEAD, max(0, end - _SAMPLE_BYTES))
        else _ZERO_BYTES
    )
    return bytes(message[begin : end - size]) if end - size >= begin else None


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
        else:
            _, _, begin, at = next(protobuf.fields(block, at, end, budget))
        labels.append(_decode_label(block, begin, at, budget))
    return labels


def _decode_label(block: bytes, begin: int, end: int, budget: Budget) -> tuple[bytes, bytes]:
    # Senders write `0a <n> <name> 12 <m> <value>` with lengths of one byte each.
    if (
        end - begin > 1
        and block[begin] == _FIRST_TAG
        and (name_size := block[begin + 1]) < _CONTINUES
    ):
        name_end = begin + 2 + name_size
        if name_end + 1 < end and block[name_end] == _SECOND_TAG:
            value_size = block[name_end + 1]
            if value_size < _CONTINUES and name_end + 2 + value_size == end:
                return block[begin + 2 : name_end], block[name_end + 2 : end]
    name = value = b""
    for number, wire_type, part_begin, part_end in protobuf.fields(block, begin, end, budget):
        if number == 1:
            expect(number, wire_type, BYTES)
            name = block[part_begin:part_end]
        elif number == 2:
            expect(number, wire_type, BYTES)
            value = block[part_begin:part_end]
    return name, value


def _read_known(message: bytes, at: int, columns: _Columns) -> int:
    """Reads messages of known series with one sample each; returns where something else begins."""
    known, blocks, ends, zeros = columns.known, columns.blocks, columns.ends, columns.zeros
    size = len(message)
    first_series, first_sample, first_at = len(blocks), len(ends), at
    while at < size - _SAMPLE_BYTES and message[at] == _FIRST_TAG:
        begin = at + 2
        length = message[at + 1]
        if length >= _CONTINUES:
            high = message[begin]
            if high >= _CONTINUES:
                break
            length += (high - 1) << 7
            begin += 1
        end = begin + length
        if end > size or length < _SAMPLE_BYTES:
            break
        if message.startswith(_SAMPLE_HEAD, end - _SAMPLE_BYTES):
            block = message[begin : end - _SAMPLE_BYTES]
            if block not in known:
                break
        elif message.startswith(_ZERO_HEAD, end - _ZERO_BYTES):
            block = message[begin : end - _ZERO_BYTES]
            if block not in known:
                break
            zeros.append(len(ends))
        else:
            break
        blocks.append(block)
        ends.append(end)
        at = end
    columns.owners.extend(range(first_series, first_series + len(ends) - first_sample))
    columns.plain_bytes += at - first_at
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
    sample_ends: list[int] = []
    zeros: list[int] = []
    first = len(columns.ends)
    while at < end:
        if message.startswith(_SAMPLE_HEAD, at):
            at += _SAMPLE_BYTES
        elif message.startswith(_ZERO_HEAD, at):
            at += _ZERO_BYTES
            zeros.append(first + len(sample_ends))
        else:
            return False
        sample_ends.append(at)
    if at != end:
        return False
    _add_series(message[begin:block_end], len(sample_ends), columns)
    columns.ends.extend(sample_ends)
    columns.zeros.extend(zeros)
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
            labels.append(_label_field(message[part_begin:part_end]))
        elif number == 2:
            samples.append(_read_sample(message, part_begin, part_end, budget))
        columns.exemplars += number == 3
        columns.histograms += number == 4
    _add_series(b"".join(labels), len(samples), columns)
    for sample in samples:
        columns.odd[len(columns.ends)] = sample
        columns.ends.append(0)


def _add_series(block: bytes, samples: int, columns: _Columns) -> None:
    if block not in columns.known and block not in columns.fresh:
        columns.fresh[block] = _decode_labels(block, columns.budget)
    columns.owners.extend([len(columns.blocks)] * samples)
    columns.blocks.append(block)


def _label_field(content: bytes) -> bytes:
    """A Label as a field with its tag and length, so that odd series have the usual label blocks."""
    size, length = bytearray(), len(content)
    while length >= _CONTINUES:
        size.append(length & 0x7F | _CONTINUES)
        length >>= 7
    size.append(length)
    return bytes((_FIRST_TAG,)) + size + content


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


def _finish(message: bytes, columns: _Columns, layouts: Layouts | None) -> WriteRequest:
    ends = np.array(columns.ends, np.int64)
    has_value = np.ones(len(ends), np.bool_)
    has_value[columns.zeros] = False
    usual = ends >= _TAIL_BYTES
    usual[list(columns.odd)] = False
    times, values = _read_usual(np.frombuffer(message, np.uint8), ends, has_value, usual)
    for place in np.flatnonzero(~usual).tolist():
        sample = columns.odd.get(place)
        if sample is None:
            end = columns.ends[place]
            size = _SAMPLE_BYTES if has_value[place] else _ZERO_BYTES
            sample = _read_sample(message, end - size + 2, end, columns.budget)
        times[place], values[place] = sample
    owners = np.array(columns.owners, np.int64)
    if layouts is not None and usual.all() and _is_plain(message, columns, owners):
        layouts.keep(Layout(message, columns.blocks, ends, has_value))
    return WriteRequest(
        columns.blocks,
        owners,
        times,
        values,
        columns.fresh,
        columns.metadata,
        columns.exemplars,
        columns.histograms,
    )


def _is_plain(message: bytes, columns: _Columns, owners: NDArray[np.int64]) -> bool:
    """Whether a body is nothing but known series in the usual layouts, with one sample each."""
    return (
        len(owners) == len(columns.blocks) > 0
        and not columns.fresh
        and columns.plain_bytes == len(message)
    )


def _read_usual(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    has_value: NDArray[np.bool_],
    usual: NDArray[np.bool_],
) -> tuple[TimestampArray, ValueArray]:
    """Times and values of samples in the usual layouts, all at once.

    `usual` loses those that only looked like one: whose tags or time bytes are not where they should be.
    """
    times = np.zeros(len(ends), np.int64)
    values = np.zeros(len(ends), np.float64)
    places = np.flatnonzero(usual)
    if not len(places):
        return times, values
    # All of a sample's last sixteen bytes in a row each: `09 <double> 10 <time>`; without a value the
    # first nine are the end of something else.
    tails = np.lib.stride_tricks.sliding_window_view(data, _TAIL_BYTES)[ends[places] - _TAIL_BYTES]
    time_bytes = tails[:, 10:].astype(np.int64)
    fits = (tails[:, 9] == _TIME_TAG) & (time_bytes[:, :5] >= _CONTINUES).all(axis=1)
    fits &= time_bytes[:, 5] < _CONTINUES
    usual[places[~fits]] = False
    times[places] = ((time_bytes & 0x7F) << _TIME_SHIFTS).sum(axis=1)
    values[places] = np.ascontiguousarray(tails[:, 1:9]).view("<f8")[:, 0]
    values[~has_value] = 0.0
    return times, values
