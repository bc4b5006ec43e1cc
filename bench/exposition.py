"""Pages as exporters serve them, with the data set's values: one host's, and large ones of many hosts."""

from decimal import Decimal

from bench.dataset import DataSet

_SYNTHETIC = ("up", "scrape_")


def host_page(data: DataSet, scrape: int) -> bytes:
    """What the node_exporter of the first host says at that scrape."""
    return _page(data, [0], scrape, unit=False)


def pages_of(data: DataSet, host: int, scrapes: int) -> list[bytes]:
    """What the node_exporter of one host says at the first scrapes."""
    return [_page(data, [host], scrape, unit=False) for scrape in range(scrapes)]


def fleet_page(data: DataSet, scrape: int) -> bytes:
    """All hosts on one page, told apart by the label `unit`."""
    return _page(data, list(range(data.hosts)), scrape, unit=True)


def series_on_page(data: DataSet) -> int:
    """Of one host."""
    return sum(not template.name.startswith(_SYNTHETIC) for template in data.templates)


def _page(data: DataSet, hosts: list[int], scrape: int, *, unit: bool) -> bytes:
    families: dict[str, list[str]] = {}
    for series, template in enumerate(data.templates):
        if template.name.startswith(_SYNTHETIC):
            continue
        lines = families.setdefault(template.name, [])
        for host in hosts:
            labels = data.labels(host, series)
            for name in ("__name__", "instance", "job"):
                del labels[name]
            if unit:
                labels["unit"] = f"host-{host:03d}"
            inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
            head = f"{template.name}{{{inside}}}" if inside else template.name
            lines.append(f"{head} {_number(data.values[host, series, scrape])}")
    parts: list[str] = []
    for name, lines in families.items():
        kind = "counter" if name.endswith("_total") else "untyped"
        parts += [f"# HELP {name} Metric field {name} of the data set.", f"# TYPE {name} {kind}"]
        parts += lines
    return ("\n".join(parts) + "\n").encode()


def _number(value: float) -> str:
    """As Go's exporters print: the shortest digits, with an exponent from a million on."""
    shortest = repr(float(value))
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return shortest.removesuffix(".0")
    digits = Decimal(shortest).normalize().as_tuple().digits
    return f"{value:.{len(digits) - 1}e}"
