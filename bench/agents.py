"""Two thousand agents on one service, and a quarter of them coming back together after six hours.

    python -m bench.agents [--agents N] [--returning N] [--hours H] [--seconds S]

That is the full size, half an hour. `make bench` has the same steady state and lets the same agents return after
a quarter of an hour instead: what the service does in each second is the same, and it ends sooner.

The agents are played in this process: each has its credential, its kept-alive connection and its own page of about
500 series, asks for its targets every five seconds and reports every minute, in the messages of the real agent
(`wire.agent_report`), pages as words of a shape. The service is a process of its own, whose processor time and
memory are the operating system's figures. What was acknowledged is counted here, and compared with what queries find.
"""

import argparse
import asyncio
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.dataset import make as make_data
from bench.exposition import pages_of
from bench.server import Meterhall
from bench.system import HOST, BenchError
from bench.table import Table, figure
from meterhall.app.clock import SystemClock
from meterhall.app.control_plane import CONTROL_FILE
from meterhall.app.process import tune
from meterhall.control.database import sqlite_url
from meterhall.control.plane import open_control_plane
from meterhall.control.settings import ControlSettings
from meterhall.wire.agent_calls import (
    AgentTargets,
    Enrolled,
    Enrolment,
    ReportAnswer,
    decode_message,
    encode_message,
)
from meterhall.wire.agent_report import (
    Scrape,
    SplitPage,
    encode_batch,
    shape_id,
    split_page,
)

_WORK = Path(__file__).parent.parent / ".bench"
_INTERVAL_S = 60
_POLL_S = 5.0
# As the real agent's outbox has it.
_BACKFILL_SCRAPES = 200
_BACKFILL_SHARE = 3.0
_BACKFILL_PAUSE_S = 0.5
_AGENTS_A_PROJECT = 100
_KINDS = 20
_SCRAPES = 12
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Size:
    """How many agents report for how many seconds; how many of them return after how many hours, within `spread` s."""

    agents: int = 2000
    seconds: float = 120.0
    returning: int = 500
    hours: float = 6.0
    spread: float = 10.0


# For `make bench`.
SHORT = Size(hours=0.25)


@dataclass(frozen=True, slots=True)
class Host:
    """What one agent's exporter says: a shape of its own, and the words of a few scrapes, again and again."""

    shape: bytes
    shape_id: bytes
    words: tuple[bytes, ...]
    page_bytes: int

    def page(self, number: int, *, told: bool) -> SplitPage:
        """Scrape `number` as words; with the shape unless it was told."""
        words = self.words[number % len(self.words)]
        return SplitPage(_TEXT, self.shape_id, words, None if told else self.shape)


@dataclass
class Counts:
    """What the service answered until a moment of the monotonic clock."""

    until_s: float = float("inf")
    polls_s: list[float] = field(default_factory=list)
    reports_s: list[float] = field(default_factory=list)
    busy: int = 0
    acknowledged: int = 0
    sent_bytes: int = 0
    page_bytes: int = 0


