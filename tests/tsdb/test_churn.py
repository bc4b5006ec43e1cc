"""Labels that change with every scrape: what a ceiling on series leaves in memory, in the log and after a restart."""

import numpy as np
from tests.tsdb.stores import NOW, TENANT, append, dump, open_store, series

from meterhall.model.samples import REFUSED, Row
from meterhall.tsdb.filenames import segment_paths

SERIES_MAX = 50
SPAN = 1000


def opened(directory, **changes):
    changes = {"block_span_ms": SPAN, "merged_span_ms": 4 * SPAN, "ahead_ms_max": 2**50} | changes
    return open_store(directory, **changes)


def test_over_the_ceiling_new_series_are_refused_and_known_ones_are_found(tmp_path):
    store = opened(tmp_path)
    writer = store.writer(TENANT)
    first = writer.intern("c", [series("m", i=str(i)) for i in range(3)], 3)
    again = writer.intern("c", [series("m", i=str(i)) for i in (5, 1, 6, 0)], 3)
    assert again.tolist() == [REFUSED, first[1], REFUSED, first[0]]
    assert writer.intern("c", [series("m", i="9")], 4).tolist() != [REFUSED]
    assert store.active_series(TENANT) == 4
    assert writer.intern("c", [series("m", i="9"), series("m", i="10")], 0)[1] == REFUSED
    store.close()


def test_one_new_series_given_twice_takes_one_place(tmp_path):
    store = opened(tmp_path)
    twice = [series("m"), series("m"), series("n")]
    refs = store.writer(TENANT).intern("c", twice, 1).tolist()
    assert refs[0] == refs[1] != REFUSED
    assert refs[2] == REFUSED
    store.close()


def churn(store, first, steps):
    """Each step has ten series that live on and as many of ten new ones as there is room for."""
    writer = store.writer(TENANT)
    steady = [series("steady", i=str(i)) for i in range(10)]
    refused = 0
    for step in range(first, first + steps):
        labels = [*steady, *(series("m", id=f"{step}/{i}") for i in range(10))]
        refs = writer.intern("c", labels, SERIES_MAX)
        assert (refs[:10] != REFUSED).all()
        refused += int((refs == REFUSED).sum())
        taken = refs[refs != REFUSED]
        said = writer.append([Row(NOW + 100 * step, taken, np.arange(float(len(taken))))])
        assert not said.forgotten
        assert not said.rejections
        if step % 10 == 9:
            said.durable.result(10)
            store.maintain()
        assert store.active_series(TENANT) <= SERIES_MAX
    return refused


def test_memory_log_and_restart_are_bounded_and_steady_series_never_stop(tmp_path):
    store = opened(tmp_path, log_segment_bytes=5000)
    assert churn(store, 0, 400) > 2000
    head = store._tenants.heads()[0]
    assert sum(group.columns for group in head.groups.values()) < 40_000
    assert sum(path.stat().st_size for _, path in segment_paths(tmp_path)) < 200_000
    before = dump(store)
    assert {len(before[series("steady", i=str(i))]) for i in range(10)} == {400}
    store.close()
    store = opened(tmp_path)
    assert store.active_series(TENANT) <= SERIES_MAX
    assert dump(store) == before
    store.close()


def test_dead_columns_do_not_pile_up_in_one_group(tmp_path, monkeypatch):
    monkeypatch.setattr("meterhall.tsdb.head._DEAD_COLUMNS", 100)
    store = opened(tmp_path)
    churn(store, 0, 400)
    head = store._tenants.heads()[0]
    assert max(group.columns for group in head.groups.values()) <= 100 + 5 * SERIES_MAX
    assert len(head.groups) <= 3
    steady = series("steady", i="0")
    append(store.writer(TENANT), steady, (NOW + 10**6, 5.0))
    assert len(dump(store)[steady]) == 401
    store.close()
