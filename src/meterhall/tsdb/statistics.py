"""What `/api/v1/status/tsdb` tells: counts over one tenant's head."""

from collections import Counter
from collections.abc import Mapping

from meterhall.model.labels import METRIC_NAME
from meterhall.ports.store import HeadStats
from meterhall.tsdb.head import TenantHead
from meterhall.tsdb.matching import pair_counts


def head_stats(head: TenantHead, limit: int) -> HeadStats:
    """The tenant's recent series, each list cut to `limit`. Times are 0 where there is no sample."""
    with head.lock:
        pairs = pair_counts(head.index)
        groups = list(head.groups.values())
        filled = [group for group in groups if group.samples]
        values: Counter[str] = Counter(name for name, _ in pairs)
        sizes: Counter[str] = Counter()
        for (name, value), count in pairs.items():
            sizes[name] += count * (len(name.encode()) + len(value.encode()))
        metrics = {value: count for (name, value), count in pairs.items() if name == METRIC_NAME}
        return HeadStats(
            series=len(head.index),
            label_pairs=len(pairs),
            chunks=sum(group.chunks for group in groups),
            min_time_ms=min((group.time_min for group in filled), default=0),
            max_time_ms=max((group.time_max for group in filled), default=0),
            series_by_metric=_top(metrics, limit),
            values_by_label=_top(values, limit),
            bytes_by_label=_top(sizes, limit),
            series_by_pair=_top(
                {f"{name}={value}": count for (name, value), count in pairs.items()}, limit
            ),
        )


def _top(counts: Mapping[str, int], limit: int) -> list[tuple[str, int]]:
    """Largest first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
