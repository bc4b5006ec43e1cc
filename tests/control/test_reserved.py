"""Reserved workspaces."""

from concurrent.futures import ThreadPoolExecutor

from meterhall.control import reserved
from meterhall.control.hosts import HostDraft
from meterhall.control.locks import hold_project
from meterhall.control.plane import Control


def test_a_workspace_and_a_target_are_made_once(control: Control) -> None:
    project_id = control.projects.create("shop").project.project_id
    host = control.hosts.add(project_id, HostDraft("kr", "web", "10.0.0.1"))

    def ensure(_: int) -> tuple[str, str]:
        def work(connection):
            hold_project(connection, project_id)
            job = reserved.ensure_job(connection, control.context, project_id, "kr", "linux")
            target_id = reserved.ensure_target(
                connection, control.context, job, host.host_id, "linux"
            )
            return job.job_id, target_id

        return control.context.change_inventory(work)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ensure, range(16)))) == 1
    (job,) = control.jobs.list(project_id, "kr")
    assert (job.name, job.reserved_code, job.metrics_path) == ("@Linux", "LINUX", "/metrics")
