"""What psutil can tell on systems that are not Linux, in node_exporter's names for them."""

import os

import psutil

from meterhall.collect.hostmetrics.page import Page, Roots


def cpu(page: Page, _roots: Roots) -> None:
    """Seconds of each processor by mode."""
    for index, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode, seconds in times._asdict().items():
            page.counter(
                "node_cpu_seconds_total",
                "Seconds the CPUs spent in each mode.",
                seconds,
                {"cpu": str(index), "mode": mode},
            )


def memory(page: Page, _roots: Roots) -> None:
    """Memory and swap in bytes."""
    sizes = psutil.virtual_memory()._asdict()
    for field in ("total", "free", "active", "inactive", "wired"):
        if field in sizes:
            help_text = f"Memory information field {field}_bytes."
            page.gauge(f"node_memory_{field}_bytes", help_text, sizes[field])
    swap = psutil.swap_memory()
    for field, value in (("total", swap.total), ("used", swap.used)):
        help_text = f"Memory information field swap_{field}_bytes."
        page.gauge(f"node_memory_swap_{field}_bytes", help_text, value)


def loadavg(page: Page, _roots: Roots) -> None:
    """The three load averages (psutil keeps them itself on Windows)."""
    for minutes, average in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        page.gauge(f"node_load{minutes}", f"{minutes}m load average.", average)


def filesystem(page: Page, _roots: Roots) -> None:
    """Sizes of the disks' file systems."""
    for mount in psutil.disk_partitions(all=False):
        labels = {
            "device": mount.device,
            "device_error": "",
            "fstype": mount.fstype,
            "mountpoint": mount.mountpoint,
        }
        try:
            usage = psutil.disk_usage(mount.mountpoint)
        except OSError:
            continue
        for name, help_text, value in (
            (
                "avail_bytes",
                "Filesystem space available to non-root users in bytes.",
                usage.free,
            ),
            ("free_bytes", "Filesystem free space in bytes.", usage.free),
            ("size_bytes", "Filesystem size in bytes.", usage.total),
            ("readonly", "Filesystem read-only status.", int("ro" in mount.opts.split(","))),
        ):
            page.gauge(f"node_filesystem_{name}", help_text, value, labels)


def disks(page: Page, _roots: Roots) -> None:
    """Traffic of each disk."""
    for device, counts in (psutil.disk_io_counters(perdisk=True) or {}).items():
        for name, help_text, value in (
            (
                "reads_completed_total",
                "The total number of reads completed successfully.",
                counts.read_count,
            ),
            (
                "read_bytes_total",
                "The total number of bytes read successfully.",
                counts.read_bytes,
            ),
            (
                "writes_completed_total",
                "The total number of writes completed successfully.",
                counts.write_count,
            ),
            (
                "written_bytes_total",
                "The total number of bytes written successfully.",
                counts.write_bytes,
            ),
        ):
            page.counter(f"node_disk_{name}", help_text, value, {"device": device})


def network(page: Page, _roots: Roots) -> None:
    """Traffic of each interface."""
    for device, counts in psutil.net_io_counters(pernic=True).items():
        for name, value in (
            ("receive_bytes", counts.bytes_recv),
            ("receive_packets", counts.packets_recv),
            ("receive_errs", counts.errin),
            ("receive_drop", counts.dropin),
            ("transmit_bytes", counts.bytes_sent),
            ("transmit_packets", counts.packets_sent),
            ("transmit_errs", counts.errout),
            ("transmit_drop", counts.dropout),
        ):
            page.counter(
                f"node_network_{name}_total",
                f"Network device statistic {name}.",
                value,
                {"device": device},
            )


def system(page: Page, _roots: Roots) -> None:
    """Boot time and, on Unix, the kernel's names."""
    page.gauge("node_boot_time_seconds", "Node boot time, in unixtime.", psutil.boot_time())
    if hasattr(os, "uname"):
        names = os.uname()
        page.gauge(
            "node_uname_info",
            "Labeled system information as provided by the uname system call.",
            1,
            {
                "domainname": "(none)",
                "machine": names.machine,
                "nodename": names.nodename,
                "release": names.release,
                "sysname": names.sysname,
                "version": names.version,
            },
        )
