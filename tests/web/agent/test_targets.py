"""What agents are told to collect."""

from tests.e2e.service import eventually
from tests.web.agent.conftest import Channel, channel_on, serving

from meterhall.control.jobs import JobDraft, JobRef
from meterhall.control.targets import TargetDraft


def test_a_host_is_told_its_own_targets_once(channel: Channel) -> None:
    ours, theirs = channel.reporter("ours"), channel.reporter("theirs")
    ref = JobRef(
        channel.project_id,
        channel.control.jobs.create(channel.project_id, JobDraft("kr", "api", "/m?x=1")).job_id,
    )
    first = ours.targets()
    assert [target.builtin for target in first.targets] == [True]
    assert ours.targets() is None
    made = channel.control.targets.create(ref, TargetDraft(ours.host_id, 8080))
    changed = eventually(ours.targets, 10)
    assert changed.revision != first.revision
    (target,) = [target for target in changed.targets if not target.builtin]
    assert (target.target_id, target.job, target.port, target.metrics_path) == (
        made.target_id,
        "api",
        8080,
        "/m?x=1",
    )
    assert (target.interval_ms, target.timeout_ms) == (60_000, 10_000)
    assert (changed.host_id, changed.poll_seconds) == (ours.host_id, 5.0)
    assert (changed.limits.page_bytes_max, changed.limits.samples_max) == (10 << 20, 50_000)
    # Another's change is no news.
    assert [target.builtin for target in theirs.targets().targets] == [True]
    channel.control.jobs.set_interval(ref, 2_000)
    again = eventually(ours.targets, 10)
    assert [t.interval_ms for t in again.targets if not t.builtin] == [2_000]
    assert ours.targets() is None
    assert theirs.targets() is None


def test_the_revision_survives_a_restart(tmp_path) -> None:
    with serving(tmp_path) as running:
        reporter = channel_on(*running).reporter()
        revision = reporter.targets().revision
    with serving(tmp_path) as (port, _):
        reporter.port = port
        assert reporter.targets() is None
        reporter.etag = ""
        assert reporter.targets().revision == revision
