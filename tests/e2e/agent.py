"""The real agent as an operator runs it, and exporters with a ledger beside it."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from e2e.service import Ended, eventually
from meterhall.agent import spool_format
from meterhall.wire.agent_report import SplitPage, WholePage, join_page, shape_id

# Far below what is wrong in any test, and above the agent's tolerance of a second, a scrape's timeout and
# half of what a call takes on a machine that does much else.
CLOCK_TOLERANCE_S = 10


class Agent(Ended):
    """One `meterhall agent run` process on a directory of its own, started, killed and stopped at will."""

    def __init__(self, directory: Path, service, name, *options, url=None, prefix=()) -> None:
        self.directory = directory
        self.service = service
        self.name = name
        self.url = url or service.url
        self.options = options
        self.prefix = prefix
        self.output: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.output)

    @property
    def waiting(self) -> int:
        """Bytes in the spool."""
        return sum(file.stat().st_size for file in self.directory.glob("spool/*.spool"))

    def start(self, key=None, **environment) -> "Agent":
        self.process = subprocess.Popen(
            [
                *self.prefix,
                *(sys.executable, "-m", "meterhall", "agent", "run", "--server", self.url),
                *("--spool", str(self.directory), "--name", self.name, "--no-metadata"),
                *self.options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"METERHALL_AGENT_KEY": key or self.service.key} | environment,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output.append(line)

    @property
    def host_id(self):
        """The host as /servers shows it, once it does."""
        found = eventually(
            lambda: [
                host
                for host in self.service.guide("GET", "/servers")
                if host["hostNm"] == self.name
            ]
        )
        return found[0]["hostId"]


def spooled(directory: Path) -> set[int]:
    """Numbers of the ledger's pages that are in an agent's spool, delivered or not."""
    found = set()
    for path in directory.glob("spool/*.spool"):
        shapes = {}
        for frame in spool_format.frames(path.read_bytes()):
            if frame.kind == spool_format.Kind.SHAPE:
                shape = spool_format.read_shape(frame.payload)
                shapes[shape_id(shape)] = shape
                continue
            outcome = spool_format.read_scrape(frame.payload).outcome
            page = b""
            if isinstance(outcome, SplitPage):
                page = join_page(shapes[outcome.shape_id], outcome.words)
            elif isinstance(outcome, WholePage):
                page = outcome.body
            if page.startswith(b"ledger_page "):
                found.add(int(page.split()[1]))
    return found


class Ledger:
    """An exporter whose pages are numbered, and the list of what it served."""

    def __init__(self, file: Path, prefix=()) -> None:
        self.file = file
        script = Path(__file__).parent / "ledger_exporter.py"
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(script), str(file)], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())

    @property
    def served(self) -> int:
        return self.file.read_bytes().count(b"\n")

    @property
    def times_s(self) -> list[float]:
        """When each page was served, in seconds since the epoch."""
        return [int(line.split()[1]) / 1000 for line in self.file.read_bytes().splitlines()]

    def lost_in_hand(self, agent: Agent) -> set[int]:
        """Of the newest pages, those that a killed agent had not spooled yet: nobody promised them."""
        served = self.served
        return set(range(max(0, served - 3), served)) - spooled(agent.directory)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def add_target(service, agent, port, job, path="/metrics"):
    """(job id, target id) of a target on the agent's host, in a workspace of its own."""
    made = service.guide("POST", "/jobs", {"jobName": job, "metricsPath": path})["jobId"]
    draft = {"hostId": agent.host_id, "port": port}
    return made, service.guide("POST", f"/jobs/{made}/targets", draft)


def stored(service, selector):
    """[(time in s, value), …] of every stored sample of the one series, in order of time."""
    result = service.prometheus("query", query=f"{selector}[6h]")["result"]
    if not result:
        return []
    (series,) = result
    return [(at, float(value)) for at, value in series["values"]]


def numbers(service, job):
    """Numbers of the pages that are stored for a workspace, in order of time."""
    return [int(value) for _, value in stored(service, f'ledger_page{{job="{job}"}}')]


def assert_complete(service, ledger, job, forgiven=()):
    """In time every page that was served is stored once, in order, but for those that were never spooled.

    A page that came too late for the agent is a failed scrape, and stored as one.
    """

    # What is served from now on is on its way.
    served = set(range(ledger.served))

    def is_complete():
        missing = served - set(numbers(service, job)) - set(forgiven)
        return len(missing) <= [up for _, up in stored(service, f'up{{job="{job}"}}')].count(0)

    eventually(is_complete, 90)
    found = numbers(service, job)
    assert found == sorted(set(found)), "doubled or out of order"
    for part in (0, 9):
        values = stored(service, f'ledger_part{{job="{job}",part="{part}"}}')
        assert [int(value) for _, value in values][: len(found)] == [n * 10 + part for n in found]


def assert_in_time(service, ledger, job):
    """Every stored page has the time at which it was served: by the clock of this machine, which is the service's."""
    times_s = ledger.times_s
    for at_s, number in stored(service, f'ledger_page{{job="{job}"}}'):
        assert abs(at_s - times_s[int(number)]) < CLOCK_TOLERANCE_S, number
