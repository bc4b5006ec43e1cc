"""Type, help and unit of a metric family, as an exposition or a push declares them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metadata:
    """One declaration. `type` is one of METRIC_TYPES, lower case."""

    type: str
    help: str
    unit: str


METRIC_TYPES = (
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
    "unknown",
)
