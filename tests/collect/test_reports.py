from meterhall.collect.reports import Reports
from meterhall.model.target import MonitoringStatus, TargetReport


def fine(time_ms, target_id="t1"):
    return TargetReport(target_id, MonitoringStatus.NORMAL, 0, None, time_ms)


def refused(time_ms, target_id="t1"):
    return TargetReport(target_id, MonitoringStatus.UNREACHABLE, -1, "connection refused", time_ms)


def save_all(reports, now_s):
    waiting = list(reports.waiting())
    reports.saved(waiting, now_s)
    return waiting


def test_a_change_is_saved_at_once_and_the_same_only_now_and_then():
    reports = Reports(refresh_s=60)
    reports.put(fine(1), now_s=0)
    assert save_all(reports, 1) == [fine(1)]
    reports.put(fine(2), now_s=2)
    assert save_all(reports, 3) == []
    reports.put(refused(3), now_s=4)
    assert save_all(reports, 5) == [refused(3)]
    reports.put(refused(4), now_s=64)
    assert save_all(reports, 64) == []
    reports.put(refused(5), now_s=65)
    assert save_all(reports, 65) == [refused(5)]


def test_only_the_newest_of_a_target_waits():
    reports = Reports(refresh_s=60)
    reports.put(fine(1), now_s=0)
    reports.put(refused(2), now_s=1)
    reports.put(fine(1, "t2"), now_s=1)
    assert save_all(reports, 2) == [refused(2), fine(1, "t2")]


def test_a_relapse_before_saving_replaces_what_waits():
    reports = Reports(refresh_s=60)
    reports.put(fine(1), now_s=0)
    save_all(reports, 0)
    reports.put(refused(2), now_s=1)
    reports.put(fine(3), now_s=2)
    assert save_all(reports, 3) == [fine(3)]


def test_what_comes_while_saving_stays():
    reports = Reports(refresh_s=60)
    reports.put(fine(1), now_s=0)
    waiting = list(reports.waiting())
    reports.put(refused(2), now_s=1)
    reports.saved(waiting, 2)
    assert save_all(reports, 3) == [refused(2)]


def test_what_could_not_be_saved_keeps_waiting():
    reports = Reports(refresh_s=60)
    reports.put(fine(1), now_s=0)
    assert list(reports.waiting()) == list(reports.waiting()) == [fine(1)]


def test_a_target_that_is_gone_is_forgotten():
    reports = Reports(refresh_s=60)
    reports.put(fine(1), now_s=0)
    reports.forget("t1")
    assert list(reports.waiting()) == []
