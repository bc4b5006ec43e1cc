"""`make bench`: our service and its peers, measured in one run on one machine.

    python -m bench [SECTION…] [--hosts N] [--hours H] [--write]

Without a section, all but that of the agents, which takes six minutes. Sections that need the data set load it first, once.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import meterhall
from bench import (
    agents,
    http_load,
    load,
    pages,
    peers,
    profiles,
    queries,
    report,
    scrape,
    stalls,
    startup,
)
from bench.dataset import make as make_data
from bench.server import Meterhall
from bench.system import BenchError, System
from bench.table import Table

# In the order in which they are measured: what kills its servers comes last.
SECTIONS = (
    "pages",
    "scrape",
    "agents",
    "load",
    "queries",
    "http",
    "startup",
    "profile",
    "stalls",
)
# Of ourselves alone, and long.
_ON_DEMAND = ("agents",)
_WORK = Path(__file__).parent.parent / ".bench"
_PAGE_HOSTS, _PAGE_HOURS = 20, 0.1


class Bench:
    """One run: which systems there are, and what has been measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._work: Path = options.work.resolve()
        self.tables: list[Table] = []
        self._programs = _peers(options)
        self._systems = [make(self._work, ()) for make in self._makers()]
        self._loadings: dict[str, load.Loading] = {}

    def versions(self) -> dict[str, str]:
        found = {"Meterhall": meterhall.__version__}
        if self._programs:
            found["Prometheus"] = peers.version(self._programs / "prometheus")
            found["VictoriaMetrics"] = peers.version(self._programs / "victoria-metrics")
        return found

    def measure(self, section: str) -> None:
        """One section; a failure is told and the others go on."""
        begun = time.perf_counter()
        try:
            for table in getattr(self, f"_{section}")():
                self.tables.append(table)
                print(f"\n{table.markdown()}", flush=True)
        except (BenchError, OSError) as error:
            print(f"\n{section}: {error}", flush=True)
        print(f"({section}: {time.perf_counter() - begun:.0f} s)", flush=True)

    def stop(self) -> None:
        for system in self._systems:
            system.stop()

    def _makers(self) -> list[scrape.Maker]:
        """Ours first, then the peers there are."""
        wanted, programs = self._options.systems.split(","), self._programs
        found: list[scrape.Maker] = []
        if "meterhall" in wanted:
            found.append(lambda work, targets: Meterhall(work, "1s" if targets else "1d"))
        if programs and "prometheus" in wanted:
            found.append(lambda work, targets: peers.Prometheus(work, programs, targets))
        if programs and "victoriametrics" in wanted:
            found.append(lambda work, targets: peers.VictoriaMetrics(work, programs, targets))
        return found

    def _loaded(self) -> list[System]:
        """All systems, running, with the data set in each."""
        hosts, hours = self._options.hosts, self._options.hours
        file = load.requests_file(self._work, hosts, hours)
        for system in self._systems:
            if system.name not in self._loadings:
                self._loadings[system.name] = load.load(system, self._systems, file)
        return self._systems

    def _pages(self) -> list[Table]:
        return [pages.run(make_data(_PAGE_HOSTS, _PAGE_HOURS))]

    def _scrape(self) -> list[Table]:
        return [
            scrape.run(make_data(_PAGE_HOSTS, _PAGE_HOURS), self._makers(), self._work / "scrape")
        ]

    def _agents(self) -> Iterator[Table]:
        return agents.run(self._work, agents.SHORT)

    def _load(self) -> list[Table]:
        self._loaded()
        return [load.run(self._loadings)]

    def _queries(self) -> list[Table]:
        return queries.run(self._loaded(), self._options.hosts, self._options.hours)

    def _http(self) -> list[Table]:
        return [http_load.run(self._loaded(), self._work)]

    def _startup(self) -> list[Table]:
        systems, hours = self._loaded(), self._options.hours
        fresh = [make(self._work / "empty", ()) for make in self._makers()]
        killed = {each.name: startup.after_kill(each, systems, hours) for each in systems}
        self.stop()
        return [
            startup.run({each.name: (startup.empty(each), *killed[each.name]) for each in fresh})
        ]

    def _profile(self) -> list[Table]:
        asked = queries.queries(self._options.hosts, self._options.hours)
        (ours,) = (each for each in self._loaded() if isinstance(each, Meterhall))
        self.stop()
        return [profiles.run(ours.data / "tsdb", ours.project, asked)]

    def _stalls(self) -> list[Table]:
        return [stalls.run(self._work)]


def _peers(options: argparse.Namespace) -> Path | None:
    if options.peers:
        return Path(options.peers)
    try:
        return peers.servers()
    except BenchError as error:
        print(f"No peers, our own figures alone: {error}", flush=True)
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--hosts", type=int, default=100, help="hosts of 500 series; 100")
    parser.add_argument("--hours", type=float, default=6.0, help="hours of data; 6")
    parser.add_argument("--work", type=Path, default=_WORK, help="directory to measure in")
    parser.add_argument("--peers", help="directory with the peers' programs, instead of .peers")
    parser.add_argument(
        "--systems",
        default="meterhall,prometheus,victoriametrics",
        help="those to measure, with commas between",
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return options


def main() -> None:
    options = _options()
    bench = Bench(options)
    text = report.conditions(bench.versions(), options.hosts, options.hours)
    print(text)
    try:
        for section in SECTIONS:
            if section in (options.sections or set(SECTIONS).difference(_ON_DEMAND)):
                bench.measure(section)
    finally:
        bench.stop()
    if options.write:
        report.write(text, bench.tables)


if __name__ == "__main__":
    main()
