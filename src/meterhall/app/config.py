"""The one settings tree: a TOML file, then `METERHALL_<SECTION>_<KEY>` from the environment, checked as a whole.

Every key is declared here once, with its default, its meaning and what is allowed; `docs/settings.md` lists the same
and a test holds the two together. A wrong key or value raises ConfigError naming the file (or the
variable), the key and what is allowed. Secrets may be given as `KEY_file`, a path to read them from.
"""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from meterhall.app.setting_types import (
    DurationMs,
    ListenAddress,
    parse_bool,
    parse_bytes,
    parse_ceiling,
    parse_choice,
    parse_count,
    parse_duration_ms,
    parse_listen,
    parse_networks,
    parse_regions,
    parse_text,
    parse_text_map,
)
from meterhall.model.errors import BadInput, ConfigError
from meterhall.model.limits import INTERVAL_MS_MAX, INTERVAL_MS_MIN
from meterhall.wire.agent_calls import BYTES_MAX, POLL_MS_MAX, POLL_MS_MIN, TARGETS_MAX

# The embedded store, inside the data directory.
STORE_FOLDER = "tsdb"
ENVIRONMENT_PREFIX = "METERHALL_"


def _setting(default: Any, parse: Any, meaning: str, *, secret: bool = False) -> Any:
    """A dataclass field whose raw value goes through `parse` (which raises BadInput)."""
    return field(
        default_factory=lambda: parse(default) if default is not None else None,
        metadata={"parse": parse, "meaning": meaning, "secret": secret, "default": default},
    )


@dataclass(frozen=True, slots=True)
class ServerSection:
    """`[server]`: the public listener."""

    listen: ListenAddress = _setting("127.0.0.1:9480", parse_listen, "Public listener, HOST:PORT.")
    regions: tuple[str, ...] = _setting(
        ["kr"],
        parse_regions,
        "Codes of the regions this server answers for; the first is the default.",
    )
    region_hosts: Mapping[str, str] = _setting(
        {}, parse_text_map, "Host name of an endpoint = region it answers for, under /prometheus."
    )
    region_time_zones: Mapping[str, str] = _setting(
        {}, parse_text_map, "Region = IANA time zone of its lstModYmdt; UTC where absent."
    )
    body_bytes_max: int = _setting("32MiB", parse_bytes, "Largest request body.")
    connections_max: int = _setting(
        4096, parse_count, "Most connections at once; each agent keeps one."
    )
    shutdown_timeout: DurationMs = _setting(
        "8s", parse_duration_ms, "Longest wait for requests in hand at SIGTERM."
    )


@dataclass(frozen=True, slots=True)
class AdminSection:
    """`[admin]`: the operator's listener, never a tenant's."""

    listen: ListenAddress = _setting(
        "127.0.0.1:9481", parse_listen, "Listener of /metrics, HOST:PORT."
    )


@dataclass(frozen=True, slots=True)
class StorageSection:
    """`[storage]`: the embedded store."""

    data: str = _setting(
        "./meterhall-data", parse_text, "Directory of samples and control database."
    )
    retention: DurationMs = _setting(
        "1y", parse_duration_ms, "How long samples are kept; `projects retention` sets that of one."
    )
    retention_bytes: int | None = _setting(
        None, parse_bytes, "Size of all blocks, from which on the oldest go; no limit where absent."
    )
    out_of_order_window: DurationMs = _setting(
        "2h", parse_duration_ms, "How late a sample may arrive."
    )


