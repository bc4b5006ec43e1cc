"""Ceilings of what comes in. Each has its precedent in Prometheus, Cortex or VictoriaMetrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """Of one series as it would be stored: with the metric name and the labels we stamp."""

    labels_max: int = 40
    name_bytes_max: int = 1_024
    value_bytes_max: int = 4_096


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """What one source (a target, or all pushes of a project) may declare. The rest is not kept."""

    families_max: int = 10_000
    help_chars_max: int = 4_096


@dataclass(frozen=True, slots=True)
class ScrapeLimits:
    """Of one collection. The size of the page is limited where it is fetched."""

    samples_max: int = 50_000
    labels: LabelLimits = LabelLimits()


@dataclass(frozen=True, slots=True)
class PushLimits:
    """Of one remote-write request, and of what the receiver remembers between requests."""

    decoded_bytes_max: int = 32 << 20
    labels: LabelLimits = LabelLimits()
    # Series whose labels are remembered by their bytes, per tenant. All are forgotten together when
    # there are more, which costs one slow request.
    cached_series_max: int = 200_000
    # Memory of whole bodies that may be repeated, per tenant; some 180 bytes a series.
    cached_layout_bytes_max: int = 16 << 20
    reasons_max: int = 10
