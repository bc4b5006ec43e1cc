"""Ceilings of what comes in at once; those of a project are in `allowance`. Each has its precedent in Prometheus, Cortex or VictoriaMetrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """What one source (a target, or all pushes of a project) may declare. The rest is not kept."""

    families_max: int = 10_000
    help_chars_max: int = 4_096


@dataclass(frozen=True, slots=True)
class ScrapeLimits:
    """Of one collection. The size of the page is limited where it is fetched."""

    samples_max: int = 50_000


@dataclass(frozen=True, slots=True)
class PushLimits:
    """Of one remote-write request, and of what the receiver remembers between requests."""

    decoded_bytes_max: int = 32 << 20
    # Series whose labels are remembered by their bytes, per tenant. All are forgotten together when
    # there are more, which costs one slow request.
    cached_series_max: int = 200_000
    # Memory of how a sender's series follow each other, per tenant; some 180 bytes a series.
    cached_layout_bytes_max: int = 36 << 20
    reasons_max: int = 10
