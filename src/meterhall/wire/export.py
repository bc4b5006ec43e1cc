"""Series as OpenMetrics text: the way out for everything that is stored.

One line a sample, series after series, without metadata, which parsers take as type unknown. A staleness
marker is no number of that format: it is left out, or spelled `nan`. Every parser reads that as NaN, and
`ingest.importing` as the marker again, for an ordinary NaN is written `NaN`.
"""

import math
import re
from collections.abc import Iterator, Sequence

from meterhall.model.labels import METRIC_NAME, Labels, label_value
from meterhall.model.samples import ABSENT_BITS, STALE_BITS, TimestampArray, ValueArray
from meterhall.wire import labelblock

END = b"# EOF\n"
STALE_TOKEN = b"nan"

# Our own patterns.
_PLAIN_METRIC = re.compile(labelblock.METRIC_NAME)  # noqa: TID251
_PLAIN_LABEL = re.compile(labelblock.LABEL_NAME)  # noqa: TID251
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def series_lines(
    labels: Labels, times: Sequence[bytes], values: ValueArray, *, markers: bool
) -> Iterator[bytes]:
    """The series' samples, one line each; `times` are those of `time_tokens`, absent cells are skipped."""
    head = series_token(labels)
    bits = values.view("<u8").tolist()
    for time, value, pattern in zip(times, values.tolist(), bits, strict=True):
        if pattern == STALE_BITS:
            if markers:
                yield b"%s %s %s\n" % (head, STALE_TOKEN, time)
        elif pattern != ABSENT_BITS:
            yield b"%s %s %s\n" % (head, _value(value), time)


def series_token(labels: Labels) -> bytes:
    """`name{label="value",…}`; names that are no plain ones are quoted, the metric's inside the braces."""
    name = label_value(labels, METRIC_NAME)
    plain = _PLAIN_METRIC.fullmatch(name.encode())
    inside = [] if plain or not name else [_quoted(name)]
    for label, value in labels:
        if label != METRIC_NAME:
            spelled = label if _PLAIN_LABEL.fullmatch(label.encode()) else _quoted(label)
            inside.append(f"{spelled}={_quoted(value)}")
    text = name if plain else ""
    return (f"{text}{{{','.join(inside)}}}" if inside else text).encode()


def time_tokens(times: TimestampArray) -> list[bytes]:
    """Times in seconds.

    Prometheus multiplies what it reads by a thousand and cuts; so where that would lose a millisecond, the next
    larger float is written.
    """
    tokens = []
    for time_ms in times.tolist():
        seconds = time_ms / 1000
        if int(seconds * 1000) != time_ms:
            seconds = math.nextafter(seconds, math.inf if time_ms > 0 else -math.inf)
        assert int(seconds * 1000) == time_ms, f"bug: {time_ms} ms cannot be written in seconds"
        tokens.append(repr(seconds).encode())
    return tokens


def _value(value: float) -> bytes:
    if math.isfinite(value):
        return repr(value).encode()
    if math.isnan(value):
        return b"NaN"
    return b"+Inf" if value > 0 else b"-Inf"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
