"""The data set: hosts with the 500 series of a node_exporter page each, 15 s apart, as a fleet really looks.

`node_series.tsv` names the series and how each behaves, `behaviours` what that means. Everything of one host
hangs together: its load moves processors, packets, interrupts and latencies, a reboot resets its
counters, and all series of a host share their scrapes' times. Half of the series are constant, four fifths of
the values are whole numbers. The same size gives the same data, on any machine.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.behaviours import BEHAVIOURS, Template
from bench.fleet import FILESYSTEMS, PROCESSORS, STEP_MS, Fleet, Times, Values


@dataclass(frozen=True)
class DataSet:
    """`values[h, s, t]` is series `s` of host `h` at its scrape `t`, at `times_ms[h, t]`."""

    times_ms: Times
    values: Values
    templates: tuple[Template, ...]

    @property
    def hosts(self) -> int:
        return len(self.values)

    @property
    def samples(self) -> int:
        return self.values.size

    def labels(self, host: int, series: int) -> dict[str, str]:
        """Of one series, in the order that senders must keep: by name."""
        template = self.templates[series]
        labels = {"__name__": template.name, "job": "node", "instance": instance(host)}
        labels |= template.labels
        if template.name == "node_uname_info":
            labels["nodename"] = f"host-{host:03d}"
        if template.name == "node_network_info":
            labels["address"] = f"02:fc:00:00:{host >> 8:02x}:{host & 255:02x}"
        return dict(sorted(labels.items()))


def instance(host: int) -> str:
    return f"host-{host:03d}:9100"


def make(hosts: int, hours: float) -> DataSet:
    """The data set of that size; 72 million samples are 580 MB."""
    scrapes = int(hours * 3_600_000 / STEP_MS)
    templates = tuple(_templates())
    fleet = Fleet(hosts, scrapes)
    values = np.empty((hosts, len(templates), scrapes))
    for index, template in enumerate(templates):
        behave = BEHAVIOURS[template.behaviour]
        values[:, index, :] = behave(fleet, template, *template.arguments)
    return DataSet(fleet.times_ms, values, templates)


def _templates() -> list[Template]:
    templates: list[Template] = []
    for line in (Path(__file__).parent / "node_series.tsv").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        series, behaviour = line.split("\t")
        name, _, inside = series.partition("{")
        pairs = [pair.split('="') for pair in inside.removesuffix('"}').split('",') if pair]
        kind, *arguments = behaviour.split()
        templates += [
            Template(name, labels, kind, tuple(arguments)) for labels in _expanded(dict(pairs))
        ]
    return templates


def _expanded(labels: dict[str, str]) -> list[dict[str, str]]:
    if labels.get("cpu") == "*":
        return [labels | {"cpu": processor} for processor in PROCESSORS]
    if "filesystem" in labels:
        names = ("device", "fstype", "mountpoint")
        return [dict(zip(names, place, strict=True)) for place in FILESYSTEMS]
    return [labels]
