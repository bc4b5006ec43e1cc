"""What the calls answer with."""

import pytest

from meterhall.control.settings import ControlSettings
from meterhall.model.target import MonitoringStatus, TargetReport
from meterhall.web.guide.calls import local_time


@pytest.mark.parametrize(
    ("zones", "shown"),
    [
        ({}, "2021-08-17T10:32:09"),
        ({"kr": "Asia/Seoul"}, "2021-08-17T19:32:09"),
        ({"kr": "America/New_York"}, "2021-08-17T06:32:09"),
        ({"jp": "Asia/Tokyo"}, "2021-08-17T10:32:09"),
    ],
)
def test_times_are_the_regions_own(zones: dict[str, str], shown: str) -> None:
    assert local_time(ControlSettings(time_zones=zones), "kr", 1_629_196_329_999) == shown


def test_a_report_shows_on_the_target(tenancy) -> None:
    job_id = tenancy.make_job()
    target_id = tenancy.make_target(job_id)
    path = f"/jobs/{job_id}/targets/{target_id}"
    for status, code, reason in (
        (MonitoringStatus.UNREACHABLE, -1, "connection refused"),
        (MonitoringStatus.HTTP_ERROR, 404, "404 Not Found"),
        (MonitoringStatus.NORMAL, 0, None),
    ):
        report = TargetReport(target_id, status, code, reason, 1000)
        tenancy.served.control.inventory.save_reports([report])
        shown = tenancy.call("GET", path).body
        assert (shown["mntrnStatCd"], shown["resultCd"], shown["failReason"]) == (
            status,
            code,
            reason,
        )


def test_ids_and_texts_come_back_as_they_went_in(tenancy) -> None:
    text = 'a "b" \\ \n é 日本 😀 </script>'
    made = tenancy.call("POST", "/jobs", {"jobName": "a", "metricsPath": "/é", "description": text})
    assert (made.body["description"], made.body["metricsPath"]) == (text, "/é")