@dataclass(frozen=True, slots=True)
class DatabaseSection:
    """`[database]`: the control plane."""

    url: str | None = _setting(
        None,
        parse_text,
        "SQLAlchemy URL, sqlite or postgresql+psycopg; SQLite in the data directory where absent.",
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class QuerySection:
    """`[query]`: bounds of one query, Prometheus' defaults."""

    timeout: DurationMs = _setting("2m", parse_duration_ms, "Longest time a query may take.")
    lookback: DurationMs = _setting(
        "5m", parse_duration_ms, "How far back an instant selector looks."
    )
    concurrency: int = _setting(20, parse_count, "Queries at once; more wait, fairly by project.")
    samples_max: int = _setting(50_000_000, parse_count, "Samples a query may load.")
    expression_bytes_max: int = _setting("16KiB", parse_bytes, "Longest expression.")
    cache: str = _setting(
        "on",
        parse_choice("on", "off"),
        "Result cache of range queries: a refresh costs only its new steps. `nocache=1` in a request goes past it.",
    )
    cache_bytes_max: int = _setting("64MiB", parse_bytes, "Largest size of the result cache.")
    enable_features: tuple[str, ...] = _setting(
        [],
        parse_choice("promql-experimental-functions", many=True),
        "Prometheus feature flags of PromQL to allow.",
    )


@dataclass(frozen=True, slots=True)
class CollectSection:
    """`[collect]`: the server's own collection."""

    interval: DurationMs = _setting(
        "60s", parse_duration_ms, "Time between collections of a target, 1s to 1d."
    )
    timeout: DurationMs = _setting(
        "10s", parse_duration_ms, "Longest time one collection may take."
    )
    page_bytes_max: int = _setting("10MiB", parse_bytes, "Largest page, decoded.")
    samples_max: int = _setting(50_000, parse_count, "Samples of one page.")
    allow_loopback: bool = _setting(
        False, parse_bool, "Whether targets may be on this machine's loopback."
    )
    refuse_networks: tuple[str, ...] = _setting(
        [],
        parse_networks,
        "Networks never to collect from, beside link-local and metadata addresses.",
    )


@dataclass(frozen=True, slots=True)
class AgentsSection:
    """`[agents]`: the channel of hosts' agents."""

    poll: DurationMs = _setting(
        "5s", parse_duration_ms, "How often an agent asks for its targets, 100ms to 1h."
    )
    batch_bytes_max: int = _setting("4MiB", parse_bytes, "Largest report, as it comes.")
    batch_decoded_bytes_max: int = _setting("32MiB", parse_bytes, "Largest report, decoded.")
    shape_bytes_max: int = _setting(
        "256MiB", parse_bytes, "Bytes of page shapes that are remembered; a project has half."
    )


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """`[limits]`: ceilings of each project in a region; 0 is none. `projects limits` sets those of one.

    All but the first are named as in `model.limits.ProjectLimits`.
    """

    targets_per_host: int = _setting(5, parse_count, "Targets of one host over all its workspaces.")
    agents_per_project: int = _setting(10_000, parse_count, "Agents that may enrol.")
    active_series: int = _setting(
        150_000, parse_ceiling, "Series with recent samples, 0 for no limit, which quickstart sets."
    )
    samples_per_second: int = _setting(
        10_000, parse_ceiling, "Samples taken, 0 for no limit, which quickstart sets."
    )
    samples_burst: int = _setting(
        200_000, parse_ceiling, "Samples by which a project may run ahead of its rate."
    )
    labels_per_series: int = _setting(
        40, parse_ceiling, "Labels of a series, those that are stamped included."
    )
    label_name_bytes: int = _setting(1_024, parse_ceiling, "Bytes of a label's name.")
    label_value_bytes: int = _setting(4_096, parse_ceiling, "Bytes of a label's value.")


@dataclass(frozen=True, slots=True)
class LogSection:
    """`[log]`: the service's own events."""

    level: str = _setting("info", parse_choice("debug", "info", "warning", "error"), "Least level.")
    format: str = _setting(
        "json", parse_choice("json", "console"), "One JSON object a line, or text."
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree."""

    server: ServerSection = field(default_factory=ServerSection)
    admin: AdminSection = field(default_factory=AdminSection)
    storage: StorageSection = field(default_factory=StorageSection)
    database: DatabaseSection = field(default_factory=DatabaseSection)
    query: QuerySection = field(default_factory=QuerySection)
    collect: CollectSection = field(default_factory=CollectSection)
    agents: AgentsSection = field(default_factory=AgentsSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    log: LogSection = field(default_factory=LogSection)

    def with_values(self, section: str, **values: Any) -> "Settings":
        """The same tree with parsed values of one section replaced."""
        return replace(self, **{section: replace(getattr(self, section), **values)})


# Numbers that hosts' agents are told, and that they would refuse beyond these: (section, key, least, most).
_DAY = DurationMs(INTERVAL_MS_MAX)
RANGES = (
    ("collect", "interval", DurationMs(INTERVAL_MS_MIN), _DAY),
    ("collect", "timeout", DurationMs(1), _DAY),
    ("collect", "page_bytes_max", 1, BYTES_MAX),
    ("collect", "samples_max", 1, BYTES_MAX),
    ("agents", "poll", DurationMs(POLL_MS_MIN), DurationMs(POLL_MS_MAX)),
    ("agents", "batch_bytes_max", 1, BYTES_MAX),
    ("agents", "batch_decoded_bytes_max", 1, BYTES_MAX),
    # A host has one more that is not counted: its own metrics.
    ("limits", "targets_per_host", 1, TARGETS_MAX - 1),
)


def store_of(directory: Path) -> Path:
    """The store's own directory, also where that of the whole service (`--data`) is given."""
    inside = directory / STORE_FOLDER
    return inside if inside.is_dir() else directory


def load(file: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of a TOML file (or the defaults) under the environment. Raises ConfigError."""
    settings = Settings()
    if file is not None:
        for section, raw in _read(file).items():
            settings = _override(settings, section, raw, str(file))
    for name, raw_text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            settings = _override_from_environment(settings, name, raw_text)
    return checked(settings, str(file) if file else "settings")


def printable(settings: Settings) -> str:
    """The effective settings as TOML, with secrets masked."""
    lines: list[str] = []
    for section in fields(settings):
        values = getattr(settings, section.name)
        lines.append(f"[{section.name}]")
        lines += [_toml_line(item, getattr(values, item.name)) for item in fields(values)]
        lines.append("")
    return "\n".join(lines)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not a TOML file: {error}") from None


def _override(settings: Settings, section: str, raw: Any, source: str) -> Settings:
    sections = {item.name for item in fields(settings)}
    if section not in sections:
        raise ConfigError(f"{source}: unknown section [{section}]; allowed: {_listed(sections)}")
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}: {section} must be a section, [{section}]")
    for key, value in raw.items():
        settings = _with_raw(settings, section, key, value, source)
    return settings


def _with_raw(settings: Settings, section: str, key: str, value: Any, source: str) -> Settings:
    known = {item.name: item for item in fields(getattr(settings, section))}
    name = key.removesuffix("_file")
    if key not in known and name in known and known[name].metadata["secret"]:
        key, value = name, _secret_from(value, f"{source}: {section}.{key}")
    if key not in known:
        raise ConfigError(f"{source}: unknown key {section}.{key}; allowed: {_listed(known)}")
    try:
        parsed = known[key].metadata["parse"](value)
    except BadInput as error:
        shown = "the value given" if known[key].metadata["secret"] else repr(value)
        raise ConfigError(f"{source}: {section}.{key} = {shown}: {error}") from None
    return settings.with_values(section, **{key: parsed})


def _override_from_environment(settings: Settings, name: str, raw: str) -> Settings:
    section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
    if section not in {item.name for item in fields(settings)}:
        # METERHALL_APPKEY and the like belong to client commands.
        return settings
    return _with_raw(settings, section, key, raw, f"environment variable {name}")


def _secret_from(path: Any, where: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot be read: {error}") from None


def checked(settings: Settings, source: str) -> Settings:
    """The same settings. Raises ConfigError on values that are right alone and wrong together."""
    regions = settings.server.regions
    for host, region in settings.server.region_hosts.items():
        if region not in regions:
            raise ConfigError(
                f"{source}: server.region_hosts: {host} = {region!r}; allowed: {_listed(regions)}"
            )
    for section, key, least, most in RANGES:
        value = getattr(getattr(settings, section), key)
        if not least <= value <= most:
            raise ConfigError(f"{source}: {section}.{key} = {value}: allowed: {least} to {most}")
    if settings.server.listen == settings.admin.listen and settings.admin.listen.port:
        raise ConfigError(f"{source}: admin.listen: must differ from server.listen")
    if not _is_loopback(settings.admin.listen.host):
        raise ConfigError(
            f"{source}: admin.listen: must be a loopback address; it has no authentication"
        )
    return settings


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _toml_line(item: Any, value: Any) -> str:
    if value is None:
        return f"# {item.name} is not set"
    if item.metadata["secret"]:
        return f'{item.name} = "********"'
    return f"{item.name} = {_toml_value(value)}"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and not isinstance(value, DurationMs):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f'"{key}" = {_toml_value(item)}' for key, item in value.items()) + "}"
        )
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
