"""The spool on a real directory: nothing that was acknowledged is lost, and what is delivered goes away."""

from dataclasses import replace

import pytest
from tests.agent.disks import CountingDisk, FullDisk
from tests.agent.scrapes import T0, failed, split, whole
from tests.collect.clocks import RealClock
from tests.tsdb.power_cut import PowerCutDisk, Snapshots, restore
from tests.tsdb.stores import Unsynced

from meterhall.agent.spool import Spool, SpoolSettings
from meterhall.model.errors import StoreUnavailable
from meterhall.tsdb.disk import Disk

SMALL = SpoolSettings(segment_bytes_max=400)


@pytest.fixture
def opened(tmp_path):
    """Opens spools on one directory; each is closed, as a clean stop does, before the next or at the end."""
    spools = []

    def open_spool(settings=SMALL, disk=None):
        for spool in spools:
            spool.close()
        spools[:] = [Spool(tmp_path / "spool", settings, disk or Disk(), RealClock())]
        return spools[0]

    yield open_spool
    for spool in spools:
        spool.close()


def put(spool, *scrapes):
    """Appends, waits for the disk, and returns the entries."""
    return [spool.append(scrape, None).result(10) for scrape in scrapes]


def waiting(spool, but=()):
    return [entry.scrape for entry in spool.unsent(but)]


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "spool").iterdir())


def test_what_was_appended_waits_in_order_and_over_restarts(opened):
    scrapes = [whole(number) for number in range(20)]
    spool = opened()
    entries = put(spool, *scrapes)
    assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
    assert list(spool.unsent(())) == entries
    assert list(opened().unsent(())) == entries
    assert (opened().waiting, opened().dropped) == (20, 0)


def test_what_is_delivered_is_not_offered_again_and_its_files_go(opened, tmp_path):
    spool = opened()
    entries = put(spool, *(whole(number) for number in range(20)))
    first, rest = entries[:7], entries[7:]
    spool.delivered([entry.seq for entry in first])
    assert list(spool.unsent(())) == rest
    spool = opened()
    assert list(spool.unsent(())) == rest
    assert list(spool.unsent({rest[0].seq})) == rest[1:]
    spool.delivered([entry.seq for entry in rest])
    assert (spool.waiting, files(tmp_path)) == (0, [])
    # Numbers of segments that are gone do no harm.
    spool.delivered([entry.seq for entry in rest])


def test_a_new_run_never_reuses_a_number_that_has_marks(opened, tmp_path):
    """Marks without their segment, as a crash between two removals leaves them, must mark nothing new."""
    spool = opened()
    (entry,) = put(spool, whole(1))
    spool.delivered([entry.seq])
    marks = (tmp_path / "spool" / "00000001.sent").read_bytes()
    spool.close()
    (tmp_path / "spool" / "00000001.sent").write_bytes(marks)
    again = opened()
    assert put(again, whole(2))[0].seq != entry.seq
    assert waiting(opened()) == [whole(2)]


def test_shapes_are_kept_once_a_segment_and_survive_a_bad_byte(opened, tmp_path):
    page = b"".join(b'a{b="%d"} 1\n' % number for number in range(50))
    spool = opened(SpoolSettings())
    for number in range(3):
        scrape, shape = split(number, page)
        spool.append(scrape, shape).result(10)
    spool.close()
    (path,) = (tmp_path / "spool").glob("*.spool")
    data = path.read_bytes()
    first = data.index(b"\xa7MHs")
    assert data.count(b"\xa7MHs") == 5
    for at in (first + 9, first + 40):
        damaged = bytearray(data)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert [entry.shape for entry in opened().unsent(())] == [shape] * 3


def test_a_bad_byte_anywhere_costs_one_scrape(opened, tmp_path):
    scrapes = [whole(number) for number in range(4)]
    put(opened(SpoolSettings()), *scrapes)
    (path,) = (tmp_path / "spool").glob("*.spool")
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        opened().close()
        path.write_bytes(damaged)
        left = waiting(opened())
        assert len(left) >= 3, at
        assert [scrape for scrape in scrapes if scrape in left] == left


def test_a_torn_tail_costs_only_what_was_never_acknowledged(opened, tmp_path):
    put(opened(SpoolSettings()), whole(1), whole(2))
    (path,) = (tmp_path / "spool").glob("*.spool")
    opened().close()
    path.write_bytes(path.read_bytes()[:-3])
    spool = opened()
    assert waiting(spool) == [whole(1)]
    put(spool, whole(3))
    assert waiting(opened()) == [whole(1), whole(3)]


def test_the_oldest_goes_when_there_is_too_much_and_it_is_counted(opened, capsys):
    settings = replace(SMALL, bytes_max=4000)
    spool = opened(settings)
    scrapes = [whole(number, body=bytes(f"a {number}\n" * 5, "ascii")) for number in range(60)]
    put(spool, *scrapes)
    left = waiting(spool)
    assert 0 < spool.dropped == 60 - len(left) < 60
    assert left == scrapes[-len(left) :]
    assert spool.size <= 4000
    assert "spool.dropped" in capsys.readouterr().out
    spool.told(spool.dropped)
    assert spool.dropped == 0


