"""Labels of a sample, checked and stamped with those of its target (contract 5.4).

The target's labels always win. A scraped label of the same name is kept as `exported_<name>`, with more
prefixes while that name is taken; shorter names settle first. An empty value is no label, and labels
that begin with `__` are not stored, but for the metric name (Prometheus 3.5 does store them; the contract
does not).
"""

from collections.abc import Callable, Mapping

from meterhall.model.errors import BadInput
from meterhall.model.labels import METRIC_NAME, Labels

_EXPORTED = "exported_"


class BadLabels(BadInput):
    """Labels that no series may have. The text holds none of them: a page may hold secrets."""


def stamp(scraped: Labels, stamps: Mapping[str, str], check: Callable[[Labels], None]) -> Labels:
    """The labels to store. Raises BadLabels, or what `check` raises.

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
    check(labels)
    return labels


def _is_hidden(name: str) -> bool:
    return name.startswith("__") and name != METRIC_NAME


def _name_length(pair: tuple[str, str]) -> int:
    return len(pair[0])
