"""Disks and file systems: diskstats and filesystem, with node_exporter's default exclusions."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meterhall.collect.hostmetrics.page import Kind, Number, Page, Roots, fields_of, text_of
from meterhall.model.regex import Regex

SECTOR_BYTES = 512

_EXCLUDED_DEVICES = Regex(r"(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+")
_EXCLUDED_MOUNT_POINTS = Regex(
    r"/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/.*)"
)
_EXCLUDED_TYPES = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "fusectl",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "procfs",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "erofs",
        "sysfs",
        "tracefs",
    ]
)

# Name, kind, factor and help for each column of /proc/diskstats after major, minor and device.
_DISK: tuple[tuple[str, Kind, float | int, str], ...] = (
    ("reads_completed_total", "counter", 1, "The total number of reads completed successfully."),
    ("reads_merged_total", "counter", 1, "The total number of reads merged."),
    ("read_bytes_total", "counter", SECTOR_BYTES, "The total number of bytes read successfully."),
    (
        "read_time_seconds_total",
        "counter",
        0.001,
        "The total number of seconds spent by all reads.",
    ),
    ("writes_completed_total", "counter", 1, "The total number of writes completed successfully."),
    ("writes_merged_total", "counter", 1, "The number of writes merged."),
    (
        "written_bytes_total",
        "counter",
        SECTOR_BYTES,
        "The total number of bytes written successfully.",
    ),
    (
        "write_time_seconds_total",
        "counter",
        0.001,
        "This is the total number of seconds spent by all writes.",
    ),
    ("io_now", "gauge", 1, "The number of I/Os currently in progress."),
    ("io_time_seconds_total", "counter", 0.001, "Total seconds spent doing I/Os."),
    (
        "io_time_weighted_seconds_total",
        "counter",
        0.001,
        "The weighted # of seconds spent doing I/Os.",
    ),
    (
        "discards_completed_total",
        "counter",
        1,
        "The total number of discards completed successfully.",
    ),
    ("discards_merged_total", "counter", 1, "The total number of discards merged."),
    (
        "discarded_sectors_total",
        "counter",
        1,
        "The total number of sectors discarded successfully.",
    ),
    (
        "discard_time_seconds_total",
        "counter",
        0.001,
        "This is the total number of seconds spent by all discards.",
    ),
    (
        "flush_requests_total",
        "counter",
        1,
        "The total number of flush requests completed successfully",
    ),
    (
        "flush_requests_time_seconds_total",
        "counter",
        0.001,
        "This is the total number of seconds spent by all flush requests.",
    ),
)


def diskstats(page: Page, roots: Roots) -> None:
    """Whole disks; partitions, loops and RAM disks are left out."""
    for major, minor, device, *columns in fields_of(roots.proc / "diskstats"):
        if _EXCLUDED_DEVICES.matches(device):
            continue
        page.gauge(
            "node_disk_info",
            "Info of /sys/block/<block_device>.",
            1,
            _disk_labels(roots, device, major, minor),
        )
        for (name, kind, factor, help_text), column in zip(_DISK, columns, strict=False):
            value: Number = int(column) * factor if factor >= 1 else int(column) / 1000
            page.add(f"node_disk_{name}", kind, help_text, value, {"device": device})


def _disk_labels(roots: Roots, device: str, major: str, minor: str) -> dict[str, str]:
    properties = _udev_properties(roots.run / f"udev/data/b{major}:{minor}")
    queue = roots.sys / "block" / device / "queue/rotational"
    return {
        "device": device,
        "major": major,
        "minor": minor,
        "model": properties.get("ID_MODEL", ""),
        "path": properties.get("ID_PATH", ""),
        "revision": properties.get("ID_REVISION", ""),
        "rotational": text_of(queue) if queue.exists() else "",
        "serial": properties.get("ID_SERIAL_SHORT", properties.get("ID_SERIAL", "")),
        "wwn": properties.get("ID_WWN", ""),
    }


def _udev_properties(path: Path) -> dict[str, str]:
    try:
        lines = text_of(path).split("\n")
    except OSError:
        return {}
    pairs = (line[2:].partition("=") for line in lines if line.startswith("E:"))
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class _Mount:
    major: str
    minor: str
    mount_point: str
    readonly: bool
    fs_type: str
    device: str


def filesystem(page: Page, roots: Roots) -> None:
    """Sizes of mounted file systems. statvfs may hang on a dead remote one: run it where that is borne."""
    seen = set()
    for mount in _mounts(roots):
        if _is_excluded(mount) or (mount.device, mount.mount_point) in seen:
            continue
        seen.add((mount.device, mount.mount_point))
        _filesystem(page, roots, mount)


def _is_excluded(mount: _Mount) -> bool:
    # RE2 matches text; what is not UTF-8 in a mount point does not decide here.
    mount_point = mount.mount_point.encode("utf-8", "replace").decode()
    return mount.fs_type in _EXCLUDED_TYPES or _EXCLUDED_MOUNT_POINTS.matches(mount_point)


def _filesystem(page: Page, roots: Roots, mount: _Mount) -> None:
    labels = {
        "device": mount.device,
        "device_error": "",
        "fstype": mount.fs_type,
        "mountpoint": mount.mount_point,
    }
    try:
        sizes = os.statvfs(roots.root / mount.mount_point.lstrip("/"))
    except OSError as error:
        labels["device_error"] = os.strerror(error.errno or 0).lower()
        _device_error(page, 1, labels)
        return
    _device_error(page, 0, labels)
    unit = sizes.f_frsize
    for name, help_text, value in (
        (
            "avail_bytes",
            "Filesystem space available to non-root users in bytes.",
            sizes.f_bavail * unit,
        ),
        ("files", "Filesystem total file nodes.", sizes.f_files),
        ("files_free", "Filesystem total free file nodes.", sizes.f_ffree),
        ("free_bytes", "Filesystem free space in bytes.", sizes.f_bfree * unit),
        (
            "purgeable_bytes",
            "Filesystem space available including purgeable space (MacOS specific).",
            0,
        ),
        ("readonly", "Filesystem read-only status.", int(mount.readonly)),
        ("size_bytes", "Filesystem size in bytes.", sizes.f_blocks * unit),
    ):
        page.gauge(f"node_filesystem_{name}", help_text, value, labels)
    page.gauge(
        "node_filesystem_mount_info",
        "Filesystem mount information.",
        1,
        {
            "device": mount.device,
            "major": mount.major,
            "minor": mount.minor,
            "mountpoint": mount.mount_point,
        },
    )


def _device_error(page: Page, value: int, labels: dict[str, str]) -> None:
    page.gauge(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
        value,
        labels,
    )


def _mounts(roots: Roots) -> Iterator[_Mount]:
    """The mounts of process 1, as node_exporter sees them, or our own where that is not allowed.

    proc(5): id, parent, major:minor, root, mount point, options, optional fields, `-`, type, source,
    super options. White space within a field is written as an octal escape.
    """
    path = roots.proc / "1/mountinfo"
    if not os.access(path, os.R_OK):
        path = roots.proc / "self/mountinfo"
    for fields in fields_of(path):
        major, _, minor = fields[2].partition(":")
        fs_type, source, options = fields[fields.index("-", 6) + 1 :][:3]
        readonly = "ro" in fields[5].split(",") or "ro" in options.split(",")
        yield _Mount(major, minor, _unescaped(fields[4]), readonly, fs_type, _unescaped(source))


def _unescaped(field: str) -> str:
    for escape, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(escape, char)
    return field
