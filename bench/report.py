"""The tables as a part of docs/performance.md, with when, where and how they were measured."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from bench.table import Table
from meterhall.app.clock import SystemClock

FILE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def conditions(versions: dict[str, str], hosts: int, hours: float) -> str:
    """Sentences that say what the figures are of."""
    memory_gib = psutil.virtual_memory().total / 2**30
    load = psutil.getloadavg()[0]
    systems = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {_today()}: {os.cpu_count()} cores ({_processor()}), "
        f"{memory_gib:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}. {systems}. "
        f"Load of the machine by others when it began: {load:.1f}.\n"
        f"Data: {hosts} hosts x 500 series x {hours:g} h at 15 s. All on loopback of one machine, one "
        "system at a time, the others stopped. 'vs' says how many times better we are than a "
        "peer: twice as fast, or half the cost, is 2; below 1 it is better than us.\n"
    )


def write(text: str, tables: list[Table], file: Path = FILE) -> None:
    """Puts them between the marks of the file, whose other parts stay."""
    before, _, rest = file.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join([text, *(table.markdown() for table in tables)])
    file.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", "utf-8")


def _today() -> str:
    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).date().isoformat()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
