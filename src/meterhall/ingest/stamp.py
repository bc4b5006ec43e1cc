"""Labels of a sample, checked and stamped with those of its target (contract 5.4).

The target's labels always win. A scraped label of the same name is kept as `exported_<name>`, with more
prefixes while that name is taken; shorter names settle first. An empty value is no label, and labels
that begin with `__` are not stored, but for the metric name (Prometheus 3.5 does store them; the contract
does not).
"""

from collections.abc import Mapping

from meterhall.ingest.limits import LabelLimits
from meterhall.model.errors import BadInput, TooLarge
from meterhall.model.labels import METRIC_NAME, Labels

_EXPORTED = "exported_"


class BadLabels(BadInput):
    """Labels that no series may have. The text holds none of them: a page may hold secrets."""


def stamp(scraped: Labels, stamps: Mapping[str, str], limits: LabelLimits) -> Labels:
    """The labels to store. Raises BadLabels or TooLarge.

    `scraped` is sorted by name, but may hold names twice or empty values. `stamps` are sorted by name.
    """
    merged = dict(scraped)
    if len(merged) != len(scraped):
        raise BadLabels("label name given twice")
    if "" in merged:
        raise BadLabels("empty label name")
    if not merged.get(METRIC_NAME):
        raise BadLabels("no metric name")
    taken = [(name, merged[name]) for name in stamps if merged.get(name)]
    merged.update(stamps)
    for name, value in sorted(taken, key=_name_length):
        exported = _EXPORTED + name
        while merged.get(exported):
            exported = _EXPORTED + exported
        merged[exported] = value
    labels = tuple(sorted(pair for pair in merged.items() if pair[1] and not _is_hidden(pair[0])))
    check_size(labels, limits)
    return labels


def check_size(labels: Labels, limits: LabelLimits) -> None:
    """Raises TooLarge where there are too many labels, or one is too long."""
    if len(labels) > limits.labels_max:
        raise TooLarge(f"label limit exceeded: {len(labels)} labels, limit {limits.labels_max}")
    for name, value in labels:
        # A character has at most four bytes, so most labels need no encoding to be measured.
        if len(name) * 4 > limits.name_bytes_max:
            _check_bytes("name", name, limits.name_bytes_max)
        if len(value) * 4 > limits.value_bytes_max:
            _check_bytes("value", value, limits.value_bytes_max)


def _check_bytes(what: str, text: str, bytes_max: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > bytes_max:
        raise TooLarge(f"label {what} length limit exceeded: {size} bytes, limit {bytes_max}")


def _is_hidden(name: str) -> bool:
    return name.startswith("__") and name != METRIC_NAME


def _name_length(pair: tuple[str, str]) -> int:
    return len(pair[0])
