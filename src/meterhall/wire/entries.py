"""What a page says, entry by entry: the values that both text formats are read into.

The parsers (`exposition`, `openmetrics`) yield these in page order, as Prometheus' textparse does, and
raise ExpositionError at the first fault. What came before a fault is not to be used: a collection takes
a whole page or nothing.
"""

from typing import NamedTuple

from meterhall.model.labels import Labels


class Help(NamedTuple):
    """`# HELP family text`, unescaped."""

    family: str
    text: str


class Type(NamedTuple):
    """`# TYPE family type`; the type is one of model.metadata.METRIC_TYPES."""

    family: str
    type: str


class Unit(NamedTuple):
    """`# UNIT family unit`, of OpenMetrics only."""

    family: str
    unit: str


class Comment(NamedTuple):
    """Any other line that begins with `#`, of the classic format only."""

    text: str


class Sample(NamedTuple):
    """One sample. `labels` is sorted by name, but may hold a name twice or an empty value: what to make
    of those is not the format's business.

    `time_ms` is None where the line has no timestamp. The bytes of the page from `begin` up to
    `value_at` are the series as the line spells it, with the blanks around it. An exemplar is checked
    and dropped.
    """

    labels: Labels
    value: float
    time_ms: int | None
    begin: int
    value_at: int


Entry = Help | Type | Unit | Comment | Sample
