"""Type, help and unit of metric families, by tenant: what /api/v1/metadata answers from.

Each target remembers what its pages declare. A declaration that a page no longer makes is kept for ten
more successful collections, as in Prometheus; failed ones do not count. Pushes declare for the tenant as
a whole, and are kept until the process ends. Nothing of this is stored: the next page tells it again.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from meterhall.ingest.limits import MetadataLimits
from meterhall.model.metadata import Metadata
from meterhall.model.tenant import Tenant

_SCRAPES_KEPT = 10


@dataclass(slots=True)
class _Source:
    """One target's declarations: of its last page, and of earlier ones with their last scrape.

    `page` is the mapping as it came, to know it again; `current` is what of it is kept.
    """

    page: Mapping[str, Metadata] = field(default_factory=dict)
    current: dict[str, Metadata] = field(default_factory=dict)
    earlier: dict[str, tuple[Metadata, int]] = field(default_factory=dict)
    scrapes: int = 0


class MetadataCatalog:
    """Thread-safe. Memory is bounded by `limits` for each source."""

    def __init__(self, limits: MetadataLimits | None = None) -> None:
        self._limits = limits or MetadataLimits()
        self._lock = threading.Lock()
        self._scraped: dict[Tenant, dict[str, _Source]] = {}
        self._pushed: dict[Tenant, dict[str, Metadata]] = {}

    def scraped(self, tenant: Tenant, source: str, declared: Mapping[str, Metadata]) -> None:
        """A page of `source` was committed and declared this.

        The mapping must not change afterwards; the same object again means a page that repeats itself
        and costs next to nothing.
        """
        with self._lock:
            sources = self._scraped.setdefault(tenant, {})
            known = sources.setdefault(source, _Source())
            known.scrapes += 1
            if declared is not known.page:
                self._replace(known, declared)
            if known.earlier:
                oldest = known.scrapes - _SCRAPES_KEPT
                known.earlier = {
                    family: kept for family, kept in known.earlier.items() if kept[1] >= oldest
                }

    def forget(self, tenant: Tenant, source: str) -> None:
        """The source is gone: removed or moved."""
        with self._lock:
            sources = self._scraped.get(tenant, {})
            sources.pop(source, None)
            if not sources:
                self._scraped.pop(tenant, None)

    def pushed(self, tenant: Tenant, declared: Mapping[str, Metadata]) -> None:
        """A push declared this. Above the limit only families that are known are renewed."""
        with self._lock:
            families = self._pushed.setdefault(tenant, {})
            for family, metadata in declared.items():
                if family in families or len(families) < self._limits.families_max:
                    families[family] = self._clipped(metadata)

    def families(self, tenant: Tenant) -> dict[str, list[Metadata]]:
        """Family → its distinct declarations, of all sources. Families as exposed, sorted."""
        found: dict[str, dict[Metadata, None]] = {}
        with self._lock:
            for source in self._scraped.get(tenant, {}).values():
                for family, (metadata, _) in source.earlier.items():
                    found.setdefault(family, {})[metadata] = None
                for family, metadata in source.current.items():
                    found.setdefault(family, {})[metadata] = None
            for family, metadata in self._pushed.get(tenant, {}).items():
                found.setdefault(family, {})[metadata] = None
        return {family: list(found[family]) for family in sorted(found)}

    def _replace(self, known: _Source, declared: Mapping[str, Metadata]) -> None:
        last_seen = known.scrapes - 1
        for family, metadata in known.current.items():
            known.earlier[family] = (metadata, last_seen)
        known.page = declared
        families = islice(declared.items(), self._limits.families_max)
        known.current = {family: self._clipped(metadata) for family, metadata in families}
        for family in known.current:
            known.earlier.pop(family, None)
        while len(known.earlier) > self._limits.families_max:
            known.earlier.pop(next(iter(known.earlier)))

    def _clipped(self, metadata: Metadata) -> Metadata:
        chars_max = self._limits.help_chars_max
        if len(metadata.help) <= chars_max:
            return metadata
        return Metadata(metadata.type, metadata.help[:chars_max], metadata.unit)
