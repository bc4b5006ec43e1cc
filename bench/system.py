"""A system under measurement: a real process on a free port with a data directory of its own.

Processor seconds, memory and bytes on disk are the operating system's, over the process and its children.
`only` stops the other systems (SIGSTOP) while one is measured, so that nobody's background work
is in another's figures.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
import psutil

HOST = "127.0.0.1"
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.002
QUIET_SECONDS_MAX = 60.0
# Longer than two turns of our upkeep: after a pause of one the log is cut.
_QUIET_SECONDS = 12.0
_QUIET_SHARE = 0.05


T = TypeVar("T")


class BenchError(Exception):
    """Something that the benchmark needs isn't there or doesn't work."""


@dataclass(frozen=True)
class Memory:
    """Resident megabytes: now, and at the highest since `forget_peak`."""

    now_mb: float
    peak_mb: float


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class System:
    """A server. A subclass says how it is started and where its doors are."""

    name = ""
    # What its API's and its remote write's paths begin with and are.
    prefix = ""
    write_path = ""
    # Added to the parameters of a query where the system has a result cache.
    uncached: Mapping[str, str] = MappingProxyType({})

    def __init__(self, work: Path) -> None:
        self.work = work / self.name.lower()
        self.data = self.work / "data"
        self.port = free_port()
        self.headers: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def prepare(self) -> None:
        """What must be done once before the first start, in the fresh `work`."""

    def settle(self) -> None:
        """Asks for what the system would do in time by itself: flush and merge."""

    def bytes_per_sample(self, samples: int) -> float:
        """On disk, index included, of that many samples."""
        return directory_bytes(self.data) / samples

    def clean(self) -> None:
        """Throws away everything stored."""
        self.stop()
        shutil.rmtree(self.work, ignore_errors=True)
        self.data.mkdir(parents=True)
        self.prepare()

    def start(self) -> float:
        """Seconds from exec until /-/ready answers 200."""
        with (self.work / "log").open("ab") as log:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.work,
                env=self.environment(),
            )
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - begun > START_SECONDS_MAX:
                raise BenchError(f"{self.name} does not start: {self._last_words()}")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - begun

    def stop(self) -> None:
        """Ends it as an operator would, and kills it where that takes too long."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None, f"{self.name} is not running"
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def _of_each(self, ask: Callable[[psutil.Process], T]) -> list[T]:
        """Answers of the server and its children, of which one may end meanwhile."""
        answers = []
        for process in self._processes():
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                answers.append(ask(process))
        return answers

    def cpu_seconds(self) -> float:
        # Those of children that have ended are their parent's.
        return sum(self._of_each(lambda process: sum(process.cpu_times()[:4])))

    def memory(self) -> Memory:
        now = sum(self._of_each(lambda process: process.memory_info().rss)) / 1e6
        return Memory(now, sum(self._of_each(_peak_bytes)) / 1e6)

    def forget_peak(self) -> None:
        self._of_each(_clear_peak)

    def suspend(self) -> None:
        self._of_each(psutil.Process.suspend)

    def resume(self) -> None:
        self._of_each(psutil.Process.resume)

    def wait_until_quiet(self) -> None:
        """Until background work has come to rest, or for a minute."""
        deadline = time.monotonic() + QUIET_SECONDS_MAX
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(_QUIET_SECONDS)
            if self.cpu_seconds() - before < _QUIET_SECONDS * _QUIET_SHARE:
                return

    def fetch(self, path: str, parameters: Any = ()) -> bytes:
        """The body of one GET under the API's prefix. Raises BenchError where it isn't 2xx."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=120)
        target = f"{self.prefix}{path}?{urlencode(parameters)}"
        try:
            connection.request("GET", target, headers=self.headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise BenchError(f"{self.name}: GET {path}: {answer.status} {body[:200]!r}")
        return body

    def instant(self, query: str, time_s: float | None = None) -> list[Any]:
        """The result of an instant query."""
        parameters = {"query": query} | ({"time": time_s} if time_s is not None else {})
        result: list[Any] = orjson.loads(self.fetch("/api/v1/query", parameters))["data"]["result"]
        return result

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        return " / ".join((self.work / "log").read_text("utf-8", "replace").splitlines()[-3:])


def directory_bytes(directory: Path) -> int:
    """What the files of a directory occupy on disk."""
    total = 0
    for parent, _, files in os.walk(directory):
        for file in files:
            # Files may go away while we look.
            with suppress(FileNotFoundError):
                total += (Path(parent) / file).stat().st_blocks * 512
    return total


def _clear_peak(process: psutil.Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _peak_bytes(process: psutil.Process) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def only(system: System, systems: list[System]) -> Iterator[None]:
    """All other running systems stand still meanwhile."""
    others = [other for other in systems if other is not system and other.running]
    for other in others:
        other.suspend()
    try:
        yield
    finally:
        for other in others:
            other.resume()
