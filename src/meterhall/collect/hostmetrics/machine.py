"""The whole page: every source in turn, each with its success and duration, none able to spoil another."""

import functools
import platform
import sys
from collections.abc import Mapping

from meterhall import __version__
from meterhall.collect.hostmetrics import memory, network, portable, processor, storage, system
from meterhall.collect.hostmetrics.page import Page, Roots, Source
from meterhall.ports.clock import Clock

# Named as node_exporter names its collectors.
LINUX: Mapping[str, Source] = {
    "arp": network.arp,
    "conntrack": network.conntrack,
    "cpu": processor.cpu,
    "cpufreq": processor.cpufreq,
    "diskstats": storage.diskstats,
    "entropy": system.entropy,
    "filefd": system.filefd,
    "filesystem": storage.filesystem,
    "kernel_hung": system.kernel_hung,
    "loadavg": processor.loadavg,
    "meminfo": memory.meminfo,
    "netclass": network.netclass,
    "netdev": network.netdev,
    "netstat": network.netstat,
    "os": system.os_release,
    "pressure": processor.pressure,
    "schedstat": processor.schedstat,
    "selinux": system.selinux,
    "sockstat": network.sockstat,
    "softnet": processor.softnet,
    "stat": processor.stat,
    "thermal_zone": system.thermal_zone,
    "timex": system.timex,
    "udp_queues": network.udp_queues,
    "uname": system.uname,
    "vmstat": memory.vmstat,
}
PORTABLE: Mapping[str, Source] = {
    "boottime": portable.system,
    "cpu": portable.cpu,
    "diskstats": portable.disks,
    "filesystem": portable.filesystem,
    "loadavg": portable.loadavg,
    "meminfo": portable.memory,
    "netdev": portable.network,
}


class HostMetrics:
    """Renders this machine's metrics. `page` may block on a hung file system: call it on a thread."""

    def __init__(
        self,
        clock: Clock,
        roots: Roots | None = None,
        sources: Mapping[str, Source] | None = None,
    ) -> None:
        self._clock = clock
        self._roots = Roots() if roots is None else roots
        if sources is None:
            sources = LINUX if sys.platform == "linux" else PORTABLE
        self._sources = dict(sources)
        self._sources["time"] = functools.partial(_time, clock)

    def page(self) -> bytes:
        """A classic text exposition page."""
        whole = Page()
        _build_info(whole)
        for name, source in sorted(self._sources.items()):
            started_s = self._clock.monotonic()
            part = Page()
            try:
                source(part, self._roots)
            except (OSError, ValueError, IndexError):
                # The kernel does not offer it, or in another form: what was found so far is dropped,
                # because half of a family would look like a change of the machine.
                success = 0
            else:
                success = 1
                whole.merge(part)
            labels = {"collector": name}
            whole.gauge(
                "node_scrape_collector_duration_seconds",
                "node_exporter: Duration of a collector scrape.",
                self._clock.monotonic() - started_s,
                labels,
            )
            whole.gauge(
                "node_scrape_collector_success",
                "node_exporter: Whether a collector succeeded.",
                success,
                labels,
            )
        return whole.render()


def _time(clock: Clock, page: Page, roots: Roots) -> None:
    system.clock(page, roots, clock.now_ms() / 1000)


_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "AMD64": "amd64"}


def _build_info(page: Page) -> None:
    """Who speaks here; dashboards ask for it. There is no Go in us, and the labels say so."""
    machine = platform.machine()
    page.gauge(
        "node_exporter_build_info",
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which"
        " node_exporter was built, and the goos and goarch for the build.",
        1,
        {
            "branch": "meterhall",
            "goarch": _GO_ARCHITECTURES.get(machine, machine),
            "goos": sys.platform,
            "goversion": "none",
            "revision": "none",
            "tags": "none",
            "version": __version__,
        },
    )
