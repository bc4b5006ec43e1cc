"""The host page against the real node_exporter of the same machine."""

import sys
from pathlib import Path

import pytest
import re2
from tests.collect.clocks import RealClock
from tests.collect.exporters import free_port, node_exporter, node_exporter_path, page_of

from meterhall.collect.hostmetrics import portable
from meterhall.collect.hostmetrics.machine import LINUX, PORTABLE, HostMetrics
from meterhall.collect.hostmetrics.page import Roots

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="compares with Linux' node_exporter"
)

SAMPLE = re2.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re2.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

# Families and labels that node_exporter gained after Debian 12's 1.5, whose names we already use.
NEWER_FAMILIES = {
    "node_filesystem_mount_info",
    "node_filesystem_purgeable_bytes",
    "node_kernel_hung_tasks_total",
    "node_netstat_TcpExt_TCPOFOQueue",
    "node_netstat_TcpExt_TCPRcvQDrop",
    "node_pressure_irq_stalled_seconds_total",
    "node_softnet_backlog_len",
    "node_softnet_cpu_collision_total",
    "node_softnet_flow_limit_count_total",
    "node_softnet_received_rps_total",
}
NEWER_LABELS = {"adminstate", "device_error", "rotational", "tags"}
# Devices that Debian 12's version leaves out or keeps by other defaults.
OTHER_DEVICES = ("lo", "zram")
# Fields of /proc/meminfo that newer versions of node_exporter leave out.
DROPPED_LATER = "node_memory_"
# Sources that node_exporter reads in another way, so that one of the two may fail where the other works.
SOURCE_FAMILIES = ("node_arp_", "node_schedstat_", "node_nf_conntrack_")


def parsed(page):
    """Types, helps, and label sets by family, of a classic page."""
    types, helps, series = {}, {}, {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            types[name] = kind
        elif line.startswith("# HELP "):
            name, text = line[7:].split(" ", 1)
            helps[name] = text
        else:
            name, labels, value = SAMPLE.match(line).groups()
            float(value)
            series.setdefault(name, []).append(dict(LABEL.findall(labels or "")))
    return types, helps, series


@pytest.fixture(scope="module")
def reference():
    if node_exporter_path() is None:
        pytest.fail("node_exporter is missing: apt-get install prometheus-node-exporter")
    port = free_port()
    with node_exporter(port):
        return parsed(page_of(port))


@pytest.fixture(scope="module")
def ours():
    return parsed(HostMetrics(RealClock()).page().decode())


def test_types_and_helps_are_those_of_node_exporter(ours, reference):
    types, helps, _ = ours
    assert set(types) == set(helps)
    unknown = {
        name
        for name in types
        if name not in reference[0]
        and name not in NEWER_FAMILIES
        and not name.startswith((DROPPED_LATER, *SOURCE_FAMILIES))
    }
    assert unknown == set()
    common = set(types) & set(reference[0])
    assert {name: types[name] for name in common} == {name: reference[0][name] for name in common}
    assert {name: helps[name] for name in common} == {name: reference[1][name] for name in common}


def test_labels_are_those_of_node_exporter(ours, reference):
    def label_names(series):
        return {frozenset(labels) - NEWER_LABELS for labels in series}

    for name in set(ours[2]) & set(reference[2]):
        assert label_names(ours[2][name]) == label_names(reference[2][name]), name


# Families whose label values must agree one by one, being the same things of the same machine.
SAME_SERIES = (
    "node_cpu_seconds_total",
    "node_cpu_guest_seconds_total",
    "node_disk_info",
    "node_disk_read_bytes_total",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_network_info",
    "node_network_up",
    "node_network_speed_bytes",
    "node_uname_info",
    "node_os_info",
    "node_os_version",
    "node_time_clocksource_current_info",
    "node_udp_queues",
)


@pytest.mark.parametrize("name", SAME_SERIES)
def test_series_are_those_of_node_exporter(name, ours, reference):
    def keys(series):
        return {
            frozenset(pair for pair in labels.items() if pair[0] not in NEWER_LABELS)
            for labels in series.get(name, [])
            if not labels.get("device", "").startswith(OTHER_DEVICES)
        }

    assert keys(ours[2]) == keys(reference[2])


def test_nearly_all_default_families_are_covered(ours, reference):
    wanted = {name for name in reference[0] if name.startswith("node_")}
    missing = wanted - set(ours[0])
    # textfile is the one default source that we leave out on purpose: it reads operators' files.
    left_out = {"node_textfile_scrape_error"}
    if not Path("/sys/class/net").exists():
        # node_exporter asks the kernel by netlink; we read /sys, which a bare chroot does not mount.
        left_out.add("node_network_receive_nohandler_total")
    assert missing <= left_out | {
        name for name in wanted if name.startswith(("node_hwmon_", "node_systemd_", "node_disk_"))
    }
    assert len(wanted - missing) > 0.9 * len(wanted)


def test_root_file_system_has_its_size(ours):
    mounts = {labels["mountpoint"] for labels in ours[2]["node_filesystem_size_bytes"]}
    assert not any(mount.startswith(("/proc", "/sys", "/dev")) for mount in mounts)


def test_a_machine_without_any_of_it_still_has_a_page(tmp_path):
    types, _, series = parsed(HostMetrics(RealClock(), Roots(tmp_path)).page().decode())
    assert types["node_time_seconds"] == "gauge"
    failed = {labels["collector"] for labels in series["node_scrape_collector_success"]}
    assert set(LINUX) <= failed


def test_a_source_that_fails_halfway_leaves_no_half_family(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 5 kB\nMemFree: rubbish kB\n")
    _, _, series = parsed(HostMetrics(RealClock(), Roots(tmp_path)).page().decode())
    assert not any(name.startswith("node_memory_") for name in series)


def test_what_psutil_tells_uses_the_same_names(reference):
    page = HostMetrics(RealClock(), sources=PORTABLE).page().decode()
    types, _, series = parsed(page)
    for name in ("node_cpu_seconds_total", "node_load1", "node_network_receive_bytes_total"):
        assert series[name]
    for name in set(types) & set(reference[0]):
        assert types[name] == reference[0][name]
    assert set(PORTABLE.values()) == {
        portable.cpu,
        portable.disks,
        portable.filesystem,
        portable.loadavg,
        portable.memory,
        portable.network,
        portable.system,
    }
