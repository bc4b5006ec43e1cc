"""Remote-write bodies for tests, made by Google's protobuf runtime: an encoder that is not ours."""

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from meterhall.wire.push_layout import KnownSeries

_OPTIONAL, _REPEATED = 1, 3
_KINDS = {"bytes": 12, "double": 1, "int64": 3, "int32": 5}


def _make():
    file = descriptor_pb2.FileDescriptorProto(name="write.proto", package="t", syntax="proto3")

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, field_name, kind, label in fields:
            if kind in _KINDS:
                made.field.add(name=field_name, number=number, type=_KINDS[kind], label=label)
            else:
                made.field.add(
                    name=field_name, number=number, type=11, type_name=f".t.{kind}", label=label
                )

    message("Label", (1, "name", "bytes", _OPTIONAL), (2, "value", "bytes", _OPTIONAL))
    message("Sample", (1, "value", "double", _OPTIONAL), (2, "timestamp", "int64", _OPTIONAL))
    message(
        "TimeSeries",
        (1, "labels", "Label", _REPEATED),
        (2, "samples", "Sample", _REPEATED),
        (3, "exemplars", "bytes", _REPEATED),
        (4, "histograms", "bytes", _REPEATED),
    )
    message(
        "Metadata",
        (1, "type", "int32", _OPTIONAL),
        (2, "family", "bytes", _OPTIONAL),
        (4, "help", "bytes", _OPTIONAL),
        (5, "unit", "bytes", _OPTIONAL),
    )
    message(
        "WriteRequest",
        (1, "timeseries", "TimeSeries", _REPEATED),
        (3, "metadata", "Metadata", _REPEATED),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.WriteRequest"))


WriteRequestMessage = _make()


def encoded(series, metadata=()):
    """series: [(labels as pairs or dict, [(time, value), …]), …] → protobuf bytes."""
    message = WriteRequestMessage()
    for labels, samples in series:
        made = message.timeseries.add()
        pairs = labels.items() if isinstance(labels, dict) else labels
        for name, value in pairs:
            made.labels.add(name=as_bytes(name), value=as_bytes(value))
        for time, value in samples:
            made.samples.add(timestamp=time, value=value)
    for kind, family, text, unit in metadata:
        message.metadata.add(
            type=kind, family=as_bytes(family), help=as_bytes(text), unit=as_bytes(unit)
        )
    return message.SerializeToString()


def snappy(data):
    return bytes(cramjam.snappy.compress_raw(data))


def body_of(series, metadata=()):
    return snappy(encoded(series, metadata))


def knowing(blocks=(), layout_bytes_max=0):
    """A sender of whom these series are known, each by its place. Without bytes for layouts all go the careful way."""
    known = KnownSeries(layout_bytes_max)
    known.add({block: place for place, block in enumerate(blocks)})
    return known


def as_bytes(text):
    return text.encode() if isinstance(text, str) else text
