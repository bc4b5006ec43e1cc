"""The newcomer's first minutes: one command, and everything that it printed works."""

import re
import shlex
import subprocess

from e2e.service import eventually, meterhall


def test_what_it_prints_works_as_it_stands(service):
    line = re.search(r"^\s*(curl .*)$", service.text, re.MULTILINE)[1]
    eventually(lambda: service.query("up"))
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
    assert '"status":"success"' in done.stdout
    assert f"{service.url}/prometheus" in service.text
    assert "x-tc-app-key" in service.text.lower()


def test_this_machine_is_monitored_at_once(service):
    cpu = "sum by (mode) (rate(node_cpu_seconds_total[1m]))"
    modes = eventually(lambda: service.query(cpu))
    assert {dict(labels)["mode"] for labels in modes} >= {"idle", "system", "user"}
    jobs = service.guide("GET", "/jobs")
    assert [(job["jobName"], job["reservedJobCd"]) for job in jobs] == [("@Linux", "LINUX")]
    targets = f"/jobs/{jobs[0]['jobId']}/targets"
    eventually(lambda: service.guide("GET", targets)[0]["mntrnStatCd"] == "NORMAL")
    assert service.value('up{job="@Linux"}') == 1


def test_grafana_saves_and_tests(service):
    """Section 4.2 of the contract: the exact calls, in their order."""
    health = service.prometheus("query", query="1+1", time=4)
    assert health == {"resultType": "scalar", "result": [4, "2"]}
    assert "features" not in service.prometheus("status/buildinfo")


def test_run_again_it_is_the_same_project_and_the_key_goes_on(service):
    project, key = service.project, service.key
    assert service.stop() == 0
    service.start()
    assert (service.project, service.key) == (project, key)
    assert service.guide("GET", "/jobs")


def test_the_appkey_is_nowhere_but_on_the_terminal(service):
    eventually(lambda: service.query("up"))
    service.request("GET", "/v1.0/projects/nobody00/jobs")
    assert service.stop() == 0
    logged = [line for line in service.text.splitlines() if line.startswith("{")]
    assert logged
    assert not any(service.key in line for line in logged)
    for file in service.data.rglob("*"):
        if file.is_file():
            assert service.key.encode() not in file.read_bytes(), file


def test_the_query_command_draws(service):
    environment = {"METERHALL_APPKEY": service.key, "PATH": "/usr/bin"}
    eventually(lambda: service.query("node_load1"))
    table = meterhall("query", "node_load1", "--server", service.url, env=environment)
    assert table.startswith("node_load1{")
    chart = meterhall(
        *("query", "node_load1", "--server", service.url, "--start", "-1m"), env=environment
    )
    assert any(0x2800 < ord(char) < 0x2900 for char in chart)
