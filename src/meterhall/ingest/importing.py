"""OpenMetrics text of any length → one tenant's samples: the way in for what another system has exported.

Every line must have a timestamp. Lines are read some megabytes at a time, so that memory does not follow the file; the
last TYPE goes along, since it decides how `le` and `quantile` are spelled. A value spelled `nan` is a staleness marker
(wire.export). Samples may be of any age. What the store refuses is counted by kind, what is wrong raises.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from meterhall.ingest.outcome import refused_by_kind
from meterhall.ingest.rows import merge_rows
from meterhall.ingest.stamp import stamp
from meterhall.model.errors import ExpositionError, StoreUnavailable
from meterhall.model.labels import Labels, label_value
from meterhall.model.samples import STALE, Row
from meterhall.ports.append import Appended, SampleWriter
from meterhall.wire.entries import Sample
from meterhall.wire.export import END, STALE_TOKEN
from meterhall.wire.openmetrics import entries

_BATCH_BYTES = 2 << 20
_TYPE = b"# TYPE "


@dataclass(slots=True)
class Imported:
    """What became of an import."""

    samples: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def import_lines(
    lines: Iterable[bytes], writer: SampleWriter, wait: Callable[[], None]
) -> Imported:
    """Takes the text, and returns when all of it is on disk. Raises ExpositionError, which names the line.

    `wait` is called where the store takes nothing for a moment; it raises to give up. What came before a
    wrong line is in the store then: importing the mended text doubles nothing.
    """
    done = Imported()
    last: Appended | None = None
    for before, page in _pages(lines):
        samples = _samples(page, before)
        if samples:
            last = _append(samples, page, writer, wait)
            done.samples += last.accepted
            done.refused.update(refused_by_kind(last.rejections))
            # One batch is on its way to the disk while the next is read; no more.
            last.durable.result()
    return done


def _pages(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Pieces of the text that are pages of their own, each with the number of lines before its first."""
    batch: list[bytes] = []
    size = before = 0
    declared = b""
    for number, line in enumerate(lines, 1):
        if line.rstrip(b"\n") + b"\n" == END:
            break
        batch.append(line)
        size += len(line)
        if size >= _BATCH_BYTES:
            yield before, b"".join([*batch, END])
            declared = next((each for each in reversed(batch) if each.startswith(_TYPE)), declared)
            batch, size = ([declared] if declared else []), 0
            before = number - len(batch)
    yield before, b"".join([*batch, END])


def _samples(page: bytes, before: int) -> Sequence[Sample]:
    try:
        samples = [entry for entry in entries(page) if isinstance(entry, Sample)]
    except ExpositionError as error:
        raise ExpositionError(before + error.line, error.reason) from None
    for sample in samples:
        if sample.time_ms is None:
            raise ExpositionError(_line(page, before, sample), "no timestamp")
    return samples


def _append(
    samples: Sequence[Sample], page: bytes, writer: SampleWriter, wait: Callable[[], None]
) -> Appended:
    """One append, again where the store was busy, or had forgotten a series since it was interned."""
    values = np.array(
        [
            STALE if page.startswith(STALE_TOKEN, sample.value_at) else sample.value
            for sample in samples
        ]
    )
    times = np.array([sample.time_ms for sample in samples], np.int64)
    while True:
        try:
            rows = _rows(samples, times, values, writer)
            appended = writer.append(rows, any_age=True)
        except StoreUnavailable:
            wait()
            continue
        if not appended.forgotten:
            return appended


def _rows(
    samples: Sequence[Sample], times: np.ndarray, values: np.ndarray, writer: SampleWriter
) -> list[Row]:
    by_clock: dict[str, list[tuple[Labels, Labels]]] = {}
    for labels in dict.fromkeys(sample.labels for sample in samples):
        stored = stamp(labels, {}, lambda _: None)
        clock = f"import/{label_value(stored, 'job')}\xff{label_value(stored, 'instance')}"
        by_clock.setdefault(clock, []).append((labels, stored))
    refs: dict[Labels, int] = {}
    for clock, pairs in by_clock.items():
        interned = writer.intern(clock, [stored for _, stored in pairs]).tolist()
        refs.update(zip((labels for labels, _ in pairs), interned, strict=True))
    return merge_rows(
        times, np.array([refs[sample.labels] for sample in samples], np.int64), values
    )


def _line(page: bytes, before: int, sample: Sample) -> int:
    return before + page.count(b"\n", 0, sample.begin) + 1