class Connection:
    """One kept-alive HTTP/1.1 connection, as small as it can be."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(
        self, method: str, path: str, key: str, body: bytes = b"", headers: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. A connection that the service closed for being idle is opened anew."""
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nX-TC-APP-KEY: {key}\r\n{headers}"
        if method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        request = head.encode() + b"\r\n" + body
        try:
            return await self._exchange(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return await self._exchange(request)

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(request)
        status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        answer = await reader.readexactly(int(told.get("content-length", "0")))
        if told.get("connection") == "close":
            self.close()
        return int(status_line.split(" ")[1]), told, answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


class Agent:
    """One host's agent. `number` sets its place in the minute."""

    def __init__(self, number: int, host: Host, port: int) -> None:
        self.number = number
        self.host = host
        self.connection = Connection(port)
        self.lock = asyncio.Lock()
        self.key = ""
        self.target_id = ""
        self.etag = ""
        self.told = False
        self.seq = 0

    async def enrol(self, key: str) -> None:
        """Gets its credential and its one target."""
        name = f"host-{self.number:04d}"
        body = encode_message(
            Enrolment(
                str(uuid.uuid4()),
                name,
                f"10.1.{self.number // 250}.{self.number % 250}",
                "linux",
                "1.0",
            )
        )
        status, headers, answer = await self.connection.call("POST", "/agent/v1/enrol", key, body)
        while status in (401, 429):
            # A running server notices within five seconds what another process has changed.
            await asyncio.sleep(int(headers.get("retry-after", "1")))
            status, headers, answer = await self.connection.call(
                "POST", "/agent/v1/enrol", key, body
            )
        if status != 200:
            raise BenchError(f"enrolment: {status} {answer!r}")
        self.key = decode_message(answer, Enrolled).key

    async def poll(self, counts: Counts) -> None:
        """Asks for its targets."""
        async with self.lock:
            begun = time.perf_counter()
            status, headers, answer = await self.connection.call(
                "GET", "/agent/v1/targets", self.key, headers=f"If-None-Match: {self.etag}\r\n"
            )
            counts.polls_s.append(time.perf_counter() - begun)
        if status == 200:
            self.etag = headers["etag"]
            self.target_id = decode_message(answer, AgentTargets).targets[0].target_id
        elif status == 429:
            await asyncio.sleep(int(headers["retry-after"]))
        elif status != 304:
            raise BenchError(f"targets: {status} {answer!r}")

    async def report(
        self, times_ms: list[int], counts: Counts, *, backfill: bool = False
    ) -> float | None:
        """Sends scrapes of these times until they are taken; back-fill gives way instead, and says for how long."""
        while True:
            scrapes = [self._scrape(time_ms) for time_ms in times_ms]
            body = encode_batch(scrapes)
            headers = "X-Meterhall-Backfill: 1\r\n" if backfill else ""
            async with self.lock:
                begun = time.perf_counter()
                status, told, answer = await self.connection.call(
                    "POST", "/agent/v1/reports", self.key, body, headers
                )
                took_s = time.perf_counter() - begun
            if status == 200:
                break
            if status not in (429, 503):
                raise BenchError(f"report: {status} {answer!r}")
            counts.busy += 1
            if backfill:
                return float(told["retry-after"])
            await asyncio.sleep(int(told["retry-after"]))
        become = decode_message(answer, ReportAnswer)
        if become.refused:
            raise BenchError(f"refused: {become.refused[0]}")
        if become.unknown_shapes:
            self.told = False
            return await self.report(times_ms, counts, backfill=backfill)
        self.told = True
        counts.reports_s.append(took_s)
        counts.acknowledged += become.stored
        counts.sent_bytes += len(body)
        counts.page_bytes += self.host.page_bytes * len(times_ms)
        return None if not backfill else -took_s

    def _scrape(self, time_ms: int) -> Scrape:
        self.seq += 1
        page = self.host.page(time_ms // 60_000, told=self.told)
        return Scrape(self.seq, self.target_id, time_ms, 0.0125, page)

    async def live(self, counts: Counts) -> None:
        """Polls and reports until `counts` ends. What is under way then is answered and counted."""
        random_ = random.Random(self.number)
        poll_s = time.monotonic() + random_.random() * _POLL_S
        report_s = time.monotonic() + random_.random() * _INTERVAL_S
        while (next_s := min(poll_s, report_s)) < counts.until_s:
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            if next_s >= counts.until_s:
                return
            if next_s == poll_s:
                poll_s += _POLL_S
                await self.poll(counts)
            else:
                report_s += _INTERVAL_S
                await self.report([time.time_ns() // 1_000_000], counts)

    async def fill(self, times_ms: list[int], counts: Counts, spread_s: float) -> None:
        """Sends what its spool holds, in order, as politely as the real agent."""
        at = 0
        await asyncio.sleep(random.Random(self.number).random() * spread_s)
        while at < len(times_ms):
            batch = times_ms[at : at + _BACKFILL_SCRAPES]
            wait_s = await self.report(batch, counts, backfill=True)
            assert wait_s is not None
            if wait_s < 0:
                at += len(batch)
                wait_s = max(_BACKFILL_PAUSE_S, -wait_s * _BACKFILL_SHARE)
            await asyncio.sleep(wait_s)


@dataclass
class Fleet:
    """All agents, and the keys of their projects."""

    agents: list[Agent]
    keys: list[str]


def hosts(count: int) -> Iterator[Host]:
    """Pages of the data set's hosts; each has a line that only it has, as real ones do."""
    data = make_data(_KINDS, 0.1)
    kinds = [pages_of(data, kind, _SCRAPES) for kind in range(_KINDS)]
    for number in range(count):
        pages = [
            page + f'node_uname_info{{nodename="host-{number:04d}"}} 1\n'.encode()
            for page in kinds[number % _KINDS]
        ]
        split = [split_page(page) for page in pages]
        shape = split[0][0]
        assert all(other == shape for other, _ in split), "pages of one host differ in shape"
        words = tuple(words for _, words in split)
        yield Host(shape, shape_id(shape), words, sum(map(len, pages)) // len(pages))


async def begin(service: Meterhall, count: int) -> Fleet:
    """Enrols them all, a project for each hundred, and has each report twice."""
    agents = [Agent(number, host, service.port) for number, host in enumerate(hosts(count))]
    keys = _projects(service, -(-count // _AGENTS_A_PROJECT))
    enrolling = (agent.enrol(keys[agent.number // _AGENTS_A_PROJECT]) for agent in agents)
    await asyncio.gather(*enrolling)
    ignored, waiting = Counts(), agents
    while waiting:
        await asyncio.gather(*(agent.poll(ignored) for agent in waiting))
        waiting = [agent for agent in waiting if not agent.target_id]
    # Twice, with the shape in the first: what follows is the steady state.
    now_ms = time.time_ns() // 1_000_000
    for ago_s in (2 * _INTERVAL_S, _INTERVAL_S):
        for at in range(0, count, 50):
            reports = (
                agent.report([now_ms - ago_s * 1000], ignored) for agent in agents[at : at + 50]
            )
            await asyncio.gather(*reports)
    return Fleet(agents, keys)


async def steady(service: Meterhall, fleet: Fleet, seconds: float) -> Table:
    """Everyone polls and reports."""
    service.forget_peak()
    begun_s, cpu_s = time.monotonic(), service.cpu_seconds()
    own_s = time.process_time()
    counts = Counts(begun_s + seconds)
    await asyncio.gather(*(agent.live(counts) for agent in fleet.agents))
    took_s, cpu_s = time.monotonic() - begun_s, service.cpu_seconds() - cpu_s
    rows = [
        *_latencies(counts),
        ["reports with 429 or 503", f"{counts.busy:,}"],
        ["bytes sent a page", f"{counts.sent_bytes / max(1, counts.acknowledged):,.0f}"],
        ["bytes of a raw page", f"{counts.page_bytes / max(1, counts.acknowledged):,.0f}"],
        ["raw to sent", figure(counts.page_bytes / max(1, counts.sent_bytes))],
        ["cores in use (of 2)", figure(cpu_s / took_s)],
        ["resident MB, highest", f"{service.memory().peak_mb:,.0f}"],
        ["cores that the agents' players use", figure((time.process_time() - own_s) / took_s)],
    ]
    title = f"{len(fleet.agents):,} agents of {_series(fleet)} series, every {_INTERVAL_S} s, over {took_s:.0f} s"
    return Table(title, ["what", "figure"], rows)


async def returning(service: Meterhall, fleet: Fleet, size: Size) -> Table:
    """Some of them come back at once with a full spool, while all go on."""
    count, hours = size.returning, size.hours
    live, filled = Counts(), Counts()
    now_ms = time.time_ns() // 1_000_000
    # Behind all that they have reported.
    last_ms = now_ms - 10 * _INTERVAL_S * 1000
    times_ms = [last_ms - n * _INTERVAL_S * 1000 for n in range(int(hours * 3600 / _INTERVAL_S))]
    times_ms.reverse()
    back = fleet.agents[-count:]
    before = _counted(service, fleet, hours)
    service.forget_peak()
    begun_s, cpu_s = time.monotonic(), service.cpu_seconds()
    going_on = [asyncio.ensure_future(agent.live(live)) for agent in fleet.agents]
    await asyncio.gather(*(agent.fill(times_ms, filled, size.spread) for agent in back))
    took_s, cpu_s = time.monotonic() - begun_s, service.cpu_seconds() - cpu_s
    live.until_s = 0.0
    await asyncio.gather(*going_on)
    peak_mb = service.memory().peak_mb
    found = _counted(service, fleet, hours) - before
    expected = filled.acknowledged + live.acknowledged
    samples = filled.acknowledged * _series(fleet)
    rows = [
        ["scrapes to fill", f"{len(back) * len(times_ms):,}"],
        ["filled and acknowledged", f"{filled.acknowledged:,}"],
        ["live scrapes meanwhile", f"{live.acknowledged:,}"],
        ["found by queries (up)", f"{found:,}"],
        ["missing or doubled", f"{abs(found - expected):,}"],
        ["seconds until all was filled", f"{took_s:,.0f}"],
        ["filled samples/s", f"{samples / took_s:,.0f}"],
        ["CPU s per million samples", figure(cpu_s / samples * 1e6)],
        ["back-fill turned away with 429", f"{filled.busy:,}"],
        ["live turned away", f"{live.busy:,}"],
        *_latencies(live),
        ["cores in use (of 2)", figure(cpu_s / took_s)],
        ["resident MB, highest", f"{peak_mb:,.0f}"],
    ]
    return Table(f"{count:,} agents return after {hours:g} h", ["what", "figure"], rows)


def _projects(service: Meterhall, count: int) -> list[str]:
    """Their keys. Made as the command line makes them, without starting it each time."""
    url = sqlite_url(service.data / CONTROL_FILE)
    control = open_control_plane(url, ControlSettings(), SystemClock())
    try:
        return [control.projects.create(f"fleet-{number}").key.secret for number in range(count)]
    finally:
        control.close()


def _latencies(counts: Counts) -> list[list[str]]:
    rows = []
    for what, seconds in (("polls", counts.polls_s), ("live reports", counts.reports_s)):
        ordered = sorted(seconds) or [0.0]
        for share in (0.5, 0.99):
            ms = ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000
            rows.append([f"{what} p{share * 100:.0f}, ms", figure(ms)])
        rows.append([what, f"{len(seconds):,}"])
    return rows


def _series(fleet: Fleet) -> int:
    """Of one host, with the five that every scrape adds."""
    return fleet.agents[0].host.words[0].count(b"\n") + 1 + 5


def _counted(service: Meterhall, fleet: Fleet, hours: float) -> int:
    """How many scrapes queries find: each has one sample of `up`."""
    found = 0
    window_s = int(hours * 3600) + 3600
    for key in fleet.keys:
        service.headers = {"X-TC-APP-KEY": key}
        answer = json.loads(
            service.fetch("/api/v1/query", {"query": f"sum(count_over_time(up[{window_s}s]))"})
        )
        result: list[Any] = answer["data"]["result"]
        found += int(float(result[0]["value"][1])) if result else 0
    return found


def run(work: Path, size: Size) -> Iterator[Table]:
    """Both tables, each as soon as it is measured."""
    tune()
    service = Meterhall(work.resolve() / "agents", f"{_INTERVAL_S}s")
    service.clean()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            service.start()
            fleet = runner.run(begin(service, size.agents))
            yield runner.run(steady(service, fleet, size.seconds))
            if size.returning:
                yield runner.run(returning(service, fleet, size))
            for agent in fleet.agents:
                agent.connection.close()
        finally:
            service.stop()


def main() -> None:
    """Prints the tables."""
    size = Size()
    parser = argparse.ArgumentParser(prog="python -m bench.agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=size.agents, help="how many; 2000")
    parser.add_argument(
        "--returning", type=int, default=size.returning, help="those that return; 500"
    )
    parser.add_argument(
        "--hours", type=float, default=size.hours, help="how long they were away; 6"
    )
    parser.add_argument(
        "--seconds", type=float, default=size.seconds, help="of the steady state; 120"
    )
    parser.add_argument(
        "--spread", type=float, default=size.spread, help="seconds within which they begin; 10"
    )
    parser.add_argument("--work", type=Path, default=_WORK, help="directory to measure in")
    options = vars(parser.parse_args())
    for table in run(options.pop("work"), Size(**options)):
        print(table.markdown(), flush=True)


if __name__ == "__main__":
    main()
