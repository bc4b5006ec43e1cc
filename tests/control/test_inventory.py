"""What the collector sees."""

import time
from collections.abc import Callable

import pytest

from meterhall.control.hosts import HostDraft
from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.local_host import ensure_local_host
from meterhall.control.plane import Control
from meterhall.control.targets import Target, TargetDraft
from meterhall.model.target import MonitoringStatus, ScrapeTarget, TargetReport
from meterhall.model.tenant import Tenant


def add_target(
    control: Control, collect: str = "direct", region: str = "kr"
) -> tuple[JobRef, Target]:
    project_id = control.projects.create("shop").project.project_id
    draft = HostDraft(region, "web", "10.0.0.1", collect=collect)  # type: ignore[arg-type]
    host = control.hosts.add(project_id, draft)
    ref = JobRef(
        project_id, control.jobs.create(project_id, JobDraft(region, "api", "/m?x=1")).job_id
    )
    return ref, control.targets.create(ref, TargetDraft(host.host_id, 9100))


def test_a_target_has_all_that_a_scrape_needs(control: Control) -> None:
    ref, target = add_target(control)
    assert control.inventory.scrape_targets(["kr"]) == [
        ScrapeTarget(
            target_id=target.target_id,
            tenant=Tenant("kr", ref.project_id),
            job="api",
            host_id=target.host_id,
            host_name="web",
            address="10.0.0.1",
            port=9100,
            metrics_path="/m?x=1",
            interval_ms=60_000,
            timeout_ms=10_000,
        )
    ]
    control.jobs.set_interval(ref, 2000)
    (changed,) = control.inventory.scrape_targets(["kr"])
    assert (changed.interval_ms, changed.timeout_ms) == (2000, 2000)


def test_agents_and_other_regions_are_left_out(control: Control) -> None:
    add_target(control, collect="agent")
    _, far = add_target(control, region="jp")
    assert control.inventory.scrape_targets(["kr"]) == []
    assert [one.target_id for one in control.inventory.scrape_targets(["jp", "kr"])] == [
        far.target_id
    ]
    assert control.inventory.scrape_targets([]) == []


def test_the_local_host_is_built_in(control: Control) -> None:
    local = ensure_local_host(control.context, "me", "127.0.0.1")
    (target,) = control.inventory.scrape_targets(["kr"])
    assert (target.target_id, target.job, target.builtin) == (local.target_id, "@Linux", True)


def test_the_counter_moves_with_every_change_and_not_with_reports(control: Control) -> None:
    before = control.inventory.changes
    ref, target = add_target(control)
    assert control.inventory.changes > before
    before = control.inventory.changes
    control.inventory.save_reports([report(target, MonitoringStatus.NORMAL)])
    assert control.inventory.changes == before
    for change in (
        lambda: control.targets.delete(ref, target.target_id),
        lambda: control.hosts.remove(target.host_id),
        lambda: control.jobs.delete(ref),
        lambda: control.projects.delete(ref.project_id),
    ):
        change()
        assert control.inventory.changes > before
        before = control.inventory.changes


def test_the_counter_moves_with_another_process_changes(
    open_control: Callable[..., Control],
) -> None:
    server, cli = open_control(), open_control()
    server.start()
    before = server.inventory.changes
    add_target(cli)
    deadline = time.monotonic() + 5
    while server.inventory.changes == before:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def report(
    target: Target,
    status: MonitoringStatus,
    code: int = 0,
    reason: str | None = None,
    time_ms: int = 1000,
) -> TargetReport:
    return TargetReport(target.target_id, status, code, reason, time_ms)


def test_the_last_report_survives_a_restart(open_control: Callable[..., Control]) -> None:
    first = open_control()
    ref, target = add_target(first)
    first.inventory.save_reports(
        [
            report(target, MonitoringStatus.NORMAL),
            report(target, MonitoringStatus.UNREACHABLE, -1, "connection refused"),
        ]
    )
    first.close()
    (found,) = open_control().targets.list(ref)
    assert (found.status, found.result_code, found.fail_reason) == (
        "UNREACHABLE",
        -1,
        "connection refused",
    )
    assert found.modified_ms == target.modified_ms


def test_since_stands_while_the_report_says_the_same(control: Control) -> None:
    _, target = add_target(control)

    def since_after(time_ms: int, status: MonitoringStatus, reason: str | None) -> int | None:
        control.inventory.save_reports([report(target, status, -1, reason, time_ms)])
        with control.database.read() as connection:
            return connection.exec_driver_sql("SELECT since_ms FROM targets").scalar()

    down = MonitoringStatus.UNREACHABLE
    assert since_after(10, down, "refused") == 10
    assert since_after(20, down, "refused") == 10
    assert since_after(30, down, "timed out") == 30
    assert since_after(40, MonitoringStatus.NORMAL, None) == 40
    assert since_after(50, MonitoringStatus.NORMAL, None) == 40


@pytest.mark.parametrize("reason", ["a\nb\0c\ud800", "x" * 5000, "\x1b[31m"])
def test_a_reason_is_kept_to_one_short_line(control: Control, reason: str) -> None:
    ref, target = add_target(control)
    control.inventory.save_reports([report(target, MonitoringStatus.HTTP_ERROR, 500, reason)])
    (found,) = control.targets.list(ref)
    assert found.fail_reason is not None
    assert found.fail_reason.isprintable()
    assert len(found.fail_reason) <= 255


def test_reports_on_targets_that_are_gone_are_dropped(control: Control) -> None:
    ref, target = add_target(control)
    control.targets.delete(ref, target.target_id)
    control.inventory.save_reports([report(target, MonitoringStatus.NORMAL)])
    control.inventory.save_reports([])
    assert control.targets.list(ref) == []
