"""What a handler is given: the service behind the API, and the one call to answer."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from meterhall.ingest.allowance import Allowances
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.model.errors import BadInput
from meterhall.model.labels import Labels
from meterhall.model.tenant import Tenant
from meterhall.ports.clock import Clock
from meterhall.ports.store import Store
from meterhall.promql.nodes import Expr
from meterhall.promql.parser import parse_expr
from meterhall.query.engine import Engine
from meterhall.web.body import BodySettings
from meterhall.web.prometheus.form import Form, read_form
from meterhall.web.prometheus.result_cache import ResultCache
from meterhall.web.prometheus.runner import RunnerSettings, Ticket
from meterhall.web.reply import Headers

# Longer expressions are not kept, so that the cache stays below a few tens of megabytes.
_CACHED_CHARS_MAX = 2048
_CACHED_EXPRESSIONS = 1024


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Settings of everything under /prometheus."""

    default_region: str = "kr"
    region_hosts: Mapping[str, str] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    retention_text: str = "365d"
    form_bytes_max: int = 10 << 20
    push_bytes_max: int = 32 << 20
    expression_bytes_max: int = 16 << 10
    answer_bytes_max: int = 1 << 30
    queries: RunnerSettings = field(default_factory=RunnerSettings)
    pushes: RunnerSettings = field(
        default_factory=lambda: RunnerSettings(concurrency=4, tenant_concurrency=3)
    )
    bodies: BodySettings = field(default_factory=BodySettings)


@dataclass(frozen=True, slots=True)
class ActiveTarget:
    """One target as `/api/v1/targets` shows it. `health` is up, down or unknown."""

    labels: Labels
    discovered_labels: Labels
    scrape_pool: str
    scrape_url: str
    last_error: str
    last_scrape_ms: int | None
    last_scrape_duration_s: float
    health: str
    interval_ms: int
    timeout_ms: int


class TargetSource(Protocol):
    """Who knows what is being collected. Thread-safe."""

    def active_targets(self, tenant: Tenant) -> Sequence[ActiveTarget]:
        """The tenant's targets, in a stable order."""
        ...


@dataclass(frozen=True)
class Backend:
    """The service behind the API. All of it is thread-safe."""

    store: Store
    engine: Engine
    catalog: MetadataCatalog
    pushes: PushReceiver
    clock: Clock
    allowances: Allowances
    settings: PrometheusSettings = field(default_factory=PrometheusSettings)
    targets: TargetSource | None = None
    started_ms: int = 0
    results: ResultCache | None = None

    def parse(self, text: str) -> Expr:
        """The tree of an expression. Raises BadInput where it is too long, PromQLError.

        Trees are kept by text. They hold nothing of any tenant, so tenants may share them.
        """
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.settings.expression_bytes_max:
            raise BadInput(
                f"expression of {size} bytes is longer than the "
                f"{self.settings.expression_bytes_max} bytes that are allowed"
            )
        parse = _parse_cached if size <= _CACHED_CHARS_MAX else parse_expr
        return parse(text, self.settings.features)


_parse_cached = functools.lru_cache(_CACHED_EXPRESSIONS)(parse_expr)

# What a handler returns: the body, whole or in pieces, or None for 204.
Answer = bytes | Iterator[bytes] | None


@dataclass(slots=True)
class Call:
    """One authenticated request. Its parameters are read where they are used: on a worker thread."""

    tenant: Tenant
    query_string: bytes
    headers: Headers
    body: bytes = b""
    label_name: str = ""
    _form: Form | None = None
    _ticket: Ticket[Any] | None = None

    @property
    def content_type(self) -> bytes:
        """The body's media type, empty where the client names none."""
        return next((value for name, value in self.headers if name == b"content-type"), b"")

    @property
    def form(self) -> Form:
        """Parameters of URL and body. Raises BadInput where there are too many."""
        if self._form is None:
            self._form = read_form(self.query_string, self.body, self.content_type)
        return self._form

    @property
    def ticket(self) -> Ticket[Any]:
        """The work that this call is, once a worker has begun it."""
        assert self._ticket is not None, "bug: a handler ran outside the runner"
        return self._ticket

    def on(self, ticket: Ticket[Any]) -> "Call":
        """The same call, begun."""
        self._ticket = ticket
        return self


Handler = Callable[[Backend, Call], Answer]