def test_what_is_too_old_goes_unless_its_time_is_not_certain(opened):
    spool = opened(replace(SMALL, segment_bytes_max=1, age_ms_max=1000))
    kept = whole(5000)
    unsure = whole(2, boot_id="b", boot_ms=5)
    put(spool, whole(1), unsure, kept, whole(9000))
    spool.expire(T0 + 5500)
    assert waiting(spool) == [unsure, kept, whole(9000)]
    assert spool.dropped == 1


def test_segments_are_closed_by_age(opened, tmp_path):
    spool = opened(SpoolSettings(segment_age_s_max=0.0))
    put(spool, whole(1), whole(2))
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 2


@pytest.mark.parametrize("operation", ["create", "write", "sync", "sync_directory"])
def test_a_disk_in_trouble_costs_only_what_it_refuses(opened, operation):
    disk = FullDisk()
    spool = opened(SMALL, disk)
    put(spool, whole(1))
    disk.refused = operation
    # Enough of them to need a new segment.
    refused = []
    for number in range(10, 30):
        failure = spool.append(whole(number), None).exception(10)
        if failure is not None:
            refused.append(whole(number))
            assert isinstance(failure, StoreUnavailable)
            assert "No space left" in str(failure)
    assert refused
    disk.refused = None
    put(spool, whole(50))
    acknowledged = [
        scrape
        for scrape in [whole(1), *(whole(number) for number in range(10, 30)), whole(50)]
        if scrape not in refused
    ]
    assert waiting(spool) == acknowledged
    again = waiting(opened())
    assert [scrape for scrape in again if scrape not in refused] == acknowledged


def test_all_that_wait_are_synced_together(opened):
    disk = CountingDisk()
    spool = opened(SpoolSettings(), disk)
    put(spool, whole(0))
    disk.released.clear()
    before = disk.syncs
    futures = [spool.append(whole(number), None) for number in range(1, 30)]
    assert not any(future.done() for future in futures)
    disk.released.set()
    entries = [future.result(10) for future in futures]
    assert disk.syncs - before <= 2
    assert [entry.scrape for entry in entries] == waiting(spool)[1:]


def test_marks_that_cannot_be_written_cost_a_second_sending(opened, tmp_path):
    spool = opened()
    entries = put(spool, whole(1), whole(2))
    (tmp_path / "spool" / "00000001.sent").mkdir()
    spool.delivered([entries[0].seq])
    assert waiting(spool) == [whole(2)]
    spool.close()
    (tmp_path / "spool" / "00000001.sent").rmdir()
    assert waiting(opened()) == [whole(1), whole(2)]


def test_a_torn_mark_does_not_put_later_ones_out_of_step(opened, tmp_path):
    spool = opened()
    entries = put(spool, *(failed(number) for number in range(4)))
    spool.delivered([entries[0].seq])
    spool.close()
    path = tmp_path / "spool" / "00000001.sent"
    path.write_bytes(path.read_bytes() + b"\x01\x02\x03")
    opened().delivered([entries[1].seq])
    assert waiting(opened()) == [failed(2), failed(3)]


def test_strange_files_are_left_alone(opened, tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "notes.txt").write_text("mine")
    (tmp_path / "spool" / "copy.spool").write_text("mine")
    put(opened(), whole(1))
    assert waiting(opened()) == [whole(1)]
    assert {"notes.txt", "copy.spool"} <= set(files(tmp_path))


def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path):
    """Scrapes are kept and delivered; the power is cut after every sync of a file or of a directory."""
    snapshots = Snapshots(stride=1)
    live = tmp_path / "live"
    live.mkdir()
    spool = Spool(live / "spool", SMALL, PowerCutDisk(live, snapshots), RealClock())
    for number in range(120):
        (entry,) = put(spool, whole(number))
        snapshots.acknowledged.add(entry)
        if number % 3 and number % 40 < 30:
            delivered = sorted(snapshots.acknowledged, key=lambda each: each.seq)[:2]
            snapshots.acknowledged -= set(delivered)
            spool.delivered([each.seq for each in delivered])
    spool.close()
    assert len(snapshots.taken) > 120
    for number, (platter, acknowledged, _) in enumerate(snapshots.taken):
        directory = tmp_path / str(number)
        restore(directory, platter)
        again = Spool(directory / "spool", SMALL, Unsynced(), RealClock())
        found = list(again.unsent(()))
        (after,) = put(again, whole(1000))
        assert list(again.unsent(())) == [*found, after]
        again.close()
        assert acknowledged <= set(found), number
        # What was delivered may come again, what never was does not.
        times_ms = [each.scrape.time_ms for each in found]
        assert times_ms == sorted(set(times_ms))
        assert set(times_ms) <= set(range(T0, T0 + 120))
