"""Blocks and checkpoints written by a process of their own: the same bytes, and nothing is lost with the process."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.e2e.service import eventually
from tests.tsdb.stores import TENANT, Unsynced, append, dump, series
from tests.tsdb.test_checkpoint import BASE, SPAN, filled, opened, scrapes

from meterhall.model.matcher import Matcher, MatchOp
from meterhall.tsdb import workshop
from meterhall.tsdb.filenames import block_paths, segment_paths, temporary_paths
from meterhall.tsdb.upkeep import _Stopped
from meterhall.tsdb.wal_format import segment_header
from meterhall.tsdb.workshop import LostError, Workshop


def scribes():
    """The processes that this one has for writing blocks."""
    return [
        each
        for each in psutil.Process().children()
        if "meterhall.tsdb.scribe" in each.cmdline() and each.status() != psutil.STATUS_ZOMBIE
    ]


def files(directory):
    """All blocks, and the checkpoint but for its number: where the log turns to a new segment is a matter of moments."""
    (_, checkpoint), *_ = segment_paths(directory)
    blocks = {path.name: path.read_bytes() for _, path in block_paths(directory)}
    return blocks, checkpoint.read_bytes()[len(segment_header(0)) :]


def busy(directory, **changes):
    """A store that has flushed, deleted, merged, and written its log anew."""
    store = filled(directory, **changes)
    for turn in range(4):
        scrapes(store, BASE + (turn + 2) * SPAN, BASE + (turn + 3) * SPAN)
        append(store.writer(TENANT), series("late"), (BASE + (turn + 1) * SPAN + 3, turn))
        store.flush(BASE + (turn + 2) * SPAN + SPAN // 2)
    which = [Matcher(MatchOp.EQUAL, "i", "1")]
    store.delete(TENANT, which, BASE + 2 * SPAN, BASE + 3 * SPAN)
    store.maintain()
    return store


def test_the_same_files_as_when_it_is_done_here(tmp_path):
    here, apart = tmp_path / "here", tmp_path / "apart"
    stores = [busy(here), busy(apart, apart=True)]
    assert scribes()
    assert len(block_paths(here)) > 1
    assert files(apart) == files(here)
    assert dump(stores[0]) == dump(stores[1])
    for store in stores:
        store.close()
    assert scribes() == []


def test_a_lost_process_costs_nothing_but_time(tmp_path, monkeypatch):
    begin = workshop._Scribe._begin

    def begin_and_lose(scribe, job, handle):
        begin(scribe, job, handle)
        scribe.kill()

    here = busy(tmp_path / "here")
    monkeypatch.setattr(workshop._Scribe, "_begin", begin_and_lose)
    store = busy(tmp_path / "apart", apart=True)
    assert files(tmp_path / "apart") == files(tmp_path / "here")
    # After some losses in a row no other is started.
    assert scribes() == []
    store.close()
    here.close()


def test_where_no_process_can_be_had_the_work_is_done_here(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    here, apart = busy(tmp_path / "here"), busy(tmp_path / "apart", apart=True)
    assert files(tmp_path / "apart") == files(tmp_path / "here")
    here.close()
    apart.close()


def test_damage_is_told_as_when_it_is_found_here(tmp_path):
    seen = []
    for directory, apart in ((tmp_path / "here", False), (tmp_path / "apart", True)):
        store = opened(directory, block_span_ms=SPAN, merged_span_ms=8 * SPAN, apart=apart)
        scrapes(store, BASE, BASE + 4 * SPAN)
        store.flush(BASE + 2 * SPAN)
        (_, path), *_ = block_paths(directory)
        with path.open("r+b") as file:
            file.seek(30)
            file.write(b"damaged")
        scrapes(store, BASE + 4 * SPAN, BASE + 12 * SPAN)
        store.maintain()
        store.maintain()
        names = sorted(path.name for path in (directory / "quarantine").iterdir())
        seen.append((names, files(directory), dump(store)))
        store.close()
    assert seen[0][0]
    assert seen[0] == seen[1]


def test_a_full_disk_is_the_work_s_failure_and_not_the_process_s():
    works = Workshop(Unsynced(), lambda: None, apart=True)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="No space left") as raised:
                works.checkpoint(full, 1, lambda: iter(()))
            assert raised.value.errno == errno.ENOSPC
            assert not isinstance(raised.value, LostError)
        assert len(scribes()) == 1
    finally:
        os.close(full)
        works.close()


def test_signals_that_mean_the_service_do_not_end_it(tmp_path):
    works = Workshop(Unsynced(), lambda: None, apart=True)
    try:
        for number in range(2):
            with (tmp_path / str(number)).open("wb") as file:
                assert works.checkpoint(file.fileno(), 1, lambda: iter(())) > 0
            (process,) = scribes()
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
        assert [each.pid for each in scribes()] == [process.pid]
    finally:
        works.close()


def test_it_rests_after_some_turns_without_work(tmp_path):
    store = opened(tmp_path, apart=True)
    scrapes(store, BASE, BASE + SPAN)
    store.flush(BASE + SPAN // 2)
    assert scribes()
    for _ in range(workshop._IDLE_TURNS):
        store.maintain()
    assert scribes()
    store.maintain()
    assert scribes() == []
    store.flush(BASE + SPAN)
    assert scribes()
    store.close()


def test_closing_breaks_off_what_is_in_hand(tmp_path):
    store = opened(tmp_path, apart=True)
    scrapes(store, BASE, BASE + SPAN)
    expected = dump(store)
    store.flush(0)
    (process,) = scribes()
    process.suspend()
    with ThreadPoolExecutor(1) as thread:
        work = thread.submit(store.flush, BASE + SPAN // 2)
        eventually(lambda: temporary_paths(tmp_path))
        store.close()
        assert isinstance(work.exception(), _Stopped)
    assert temporary_paths(tmp_path) == []
    store = opened(tmp_path)
    assert dump(store) == expected
    store.close()


def test_it_ends_with_the_service(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from tests.tsdb.test_workshop import opened, scrapes, BASE, SPAN\n"
        "store = opened(Path(sys.argv[1]), apart=True); scrapes(store, BASE, BASE + SPAN)\n"
        "store.flush(BASE + SPAN // 2); print('flushed', flush=True); time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    service = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"},
    )
    assert any(line == b"flushed\n" for line in service.stdout)
    (scribe,) = psutil.Process(service.pid).children()
    service.kill()
    service.wait()
    service.stdout.close()
    eventually(lambda: not scribe.is_running() or scribe.status() == psutil.STATUS_ZOMBIE)
