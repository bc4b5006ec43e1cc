"""The machine as a whole: uname, os, time, timex, entropy, filefd, thermal_zone and small switches."""

import ctypes
import os
from datetime import datetime
from pathlib import Path

from meterhall.collect.hostmetrics.page import Page, Roots, number_of, text_of


def uname(page: Page, roots: Roots) -> None:
    """Names that the kernel gives itself."""
    names = os.uname()
    domain = roots.proc / "sys/kernel/domainname"
    page.gauge(
        "node_uname_info",
        "Labeled system information as provided by the uname system call.",
        1,
        {
            "domainname": text_of(domain) if domain.exists() else "(none)",
            "machine": names.machine,
            "nodename": names.nodename,
            "release": names.release,
            "sysname": names.sysname,
            "version": names.version,
        },
    )


_OS_LABELS = (
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
)


def os_release(page: Page, roots: Roots) -> None:
    """The distribution, from os-release(5)."""
    fields = {}
    for line in text_of(roots.etc / "os-release").split("\n"):
        name, is_pair, value = line.partition("=")
        if is_pair and not name.startswith("#"):
            fields[name.strip().lower()] = value.strip().strip("\"'")
    page.gauge(
        "node_os_info",
        f"A metric with a constant '1' value labeled by {', '.join(_OS_LABELS)}.",
        1,
        {name: fields.get(name, "") for name in _OS_LABELS},
    )
    major_minor = ".".join(fields.get("version_id", "").split(".")[:2])
    page.gauge(
        "node_os_version",
        "Metric containing the major.minor part of the OS version.",
        float(major_minor),
        {name: fields.get(name, "") for name in ("id", "id_like", "name")},
    )


def clock(page: Page, roots: Roots, now_s: float) -> None:
    """The wall clock, its zone and where the kernel takes it from."""
    page.gauge("node_time_seconds", "System time in seconds since epoch (1970).", now_s)
    local = datetime.fromtimestamp(now_s).astimezone()
    offset = local.utcoffset()
    page.gauge(
        "node_time_zone_offset_seconds",
        "System time zone offset in seconds.",
        int(offset.total_seconds()) if offset is not None else 0,
        {"time_zone": local.tzname() or ""},
    )
    sources = roots.sys / "devices/system/clocksource"
    for directory in sorted(sources.glob("clocksource[0-9]*")):
        _clock_source(page, directory)


def _clock_source(page: Page, directory: Path) -> None:
    device = directory.name.removeprefix("clocksource")
    for source in text_of(directory / "available_clocksource").split():
        page.gauge(
            "node_time_clocksource_available_info",
            "Available clocksources read from '/sys/devices/system/clocksource'.",
            1,
            {"clocksource": source, "device": device},
        )
    page.gauge(
        "node_time_clocksource_current_info",
        "Current clocksource read from '/sys/devices/system/clocksource'.",
        1,
        {"clocksource": text_of(directory / "current_clocksource"), "device": device},
    )


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_s", ctypes.c_long),
        ("time_us", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 11),
    )


_STA_NANO = 0x2000
_TIME_ERROR = 5
# The kernel counts frequencies in parts per million, scaled by 2**16.
_PPM_SCALE = 1_000_000 * 65536.0


def timex(page: Page, _roots: Roots) -> None:
    """How well the clock is kept, as adjtimex(2) tells without changing anything."""
    state = _Timex()
    library = ctypes.CDLL(None, use_errno=True)
    code = library.adjtimex(ctypes.byref(state))
    if code < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    divisor = 1e9 if state.status & _STA_NANO else 1e6
    for name, help_text, value in (
        (
            "offset_seconds",
            "Time offset in between local system and reference clock.",
            state.offset / divisor,
        ),
        (
            "frequency_adjustment_ratio",
            "Local clock frequency adjustment.",
            1 + state.freq / _PPM_SCALE,
        ),
        ("maxerror_seconds", "Maximum error in seconds.", state.maxerror / 1e6),
        ("estimated_error_seconds", "Estimated error in seconds.", state.esterror / 1e6),
        ("status", "Value of the status array bits.", state.status),
        ("loop_time_constant", "Phase-locked loop time constant.", state.constant),
        ("tick_seconds", "Seconds between clock ticks.", state.tick / 1e6),
        ("pps_frequency_hertz", "Pulse per second frequency.", state.ppsfreq / _PPM_SCALE),
        ("pps_jitter_seconds", "Pulse per second jitter.", state.jitter / divisor),
        ("pps_shift_seconds", "Pulse per second interval duration.", state.shift),
        (
            "pps_stability_hertz",
            "Pulse per second stability, average of recent frequency changes.",
            state.stabil / _PPM_SCALE,
        ),
        ("tai_offset_seconds", "International Atomic Time (TAI) offset.", state.tai),
        (
            "sync_status",
            "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
            int(code != _TIME_ERROR),
        ),
    ):
        page.gauge(f"node_timex_{name}", help_text, value)
    for name, help_text, count in (
        ("jitter", "Pulse per second count of jitter limit exceeded events.", state.jitcnt),
        ("calibration", "Pulse per second count of calibration intervals.", state.calcnt),
        ("error", "Pulse per second count of calibration errors.", state.errcnt),
        (
            "stability_exceeded",
            "Pulse per second count of stability limit exceeded events.",
            state.stbcnt,
        ),
    ):
        page.counter(f"node_timex_pps_{name}_total", help_text, count)


def entropy(page: Page, roots: Roots) -> None:
    """The random pool."""
    random = roots.proc / "sys/kernel/random"
    page.gauge(
        "node_entropy_available_bits",
        "Bits of available entropy.",
        int(text_of(random / "entropy_avail")),
    )
    page.gauge(
        "node_entropy_pool_size_bits",
        "Bits of entropy pool.",
        int(text_of(random / "poolsize")),
    )


def filefd(page: Page, roots: Roots) -> None:
    """Open files of the whole machine."""
    allocated, _, maximum = text_of(roots.proc / "sys/fs/file-nr").split()
    for name, value in (("allocated", allocated), ("maximum", maximum)):
        help_text = f"File descriptor statistics: {name}."
        page.gauge(f"node_filefd_{name}", help_text, int(value))


def kernel_hung(page: Page, roots: Roots) -> None:
    """Tasks that hung; newer kernels count them."""
    page.counter(
        "node_kernel_hung_tasks_total",
        "Total number of tasks that have been detected as hung since the system booted.",
        int(text_of(roots.proc / "sys/kernel/hung_task_detect_count")),
    )


def selinux(page: Page, roots: Roots) -> None:
    """Whether SELinux is on, and how."""
    enforce = number_of(roots.sys / "fs/selinux/enforce")
    enabled = int(enforce is not None)
    page.gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false", enabled)
    if enforce is not None:
        page.gauge("node_selinux_current_mode", "Current SELinux enforcement mode", enforce)


def thermal_zone(page: Page, roots: Roots) -> None:
    """Temperatures that the firmware names; the kernel counts thousandths of a degree."""
    for directory in sorted((roots.sys / "class/thermal").glob("thermal_zone[0-9]*")):
        temperature = number_of(directory / "temp")
        if temperature is not None:
            zone = directory.name.removeprefix("thermal_zone")
            page.gauge(
                "node_thermal_zone_temp",
                "Zone temperature in Celsius",
                temperature / 1000,
                {"type": text_of(directory / "type"), "zone": zone},
            )
