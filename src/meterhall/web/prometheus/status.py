"""`status/*`, `targets`, `rules` and `alerts` (contract 3): what user interfaces ask about the server.

`status/config` and `status/flags` do not exist: old Grafana takes a server that has flags for Thanos, and
neither is a tenant's business. Nothing here tells of the machine or of other tenants.
"""

import platform
from datetime import UTC, datetime, timedelta
from typing import Any

from meterhall import __version__
from meterhall.model.errors import BadInput
from meterhall.model.labels import quote
from meterhall.web.encode import encode_data
from meterhall.web.prometheus import params
from meterhall.web.prometheus.call import ActiveTarget, Answer, Backend, Call
from meterhall.web.prometheus.form import Form

# The Prometheus whose behaviour this API has. Clients compare it as plain semver.
COMPATIBLE_VERSION = "3.5.0"

_LIMIT_DEFAULT = 10
_LIMIT_MAX = 10_000
# Go's spelling of a time that never was.
_NEVER = "0001-01-01T00:00:00Z"


def buildinfo(backend: Backend, call: Call) -> Answer:
    """All strings, and no `features`: with that member Grafana takes the server for Mimir."""
    return encode_data(
        {
            "version": COMPATIBLE_VERSION,
            "revision": f"meterhall-{__version__}",
            "branch": "main",
            "buildUser": "",
            "buildDate": "",
            "goVersion": f"python{platform.python_version()}",
        }
    )


def runtimeinfo(backend: Backend, call: Call) -> Answer:
    """The members that clients decode; what would describe the machine is empty."""
    return encode_data(
        {
            "startTime": _rfc3339(backend.started_ms),
            "CWD": "",
            "hostname": "",
            "serverTime": _rfc3339(backend.clock.now_ms()),
            "reloadConfigSuccess": True,
            "lastConfigTime": _rfc3339(backend.started_ms),
            "corruptionCount": 0,
            "goroutineCount": 0,
            "GOMAXPROCS": 0,
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": backend.settings.retention_text,
        }
    )


def tsdb(backend: Backend, call: Call) -> Answer:
    """Cardinality of the tenant's recent series, and what it uses of each limit (a member of our own)."""
    limit = _LIMIT_DEFAULT
    text = call.form.first("limit")
    if text:
        try:
            limit = params.go_int(text)
        except BadInput:
            limit = 0
        if limit < 1:
            raise BadInput("limit must be a positive number")
        if limit > _LIMIT_MAX:
            raise BadInput(f"limit must not exceed {_LIMIT_MAX}")
    stats = backend.store.head_stats(call.tenant, limit)
    head = {
        "numSeries": stats.series,
        "numLabelPairs": stats.label_pairs,
        "chunkCount": stats.chunks,
        "minTime": stats.min_time_ms,
        "maxTime": stats.max_time_ms,
    }
    top = {
        "seriesCountByMetricName": stats.series_by_metric,
        "labelValueCountByLabelName": stats.values_by_label,
        "memoryInBytesByLabelName": stats.bytes_by_label,
        "seriesCountByLabelValuePair": stats.series_by_pair,
    }
    lists = {
        member: [{"name": name, "value": value} for name, value in entries[:limit]]
        for member, entries in top.items()
    }
    limits = {
        usage.name: {"limit": usage.limit, "used": usage.used, "refused": usage.refused}
        for usage in backend.allowances.of(call.tenant).usage(stats.series)
    }
    return encode_data({"headStats": head, **lists, "limits": limits})


def targets(backend: Backend, call: Call) -> Answer:
    """The tenant's targets. `state=dropped` has none: nothing is relabelled away here."""
    data: dict[str, Any] = {
        "activeTargets": [],
        "droppedTargets": [],
        "droppedTargetCounts": {},
    }
    state = call.form.first("state").lower()
    pool = call.form.first("scrapePool")
    if backend.targets is not None and state in ("", "any", "active"):
        data["activeTargets"] = [
            _target(target)
            for target in backend.targets.active_targets(call.tenant)
            if pool in ("", target.scrape_pool)
        ]
    return encode_data(data)


def scrape_pools(backend: Backend, call: Call) -> Answer:
    """The tenant's workspaces that have targets."""
    active = backend.targets.active_targets(call.tenant) if backend.targets else ()
    return encode_data({"scrapePools": sorted({target.scrape_pool for target in active})})


def targets_metadata(backend: Backend, call: Call) -> Answer:
    """Metadata by target is not kept; `metadata` has it by family."""
    return encode_data([])


def alertmanagers(backend: Backend, call: Call) -> Answer:
    """There are none."""
    return encode_data({"activeAlertmanagers": [], "droppedAlertmanagers": []})


def alerts(backend: Backend, call: Call) -> Answer:
    """There are no alerting rules yet, so no alerts."""
    return encode_data({"alerts": []})


def rules(backend: Backend, call: Call) -> Answer:
    """There are no rules yet; parameters are checked as if there were."""
    form = call.form
    kind = form.first("type")
    if kind not in ("", "alert", "record"):
        raise params.invalid("type", BadInput(f"not supported value {quote(kind)}"))
    if form.first("exclude_alerts") not in _BOOLEANS:
        fault = f"strconv.ParseBool: parsing {quote(form.first('exclude_alerts'))}: invalid syntax"
        raise params.invalid(
            "exclude_alerts", BadInput(f"error converting exclude_alerts: {fault}")
        )
    params.matcher_sets(form.all("match[]"))
    _check_page(form)
    return encode_data({"groups": []})


# What strconv.ParseBool takes, and the absent parameter.
_BOOLEANS = frozenset(
    ("", *["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"])
)


def _check_page(form: Form) -> None:
    """Parameters that cut a long list of groups into pages."""
    size = form.first("group_limit")
    if not size and form.first("group_next_token"):
        reason = "group_limit needs to be present in order to paginate over the groups"
        raise params.invalid("group_next_token", BadInput(reason))
    if not size:
        return
    try:
        count = params.go_int(size, "ParseInt")
    except BadInput as error:
        reason = f"group_limit needs to be a valid number: {error}"
        raise params.invalid("group_limit", BadInput(reason)) from None
    if count <= 0:
        reason = "group_limit needs to be greater than 0"
        raise params.invalid("group_limit", BadInput(reason))


def _target(target: ActiveTarget) -> dict[str, Any]:
    return {
        "discoveredLabels": dict(target.discovered_labels),
        "labels": dict(target.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": target.scrape_url,
        "lastError": target.last_error,
        "lastScrape": _NEVER if target.last_scrape_ms is None else _rfc3339(target.last_scrape_ms),
        "lastScrapeDuration": target.last_scrape_duration_s,
        "health": target.health,
        "scrapeInterval": _seconds(target.interval_ms),
        "scrapeTimeout": _seconds(target.timeout_ms),
    }


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms // 1000}s" if duration_ms % 1000 == 0 else f"{duration_ms}ms"


def _rfc3339(time_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"
