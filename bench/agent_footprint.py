"""What an agent costs its host: memory, processor and traffic for 5 targets of 1,000 series at 15 s.

Run it with `python -m bench.agent_footprint [SECONDS] [INTERVAL]`. A real service, a real agent, and between the
two a relay that counts bytes; an exporter in a process of its own, whose values half change from page to page
and half stand still. The first 45 s, in which the agent starts and shapes travel, are told apart.
"""

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

import psutil
from aiohttp import web

from bench.system import free_port

TARGETS, SERIES = 5, 1000
WARM_UP_S = 45
_LINE = b'http_server_requests_seconds_count{method="GET",uri="/api/v1/items/%d",status="200",instance="web"} '


class Counts:
    """What went through: bytes from agent to service, and of pages from exporters to the agent."""

    def __init__(self) -> None:
        self.sent = 0


def exporter(pipe: Connection) -> None:
    """Serves five ports; tells them, and then the bytes of all pages whenever it is asked."""
    heads = [_LINE % number for number in range(SERIES)]
    served = [0]

    async def page(_request: web.Request) -> web.Response:
        now = time.time_ns() // 1_000_000
        body = b"# TYPE http_server_requests_seconds_count counter\n" + b"".join(
            b"%s%d\n" % (head, now * 37 % 1_000_003 + number if number % 2 else number)
            for number, head in enumerate(heads)
        )
        served[0] += len(body)
        return web.Response(body=body, content_type="text/plain")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/metrics", page)
        runner = web.AppRunner(app)
        await runner.setup()
        for _ in range(TARGETS):
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send([address[1] for address in runner.addresses])
        while True:
            await asyncio.sleep(0.05)
            if pipe.poll():
                pipe.recv()
                pipe.send(served[0])

    asyncio.run(main())


def relay(counts: Counts, port: int, to_port: int) -> None:
    """Passes connections on, and counts what the agent sends."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: bool) -> None:
        while data := await reader.read(65536):
            counts.sent += len(data) if count else 0
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", to_port)
        await asyncio.gather(
            pump(reader, back_writer, True),
            pump(back_reader, writer, False),
            return_exceptions=True,
        )

    async def main() -> None:
        async with await asyncio.start_server(connection, "127.0.0.1", port) as server:
            await server.serve_forever()

    asyncio.run(main())


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "meterhall", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def call(url: str, key: str, body: object = None) -> dict:
    """The body of a call of the guide."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    request.add_header("X-TC-APP-KEY", key)
    request.add_header("X-SYSMON-REGION", "kr")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["body"]


def until(found: Callable[[], object]) -> object:
    """The first true answer."""
    deadline = time.monotonic() + 60
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise SystemExit("the agent did not come up in a minute")
        time.sleep(0.2)
    return answer


def resident(process: psutil.Process) -> float:
    """The most memory that it ever held, in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    raise SystemExit("no VmHWM")


def processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measure(seconds: float, interval: str) -> None:
    pipe, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    exporting = context.Process(target=exporter, args=(theirs,), daemon=True)
    exporting.start()
    ports = pipe.recv()
    public, relayed, counts = free_port(), free_port(), Counts()
    Thread(target=relay, args=(counts, relayed, public), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        serving = running(
            *("quickstart", "--data", f"{folder}/data", "--listen", f"127.0.0.1:{public}"),
            *("--interval", interval),
            METERHALL_ADMIN_LISTEN=f"127.0.0.1:{free_port()}",
        )
        with serving as service:
            project, key = _announced(service)
            base = f"http://127.0.0.1:{public}/v1.0/projects/{project}"
            collecting = running(
                *("agent", "run", "--server", f"http://127.0.0.1:{relayed}"),
                *("--spool", f"{folder}/agent", "--name", "bench", "--no-metadata"),
                METERHALL_AGENT_KEY=key,
            )
            with collecting as agent:
                host = until(
                    lambda: [h for h in call(f"{base}/servers", key) if h["hostNm"] == "bench"]
                )
                job = call(f"{base}/jobs", key, {"jobName": "web", "metricsPath": "/metrics"})
                for port in ports:
                    draft = {"hostId": host[0]["hostId"], "port": port}
                    call(f"{base}/jobs/{job['jobId']}/targets", key, draft)
                time.sleep(WARM_UP_S)
                _observe(psutil.Process(agent.pid), pipe, counts, seconds)
    exporting.terminate()


def _announced(service: subprocess.Popen[str]) -> tuple[str, str]:
    words: dict[str, str] = {}
    assert service.stdout is not None
    for line in service.stdout:
        parts = line.split()
        if len(parts) == 2 and parts[0] in ("project", "appkey"):
            words[parts[0]] = parts[1]
        if len(words) == 2:
            return words["project"], words["appkey"]
    raise SystemExit("the service did not start")


def _observe(agent: psutil.Process, pipe: Connection, counts: Counts, seconds: float) -> None:
    pipe.send(None)
    pages, sent, used, began = pipe.recv(), counts.sent, processor_s(agent), time.monotonic()
    time.sleep(seconds)
    pipe.send(None)
    pages, sent = pipe.recv() - pages, counts.sent - sent
    used, took = processor_s(agent) - used, time.monotonic() - began
    print(f"memory, most ever      {resident(agent):8.1f} MB    (asked: 60)")
    print(f"processor              {used / took:8.2%} of a core (asked: 1 %)")
    print(f"pages                  {pages / took:8.0f} B/s")
    print(f"sent, heads included   {sent / took:8.0f} B/s = {sent / pages:.1%} (asked: below 10 %)")


if __name__ == "__main__":
    measure(
        float(sys.argv[1]) if len(sys.argv) > 1 else 180.0,
        sys.argv[2] if len(sys.argv) > 2 else "15s",
    )
