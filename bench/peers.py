"""The systems to compare with: found in `.peers/` of the checkout, or fetched as Debian's own packages.

Prometheus, promtool, VictoriaMetrics, vmagent and node_exporter are taken from Debian's unstable suite, which has current
ones, through the machine's Debian source; the load generator wrk from the machine's own suite. Packages
are unpacked into `.peers/`, with an apt state of its own: nothing is installed and the system's package
lists stay as they are. Where that can't be done, our own figures are measured alone.
"""

import fcntl
import math
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import MappingProxyType

import orjson

from bench.system import HOST, BenchError, System, directory_bytes

DIRECTORY = Path(__file__).parent.parent / ".peers"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Program: path inside its package.
_SERVERS = {
    "prometheus": "usr/bin/prometheus",
    "promtool": "usr/bin/promtool",
    "victoria-metrics": "usr/bin/victoria-metrics",
    "vmagent": "usr/bin/vmagent",
    "node_exporter": "usr/bin/prometheus-node-exporter",
}
_SERVER_PACKAGES = ["prometheus", "promtool", "victoria-metrics", "prometheus-node-exporter"]
_WRK_PACKAGES = ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"]
# Names and versions of what was fetched: Debian's VictoriaMetrics does not know its own.
_PACKAGES = "packages"
_FOREVER = "100y"
_VERSION = re.compile(r"\d+\.\d+\.\d+")  # noqa: TID251  Of a program of ours to run, no user's text.


def servers(directory: Path = DIRECTORY) -> Path:
    """The directory with the peers' programs. Raises BenchError where they can't be had.

    Of several processes that want them at once, one fetches.
    """
    directory.mkdir(exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch_servers(directory)
    return directory


def _fetch_servers(directory: Path) -> None:
    if not all(os.access(directory / program, os.X_OK) for program in _SERVERS):
        with tempfile.TemporaryDirectory() as scratch:
            root = _unpacked(Path(scratch), _SERVER_PACKAGES, f"{_mirror()} sid main")
            for program, path in _SERVERS.items():
                shutil.copy2(root / path, directory / program)
            names = [package.stem for package in Path(scratch).glob("debs/*.deb")]
            (directory / _PACKAGES).write_text("\n".join(sorted(names)) + "\n")


def wrk(directory: Path = DIRECTORY) -> tuple[Path, dict[str, str]]:
    """The load generator and the environment it needs. Raises BenchError where it can't be had."""
    if installed := shutil.which("wrk"):
        return Path(installed), dict(os.environ)
    home = directory / "wrk"
    if not (home / "wrk").exists():
        with tempfile.TemporaryDirectory() as scratch:
            root = _unpacked(Path(scratch), _WRK_PACKAGES, None)
            home.mkdir(parents=True, exist_ok=True)
            for library in root.glob("usr/lib/*/libluajit*"):
                shutil.copy2(library, home / library.name)
            shutil.copy2(root / "usr/bin/wrk", home / "wrk")
    return home / "wrk", {**os.environ, "LD_LIBRARY_PATH": str(home)}


def scrape_configuration(targets: tuple[str, ...]) -> str:
    """Prometheus' configuration that collects these HOST:PORT/PATH every second."""
    jobs = ["scrape_configs:"] if targets else ["{}"]
    for number, target in enumerate(targets):
        address, _, path = target.partition("/")
        jobs += [
            f"- job_name: page-{number}",
            "  scrape_interval: 1s",
            "  scrape_timeout: 1s",
            f"  metrics_path: /{path}",
            f"  static_configs: [{{targets: ['{address}']}}]",
        ]
    return "\n".join(jobs) + "\n"


def version(program: Path) -> str:
    """Such as 3.5.3: of the package it came in, or its own word."""
    packages = program.with_name(_PACKAGES)
    said = packages.read_text() if packages.exists() else ""
    _, _, said = said.partition(f"{program.name}_")
    if not said:
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        said = asked.stdout
    found = _VERSION.search(said)
    return found.group() if found else "unknown"


def _mirror() -> str:
    """The machine's Debian source, with the key its packages are signed by."""
    try:
        said = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"no apt-get to fetch peers with: {error}") from None
    sites = [site.rstrip("/") for site in said.stdout.split()]
    debian = [site for site in sites if site.endswith("/debian")]
    if not debian:
        raise BenchError("this machine has no Debian source to fetch peers from")
    return f"[signed-by={_KEYRING}] {debian[0]}"


def _unpacked(scratch: Path, packages: list[str], source: str | None) -> Path:
    """Downloads packages, from that source or the machine's own, and unpacks them under `scratch`."""
    options = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",
    }
    for needed in ("lists/partial", "cache/archives/partial", "debs"):
        (scratch / needed).mkdir(parents=True)
    if source is not None:
        listed = scratch / "source.list"
        listed.write_text(f"deb {source}\n")
        options |= {"Dir::Etc::SourceList": listed, "Dir::Etc::SourceParts": "-"}
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    try:
        for step in (["update"], ["download", *packages]):
            subprocess.run([*apt, *step], cwd=scratch / "debs", capture_output=True, check=True)
        for package in (scratch / "debs").glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, scratch / "root"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"cannot fetch {', '.join(packages)}: {error}") from None
    return scratch / "root"


class Prometheus(System):
    """Takes remote write, scrapes `targets`, and keeps everything."""

    name = "Prometheus"
    write_path = "/api/v1/write"

    def __init__(self, work: Path, programs: Path, targets: tuple[str, ...] = ()) -> None:
        super().__init__(work)
        self._program = programs / "prometheus"
        self._targets = targets

    def prepare(self) -> None:
        (self.work / "prometheus.yml").write_text(scrape_configuration(self._targets))

    def command(self) -> list[str]:
        return [
            str(self._program),
            f"--config.file={self.work / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.data}",
            f"--storage.tsdb.retention.time={_FOREVER}",
            f"--web.listen-address={HOST}:{self.port}",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ]

    def bytes_per_sample(self, _: int) -> float:
        """Of the blocks alone: the log and the head's chunks come and go."""
        metas = list(self.data.glob("*/meta.json"))
        samples = sum(orjson.loads(meta.read_bytes())["stats"]["numSamples"] for meta in metas)
        size = sum(directory_bytes(meta.parent) for meta in metas)
        return size / samples if samples else math.nan


class VictoriaMetrics(System):
    """Single node; scrapes `targets` itself."""

    name = "VictoriaMetrics"
    write_path = "/api/v1/write"
    uncached = MappingProxyType({"nocache": "1"})

    def __init__(self, work: Path, programs: Path, targets: tuple[str, ...] = ()) -> None:
        super().__init__(work)
        self._program = programs / "victoria-metrics"
        self._targets = targets

    def prepare(self) -> None:
        (self.work / "scrape.yml").write_text(scrape_configuration(self._targets))

    def command(self) -> list[str]:
        return [
            str(self._program),
            f"-storageDataPath={self.data}",
            f"-httpListenAddr={HOST}:{self.port}",
            f"-retentionPeriod={_FOREVER}",
            f"-promscrape.config={self.work / 'scrape.yml'}",
            "-loggerLevel=ERROR",
            # It ends connections after two minutes, in the middle of the data set on a slow machine.
            "-http.connTimeout=1h",
            # Its defaults are below what r05 asks for.
            "-search.maxSeries=100000",
            "-search.maxUniqueTimeseries=1000000",
        ]

    def settle(self) -> None:
        for path in ("/internal/force_flush", "/internal/force_merge"):
            self.fetch(path)
