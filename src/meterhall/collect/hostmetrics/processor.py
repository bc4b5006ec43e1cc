"""Processors and the kernel's scheduler: cpu, cpufreq, stat, loadavg, pressure, schedstat, softnet."""

import os

from meterhall.collect.hostmetrics.page import Page, Roots, fields_of, number_of, text_of

CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def cpu(page: Page, roots: Roots) -> None:
    """Seconds of each processor by mode. As in node_exporter, guests' time is part of user and nice."""
    hertz = os.sysconf("SC_CLK_TCK")
    for fields in fields_of(roots.proc / "stat"):
        name = fields[0].removeprefix("cpu")
        if name == fields[0] or not name:
            continue
        seconds = [int(ticks) / hertz for ticks in fields[1:]]
        for mode, value in zip(CPU_MODES, seconds, strict=False):
            page.counter(
                "node_cpu_seconds_total",
                "Seconds the CPUs spent in each mode.",
                value,
                {"cpu": name, "mode": mode},
            )
        for mode, value in zip(("user", "nice"), seconds[8:10], strict=False):
            page.counter(
                "node_cpu_guest_seconds_total",
                "Seconds the CPUs spent in guests (VMs) for each mode.",
                value,
                {"cpu": name, "mode": mode},
            )


_FREQUENCIES = (
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Current CPU thread frequency in hertz."),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
    (
        "scaling_cur_freq",
        "node_cpu_scaling_frequency_hertz",
        "Current scaled CPU thread frequency in hertz.",
    ),
    (
        "scaling_min_freq",
        "node_cpu_scaling_frequency_min_hertz",
        "Minimum scaled CPU thread frequency in hertz.",
    ),
    (
        "scaling_max_freq",
        "node_cpu_scaling_frequency_max_hertz",
        "Maximum scaled CPU thread frequency in hertz.",
    ),
)


def cpufreq(page: Page, roots: Roots) -> None:
    """Clock rates, where the machine tells them (virtual ones rarely do)."""
    for directory in sorted((roots.sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq")):
        labels = {"cpu": directory.parent.name.removeprefix("cpu")}
        for file, name, help_text in _FREQUENCIES:
            kilohertz = number_of(directory / file)
            if kilohertz is not None:
                page.gauge(name, help_text, kilohertz * 1000, labels)


_STAT = {
    "ctxt": ("node_context_switches_total", "counter", "Total number of context switches."),
    "intr": ("node_intr_total", "counter", "Total number of interrupts serviced."),
    "processes": ("node_forks_total", "counter", "Total number of forks."),
    "btime": ("node_boot_time_seconds", "gauge", "Node boot time, in unixtime."),
    "procs_running": ("node_procs_running", "gauge", "Number of processes in runnable state."),
    "procs_blocked": (
        "node_procs_blocked",
        "gauge",
        "Number of processes blocked waiting for I/O to complete.",
    ),
}


def stat(page: Page, roots: Roots) -> None:
    """What /proc/stat counts besides processors."""
    for fields in fields_of(roots.proc / "stat"):
        known = _STAT.get(fields[0])
        if known is not None:
            name, kind, help_text = known
            if kind == "counter":
                page.counter(name, help_text, int(fields[1]))
            else:
                page.gauge(name, help_text, int(fields[1]))


def loadavg(page: Page, roots: Roots) -> None:
    """The three load averages."""
    averages = text_of(roots.proc / "loadavg").split()
    for minutes, average in zip((1, 5, 15), averages, strict=False):
        page.gauge(f"node_load{minutes}", f"{minutes}m load average.", float(average))


_PRESSURES = (
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
)


def pressure(page: Page, roots: Roots) -> None:
    """Pressure stall information; the kernel counts microseconds."""
    for resource, level, name, help_text in _PRESSURES:
        path = roots.proc / "pressure" / resource
        if resource == "irq" and not path.exists():
            continue
        for fields in fields_of(path):
            if fields[0] == level:
                page.counter(name, help_text, int(fields[-1].removeprefix("total=")) / 1e6)


def schedstat(page: Page, roots: Roots) -> None:
    """How long processes ran on and waited for each processor; nanoseconds in the kernel."""
    for fields in fields_of(roots.proc / "schedstat"):
        name = fields[0].removeprefix("cpu")
        if name == fields[0]:
            continue
        running, waiting, slices = (int(field) for field in fields[7:10])
        labels = {"cpu": name}
        page.counter(
            "node_schedstat_running_seconds_total",
            "Number of seconds CPU spent running a process.",
            running / 1e9,
            labels,
        )
        page.counter(
            "node_schedstat_waiting_seconds_total",
            "Number of seconds spent by processing waiting for this CPU.",
            waiting / 1e9,
            labels,
        )
        page.counter(
            "node_schedstat_timeslices_total",
            "Number of timeslices executed by CPU.",
            slices,
            labels,
        )


# Column of /proc/net/softnet_stat, name, help.
_SOFTNET = (
    (0, "node_softnet_processed_total", "Number of processed packets"),
    (1, "node_softnet_dropped_total", "Number of dropped packets"),
    (
        2,
        "node_softnet_times_squeezed_total",
        "Number of times processing packets ran out of quota",
    ),
    (
        8,
        "node_softnet_cpu_collision_total",
        "Number of collision occur while obtaining device lock while transmitting",
    ),
    (9, "node_softnet_received_rps_total", "Number of times cpu woken up received_rps"),
    (
        10,
        "node_softnet_flow_limit_count_total",
        "Number of times flow limit has been reached",
    ),
)
_SOFTNET_BACKLOG, _SOFTNET_CPU = 11, 12


def softnet(page: Page, roots: Roots) -> None:
    """Network work by processor. Later kernels have more columns; the last names the processor."""
    for row, fields in enumerate(fields_of(roots.proc / "net/softnet_stat")):
        columns = [int(field, 16) for field in fields]
        labels = {"cpu": str(columns[_SOFTNET_CPU] if len(columns) > _SOFTNET_CPU else row)}
        for column, name, help_text in _SOFTNET:
            if column < len(columns):
                page.counter(name, help_text, columns[column], labels)
        if len(columns) > _SOFTNET_BACKLOG:
            backlog = columns[_SOFTNET_BACKLOG]
            page.gauge("node_softnet_backlog_len", "Softnet backlog status", backlog, labels)
