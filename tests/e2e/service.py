"""The real service as a newcomer runs it, and real exporters beside it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from tests.collect.exporters import free_port

from wire.write_request import body_of

WAIT_SECONDS = 40


def eventually(ask, seconds=WAIT_SECONDS):
    """The first true answer of `ask`; fails with the last one when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; last answer: {answer!r}")
        time.sleep(0.1)


def meterhall(*arguments: str, **options) -> str:
    """Standard output of one `meterhall` command."""
    done = subprocess.run(
        [sys.executable, "-m", "meterhall", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Ended:
    """How a process whose output is read by a thread comes to its end."""

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(20)
        self.reader.join(5)
        self.process.stdout.close()
        return code


class Service(Ended):
    """One `meterhall quickstart` process on a data directory, started and stopped at will."""

    def __init__(self, data: Path, interval: str = "1s", host: str = "127.0.0.1") -> None:
        self.host = host
        self.data = data
        self.interval = interval
        self.port = free_port()
        self.admin_port = free_port()
        self.output: list[str] = []
        self.key: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def text(self) -> str:
        return "".join(self.output)

    def start(self) -> "Service":
        self.output = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "meterhall", "quickstart", "--data", str(self.data)),
                *("--listen", f"{self.host}:{self.port}", "--interval", self.interval),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | {
                "METERHALL_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
                # Agents are asked to look for changes more often than is usual: nobody waits for that here.
                "METERHALL_AGENTS_POLL": "1s",
            },
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        eventually(self._is_up)
        eventually(lambda: "Grafana" in self.text)
        self.project = re.search(r"project\s+([A-Za-z0-9]{8})\b", self.text)[1]
        shown = re.search(r"appkey\s+(\S{22,})", self.text)
        self.key = shown[1] if shown else self.key
        return self

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output.append(line)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.text
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def cli(self, *arguments: str):
        """A command on the service's data directory, its answer read as JSON."""
        return json.loads(meterhall(*arguments, "--data", str(self.data), "--json"))

    def request(self, method, path, body=None, key=None, headers=None):
        """(status, parsed body) of one request."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        request.add_header("X-TC-APP-KEY", key or self.key)
        request.add_header("X-SYSMON-REGION", "kr")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def guide(self, method, path, body=None, key=None, project=None):
        """The body of a call of the guide that must succeed."""
        path = f"/v1.0/projects/{project or self.project}{path}"
        status, answer = self.request(method, path, body, key)
        assert (status, answer["header"]["resultCode"]) == (200, 0), answer
        return answer["body"]

    def push(self, series, key=None):
        """Remote-writes [(labels, [(time ms, value), …]), …]; returns (status, text)."""
        request = urllib.request.Request(
            f"{self.url}/prometheus/api/v1/write",
            body_of(series),
            {
                "X-TC-APP-KEY": key or self.key,
                "Content-Type": "application/x-protobuf",
                "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def prometheus(self, path, key=None, **form):
        """`data` of a call of the Prometheus API that must succeed."""
        form = urllib.parse.urlencode(form, doseq=True)
        status, answer = self.request("GET", f"/prometheus/api/v1/{path}?{form}", key=key)
        assert status == 200, answer
        return answer["data"]

    def query(self, expression, key=None, **form):
        """An instant vector as {label set: value text}."""
        result = self.prometheus("query", key=key, query=expression, **form)["result"]
        return {tuple(sorted(item["metric"].items())): item["value"][1] for item in result}

    def value(self, expression, key=None, **form):
        """The one value of an instant vector, or None where it is empty."""
        found = self.query(expression, key=key, **form)
        assert len(found) <= 1, found
        return float(next(iter(found.values()))) if found else None


class Exporter:
    """One of Debian's exporters on a port of its own."""

    def __init__(self, name: str, *options: str) -> None:
        self.port = free_port()
        self.options = options
        self.program = shutil.which(f"prometheus-{name.replace('_', '-')}") or shutil.which(name)
        assert self.program, f"{name} is missing: tests/system-packages.sh installs it"

    def start(self) -> "Exporter":
        self.process = subprocess.Popen(
            [self.program, f"--web.listen-address=127.0.0.1:{self.port}", *self.options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
