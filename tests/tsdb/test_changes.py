"""What the store tells of changes: never later than the truth, whatever came in between."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tsdb.stores import NOW, TENANT, StandingClock, append, open_store, series

from meterhall.ports.changes import NEVER
from meterhall.tsdb import changes as module
from meterhall.tsdb.changes import ALL_TIME, Changes

HOUR = 3_600_000


@given(st.lists(st.integers(0, 3_000_000), max_size=60), st.data())
@settings(deadline=None)
def test_nothing_earlier_has_changed_than_is_said(times, data):
    log = Changes()
    revisions = [log.revision()]
    for time_ms in times:
        log.note(time_ms)
        revisions.append(log.revision())
    for number, revision in enumerate(revisions):
        truth = min(times[number:], default=NEVER)
        said = log.earliest_since(revision)
        # It may say too much, by the times of neighbours that became one note.
        assert truth - module._RESOLUTION_MS < said <= truth


def test_what_is_forgotten_is_said_to_have_changed_wholly():
    log = Changes()
    revisions = [log.revision()]
    for number in range(2 * module._NOTES_MAX):
        log.note(number * module._RESOLUTION_MS)
        revisions.append(log.revision())
    assert len(log._times) == module._NOTES_MAX
    assert log.earliest_since(revisions[10]) == ALL_TIME
    assert log.earliest_since(revisions[-2]) == (len(revisions) - 2) * module._RESOLUTION_MS
    assert log.earliest_since(revisions[-1]) == NEVER


def test_nothing_is_noted_before_somebody_asks():
    log = Changes()
    log.note(1)
    assert log._times == []
    revision = log.revision()
    log.note(1)
    assert log.earliest_since(revision) == 1


def test_appends_and_retention_are_noted_and_flushes_are_not(tmp_path):
    clock = StandingClock()
    store = open_store(tmp_path, clock, retention_ms=100 * HOUR)
    changes, writer = store.changes(TENANT), store.writer(TENANT)
    name = series("x")

    revision = changes.revision()
    append(writer, name, (NOW - 90 * HOUR, 1.0), (NOW - HOUR, 2.0))
    assert changes.earliest_since(revision) == NOW - 90 * HOUR

    revision = changes.revision()
    append(writer, name, (NOW - HOUR, 2.0))
    refused = append(writer, name, (NOW - HOUR, 3.0))
    assert len(refused.rejections) == 1
    assert changes.earliest_since(revision) == NEVER
    append(writer, name, (NOW, 4.0), (NOW - 30_000, 5.0))
    assert changes.earliest_since(revision) == NOW - 30_000

    revision = changes.revision()
    assert store.flush(NOW - 80 * HOUR) == 1
    assert changes.earliest_since(revision) == NEVER
    clock.time_ms += 20 * HOUR
    store.maintain()
    assert changes.earliest_since(revision) == ALL_TIME
    store.close()
