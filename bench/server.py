"""Our own service as its users start it: `meterhall quickstart`, with a project of its own for the measurement.

The control plane is filled with the command line and the guide's REST calls, as an operator would.
"""

import http.client
import os
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

import meterhall
from bench.system import HOST, BenchError, System, free_port

REGION = "kr"
_NOTICED_SECONDS_MAX = 15.0


class Meterhall(System):
    """One process, everything at its default but where it listens and how often it collects."""

    name = "Meterhall"
    prefix = "/prometheus"
    write_path = "/prometheus/api/v1/write"
    uncached = MappingProxyType({"nocache": "1"})

    def __init__(self, work: Path, interval: str = "1d") -> None:
        super().__init__(work)
        self._interval = interval
        self._admin_port = free_port()
        self.project = ""

    def command(self) -> list[str]:
        listen = f"{HOST}:{self.port}"
        return [
            *_meterhall("quickstart"),
            f"--data={self.data}",
            f"--listen={listen}",
            f"--interval={self._interval}",
        ]

    def environment(self) -> dict[str, str]:
        own = {
            "METERHALL_ADMIN_LISTEN": f"{HOST}:{self._admin_port}",
            "METERHALL_STORAGE_RETENTION": "100y",
            "METERHALL_LOG_LEVEL": "warning",
            "METERHALL_LIMITS_TARGETS_PER_HOST": "100",
        }
        inherited = dict(os.environ)
        # An installed service has its byte code; compiling it at each start would be in the figures.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        # The very code that this process imports, wherever it was started.
        inherited["PYTHONPATH"] = str(Path(meterhall.__file__).parent.parent)
        return inherited | own

    def start(self) -> float:
        seconds = super().start()
        if not self.project:
            made = self.manage("projects", "create", "bench")
            self.project = made["projectId"]
            self.headers = {"X-TC-APP-KEY": made["appkey"]}
            self._wait_until_known()
        return seconds

    def _wait_until_known(self) -> None:
        """A running server notices within five seconds what another process has changed."""
        deadline = time.monotonic() + _NOTICED_SECONDS_MAX
        while True:
            try:
                self.fetch("/api/v1/query", {"query": "1"})
                return
            except BenchError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def clean(self) -> None:
        self.project = ""
        super().clean()

    def manage(self, noun: str, verb: str, *arguments: str) -> Any:
        """One command of the command line on this server's data, its answer as JSON."""
        command = [*_meterhall(noun), verb, *arguments, f"--data={self.data}", "--json"]
        done = subprocess.run(
            command, capture_output=True, cwd=self.work, env=self.environment(), check=False
        )
        if done.returncode != 0:
            raise BenchError(f"meterhall {noun} {verb}: {done.stderr.decode().strip()[-300:]}")
        return orjson.loads(done.stdout)

    def collect(self, targets: tuple[str, ...]) -> None:
        """Makes a target of each HOST:PORT/PATH, all on one host of ours."""
        host = self.manage(
            "hosts",
            "add",
            f"--project={self.project}",
            f"--region={REGION}",
            "--name=pages",
            f"--address={HOST}",
            "--collect=direct",
        )["hostId"]
        for number, target in enumerate(targets):
            address, _, path = target.partition("/")
            job = self._guide("jobs", {"jobName": f"page-{number}", "metricsPath": f"/{path}"})[
                "jobId"
            ]
            self._guide(f"jobs/{job}/targets", {"hostId": host, "port": address.rpartition(":")[2]})

    def _guide(self, path: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        headers = {**self.headers, "X-SYSMON-REGION": REGION, "Content-Type": "application/json"}
        try:
            target = f"/v1.0/projects/{self.project}/{path}"
            connection.request("POST", target, orjson.dumps(body), headers)
            answer = orjson.loads(connection.getresponse().read())
        finally:
            connection.close()
        if not answer["header"]["isSuccessful"]:
            raise BenchError(f"POST {path}: {answer['header']['resultMessage']}")
        return answer["body"]


def _meterhall(command: str) -> list[str]:
    return [sys.executable, "-m", "meterhall", command]
