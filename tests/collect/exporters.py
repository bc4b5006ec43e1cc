"""The real node_exporter, found on this machine."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request


def node_exporter_path() -> str | None:
    """Debian's name, or upstream's."""
    return shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def node_exporter(port: int):
    """Runs it until the block ends; yields the process once it answers."""
    path = node_exporter_path()
    assert path is not None, "install prometheus-node-exporter (tests/system-packages.sh does)"
    process = subprocess.Popen(
        [path, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "node_exporter ended"
                assert time.monotonic() < deadline, "node_exporter does not answer"
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def page_of(port: int) -> str:
    """Its page as text."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return answer.read().decode()


async def until(condition, seconds=20.0, pause_s=0.02):
    """Polls a condition; fails with its last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true; last: {value!r}"
        await asyncio.sleep(pause_s)
    return value
