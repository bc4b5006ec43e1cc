"""Every metric that the service exposes about itself at /metrics, declared in this one file.

Names carry their unit. No label ever holds an appkey or a project's own text, and none but `project`, an id that
the control plane gives, is of unbounded cardinality.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry(auto_describe=True)

SCRAPES = Counter("meterhall_scrapes", "Collections, by outcome.", ["outcome"], registry=REGISTRY)
SCRAPE_SECONDS = Histogram(
    "meterhall_scrape_duration_seconds", "Fetch and parse of one page.", registry=REGISTRY
)
SCRAPE_LATE_SECONDS = Histogram(
    "meterhall_scrape_late_seconds",
    "How long after its planned time a collection began.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
    registry=REGISTRY,
)
SAMPLES_APPENDED = Counter(
    "meterhall_samples_appended", "Samples accepted, by way in.", ["source"], registry=REGISTRY
)
SAMPLES_REFUSED = Counter(
    "meterhall_samples_refused", "Samples refused, by reason.", ["reason"], registry=REGISTRY
)
QUERIES = Counter("meterhall_queries", "Queries, by outcome.", ["outcome"], registry=REGISTRY)
QUERY_SECONDS = Histogram(
    "meterhall_query_duration_seconds", "Parse, evaluation and encoding.", registry=REGISTRY
)
RANGE_STEPS = Counter(
    "meterhall_range_query_steps",
    "Steps of range queries that the result cache may keep, by whether they were kept or evaluated.",
    ["origin"],
    registry=REGISTRY,
)
HTTP_REQUESTS = Counter(
    "meterhall_http_requests", "Requests answered, by status class.", ["status"], registry=REGISTRY
)
LOOP_LAG_SECONDS = Gauge(
    "meterhall_event_loop_lag_seconds",
    "How late the event loop's heartbeat was.",
    registry=REGISTRY,
)
WAL_BYTES = Gauge("meterhall_wal_bytes", "Bytes of write-ahead log on disk.", registry=REGISTRY)
WAL_FSYNC_SECONDS = Histogram(
    "meterhall_wal_fsync_duration_seconds", "One group commit's fsync.", registry=REGISTRY
)
HEAD_SERIES = Gauge("meterhall_head_series", "Series in memory.", registry=REGISTRY)
LATE_BYTES = Gauge(
    "meterhall_late_bytes", "Memory of late samples that wait for blocks.", registry=REGISTRY
)
BLOCKS = Gauge("meterhall_blocks", "Immutable blocks on disk.", registry=REGISTRY)
TOMBSTONES = Gauge(
    "meterhall_tombstones",
    "Deletions whose samples are still in a block or in the log.",
    registry=REGISTRY,
)
QUARANTINED = Counter(
    "meterhall_quarantined_pieces", "Damaged pieces of files set aside.", registry=REGISTRY
)
PROJECT_LIMIT = Gauge(
    "meterhall_project_limit",
    "A limit of a project; 0 is none.",
    ["region", "project", "limit"],
    registry=REGISTRY,
)
PROJECT_USAGE = Gauge(
    "meterhall_project_usage",
    "How much of a limit is used; of those on labels, the largest that was seen since the start.",
    ["region", "project", "limit"],
    registry=REGISTRY,
)
PROJECT_REFUSED = Gauge(
    "meterhall_project_refused",
    "Series (of samples_per_second: pushes) that a limit has refused since the start.",
    ["region", "project", "limit"],
    registry=REGISTRY,
)
AGENTS = Gauge("meterhall_agents", "Agents that have enrolled.", registry=REGISTRY)
AGENTS_SILENT = Gauge(
    "meterhall_agents_silent", "Agents that are not heard any more.", registry=REGISTRY
)
AGENT_SCRAPES_DROPPED = Counter(
    "meterhall_agent_scrapes_dropped",
    "Scrapes that agents lost before they could send them.",
    registry=REGISTRY,
)
BACKFILLS = Gauge(
    "meterhall_backfills", "Targets whose gap is being filled by their agent.", registry=REGISTRY
)
AGENT_REPORT_BYTES = Counter(
    "meterhall_agent_report_bytes",
    "Bytes of reports as they came, by kind.",
    ["kind"],
    registry=REGISTRY,
)
AGENT_REQUESTS = Counter(
    "meterhall_agent_requests",
    "Calls of agents, by call and status.",
    ["call", "status"],
    registry=REGISTRY,
)
GUIDE_REQUESTS = Counter(
    "meterhall_guide_requests",
    "Calls of the guide's REST API, by call and resultMessage.",
    ["call", "result"],
    registry=REGISTRY,
)
