"""OpenMetrics text taken in: piece by piece, with its lines told right, and nothing twice."""

import numpy as np
import pytest
from recording_writer import RecordingWriter

from meterhall.ingest import importing
from meterhall.ingest.importing import import_lines
from meterhall.model.errors import ExpositionError, Overloaded


def take(text, writer=None, wait=None):
    writer = writer or RecordingWriter()
    return writer, import_lines(text.splitlines(keepends=True), writer, wait or pytest.fail)


def test_samples_markers_and_nan():
    writer, done = take(b'a{b="c"} 1 1.5\na{b="c"} nan 2\na{b="c"} NaN 3\n# EOF\nrest')
    assert done.samples == 3
    assert writer.values(metric="a") == {1500: 1.0, 2000: "stale", 3000: "nan"}


@pytest.mark.parametrize("size", [1, 40, 100, 10**6])
def test_pieces_make_no_difference(monkeypatch, size):
    monkeypatch.setattr(importing, "_BATCH_BYTES", size)
    lines = [f'h_bucket{{le="{bound}",i="{i}"}} {i} {i}\n' for i in range(30) for bound in (1, 2)]
    text = "# TYPE h histogram\n" + "".join(lines) + "# EOF\n"
    writer, done = take(text.encode())
    assert done.samples == 60
    assert {dict(labels)["le"] for labels in writer.samples} == {"1.0", "2.0"}
    wrong = text.replace('i="20"} 20', 'i="20"} x', 1)
    with pytest.raises(ExpositionError) as error:
        take(wrong.encode())
    assert error.value.line == 42
    untimed = text.replace('i="20"} 20 20', 'i="20"} 20', 1)
    with pytest.raises(ExpositionError, match="line 42: no timestamp"):
        take(untimed.encode())


def test_what_is_refused_is_counted_and_the_rest_is_there():
    writer, _ = take(b"a 1 1\n# EOF\n")
    _, done = take(b"a 2 1\nb 3 1\nb 4 -1\n# EOF\n", writer)
    assert done.samples == 1
    assert done.refused == {"duplicate sample for timestamp": 1, "out of order sample": 1}


def test_a_busy_store_is_waited_for_and_a_dead_one_is_not(monkeypatch):
    writer = RecordingWriter()
    writer.unavailable = True
    waits = []

    def wait():
        waits.append(1)
        writer.unavailable = len(waits) < 3

    assert take(b"a 1 1\n# EOF\n", writer, wait)[1].samples == 1
    writer.unavailable = True

    def give_up():
        raise Overloaded("no more")

    with pytest.raises(Overloaded):
        take(b"a 1 2\n# EOF\n", writer, give_up)


def test_a_series_that_the_store_forgets_is_interned_again(monkeypatch):
    writer = RecordingWriter()
    take(b"a 1 1\n# EOF\n", writer)
    rows = importing._rows
    once = iter([True])

    def forgetful(*arguments):
        made = rows(*arguments)
        if next(once, False):
            writer.forget((("__name__", "a"),))
        return made

    monkeypatch.setattr(importing, "_rows", forgetful)
    assert take(b"a 2 2\n# EOF\n", writer)[1].samples == 1
    found = {}
    for samples in writer.samples.values():
        found |= samples
    assert found == {1000: _bits(1.0), 2000: _bits(2.0)}


def _bits(value):
    return int(np.float64(value).view(np.uint64))
