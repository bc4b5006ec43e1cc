"""Memory: meminfo and vmstat."""

from meterhall.collect.hostmetrics.page import Page, Roots, fields_of


def meminfo(page: Page, roots: Roots) -> None:
    """Every field of /proc/meminfo; those in kB become bytes, counts of huge pages stay counts."""
    for fields in fields_of(roots.proc / "meminfo"):
        field = fields[0].rstrip(":").replace("(", "_").replace(")", "")
        value = int(fields[1])
        if len(fields) > 2:
            field, value = f"{field}_bytes", value * 1024
        page.gauge(f"node_memory_{field}", f"Memory information field {field}.", value)


def vmstat(page: Page, roots: Roots) -> None:
    """The fields of /proc/vmstat that node_exporter shows: paging, swapping, faults and OOM kills."""
    for field, value, *_ in fields_of(roots.proc / "vmstat"):
        if field.startswith(("oom_kill", "pgpg", "pswp")) or (
            field.startswith("pg") and "fault" in field
        ):
            help_text = f"/proc/vmstat information field {field}."
            page.add(f"node_vmstat_{field}", "untyped", help_text, int(value))
