"""What projects use of their limits, as the operator's `/metrics` shows it."""

import threading

from meterhall.ingest.allowance import Allowances
from meterhall.ports.store import Store
from meterhall.telemetry.metrics import PROJECT_LIMIT, PROJECT_REFUSED, PROJECT_USAGE


class ProjectMeter:
    """Looks when it is asked, so that projects cost nothing between two looks."""

    def __init__(self, allowances: Allowances, store: Store) -> None:
        self._allowances = allowances
        self._store = store
        self._lock = threading.Lock()

    def measure(self) -> None:
        """Sets the metrics of every project that has sent anything since the start."""
        with self._lock:
            for tenant in self._allowances.tenants():
                series = self._store.active_series(tenant)
                for usage in self._allowances.of(tenant).usage(series):
                    labels = (tenant.region, tenant.project, usage.name)
                    PROJECT_LIMIT.labels(*labels).set(usage.limit)
                    PROJECT_USAGE.labels(*labels).set(usage.used)
                    PROJECT_REFUSED.labels(*labels).set(usage.refused)
