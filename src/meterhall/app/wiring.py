"""Settings to objects: the one place that names concrete stores, and the order in which things open and close."""

import importlib
import ipaddress
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from heapq import merge

import structlog
from starlette.types import ASGIApp

from meterhall.app.agent_wiring import create_agent_backend, create_fleet
from meterhall.app.clock import SystemClock
from meterhall.app.config import STORE_FOLDER, Settings
from meterhall.app.control_plane import data_directory, open_control
from meterhall.app.on_demand import OnDemand
from meterhall.app.project_meter import ProjectMeter
from meterhall.collect.addresses import AddressPolicy
from meterhall.collect.collector import Collaborators, Collector, CollectSettings
from meterhall.collect.fetch import FetchSettings
from meterhall.collect.fleet import Fleet
from meterhall.collect.hostmetrics.machine import HostMetrics
from meterhall.collect.targetloop import TargetState, by_job_and_instance
from meterhall.compiled.loading import LOADER
from meterhall.control.plane import Control
from meterhall.ingest.allowance import Allowances
from meterhall.ingest.limits import PushLimits, ScrapeLimits
from meterhall.ingest.metadata import MetadataCatalog
from meterhall.ingest.push import PushReceiver
from meterhall.ingest.scrape import ScrapeSession
from meterhall.model.labels import make_labels
from meterhall.model.target import ScrapeTarget
from meterhall.model.tenant import Tenant
from meterhall.query.budget import QueryLimits
from meterhall.query.engine import Engine, EngineOptions
from meterhall.telemetry.metrics import REGISTRY
from meterhall.telemetry.scrapes import ScrapeMeter
from meterhall.tsdb.settings import StoreSettings
from meterhall.tsdb.store import EmbeddedStore
from meterhall.web.admin import create_admin
from meterhall.web.agent.api import AgentApi, AgentSettings
from meterhall.web.asgi import create_app
from meterhall.web.prometheus.api import PrometheusApi
from meterhall.web.prometheus.call import ActiveTarget, Backend, PrometheusSettings
from meterhall.web.prometheus.result_cache import ResultCache
from meterhall.web.prometheus.runner import RunnerSettings

_LOG = structlog.get_logger()

_GUIDE_THREADS = 4


@dataclass(frozen=True, slots=True)
class Service:
    """What runs on the event loop, and what starts it."""

    settings: Settings
    store: EmbeddedStore
    control: Control
    collector: Collector[ScrapeTarget]
    fleet: Fleet
    public: ASGIApp
    admin: ASGIApp


@dataclass(frozen=True, slots=True)
class Intake:
    """What every way in shares."""

    catalog: MetadataCatalog
    allowances: Allowances


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Opens the store first: it holds the lock on the data directory. Closes in reverse order.

    Raises StoreLocked where another process serves this directory, ConfigError on a wrong setting.
    """
    clock = SystemClock()
    LOADER.report = _without_kernels
    with ExitStack() as stack:
        store = _store(settings, clock)
        stack.callback(store.close)
        control = open_control(settings)
        stack.callback(control.close)
        control.start()
        store.retain(control.retentions)
        catalog = MetadataCatalog()
        allowances = Allowances(control.limits, clock)
        collector = _collector(settings, clock, control, store, Intake(catalog, allowances))
        fleet = create_fleet(settings, control, store.writer, catalog, allowances, clock)
        backend = Backend(
            store=store,
            engine=Engine(EngineOptions(lookback_ms=settings.query.lookback)),
            catalog=catalog,
            pushes=PushReceiver(
                store.writer,
                catalog,
                PushLimits(decoded_bytes_max=settings.server.body_bytes_max),
                allowances,
            ),
            allowances=allowances,
            clock=clock,
            settings=_prometheus_settings(settings),
            targets=CollectedTargets(collector, fleet),
            started_ms=clock.now_ms(),
            results=ResultCache(settings.query.cache_bytes_max)
            if settings.query.cache == "on"
            else None,
        )
        prometheus = PrometheusApi(backend, control.access)
        stack.callback(prometheus.close)
        guide_workers = ThreadPoolExecutor(_GUIDE_THREADS, thread_name_prefix="guide")
        stack.callback(guide_workers.shutdown)
        guide = OnDemand(lambda: _guide(control, guide_workers), guide_workers)
        channel = create_agent_backend(settings, control, fleet, guide_workers, clock)
        stack.callback(channel.reports.close)
        agent = AgentApi(channel, control.access, AgentSettings())
        public = create_app(guide, prometheus, agent, secrets.token_hex(4))
        admin = create_admin(
            REGISTRY,
            ProjectMeter(allowances, store).measure,
            lambda skip_head: store.snapshot(skip_head=skip_head),
        )
        yield Service(settings, store, control, collector, fleet, public, admin)


def _guide(control: Control, workers: Executor) -> ASGIApp:
    # FastAPI, and pydantic with it, is a fifth of what a start imports.
    module = importlib.import_module("meterhall.web.guide.app")
    guide: ASGIApp = module.create_guide(control, control.access, workers)
    return guide


def _without_kernels(reason: str) -> None:
    _LOG.warning("kernels.absent", reason=reason)


def _store(settings: Settings, clock: SystemClock) -> EmbeddedStore:
    return EmbeddedStore(
        data_directory(settings) / STORE_FOLDER,
        StoreSettings(
            retention_ms=settings.storage.retention,
            retention_bytes=settings.storage.retention_bytes or 0,
            out_of_order_window_ms=settings.storage.out_of_order_window,
            apart=True,
        ),
        clock,
        awaits_rules=True,
    )


def _prometheus_settings(settings: Settings) -> PrometheusSettings:
    query = settings.query
    return PrometheusSettings(
        default_region=settings.server.regions[0],
        region_hosts=settings.server.region_hosts,
        features=frozenset(query.enable_features),
        retention_text=str(settings.storage.retention),
        push_bytes_max=settings.server.body_bytes_max,
        expression_bytes_max=query.expression_bytes_max,
        queries=RunnerSettings(
            concurrency=query.concurrency,
            # One project must not hold every worker, unless there is only one.
            tenant_concurrency=max(1, query.concurrency // 2),
            timeout_s=query.timeout / 1000,
            limits=QueryLimits(samples_max=query.samples_max),
        ),
    )


def _collector(
    settings: Settings,
    clock: SystemClock,
    control: Control,
    store: EmbeddedStore,
    intake: "Intake",
) -> Collector[ScrapeTarget]:
    limits = ScrapeLimits(samples_max=settings.collect.samples_max)

    def open_session(target: ScrapeTarget) -> ScrapeSession:
        writer = store.writer(target.tenant)
        allowance = intake.allowances.of(target.tenant)
        return ScrapeSession(target, writer, intake.catalog, limits, allowance)

    policy = AddressPolicy(
        allow_loopback=settings.collect.allow_loopback,
        refused_networks=[ipaddress.ip_network(net) for net in settings.collect.refuse_networks],
        own_listeners=[
            (listen.host, listen.port) for listen in (settings.server.listen, settings.admin.listen)
        ],
    )
    return Collector(
        settings.server.regions,
        Collaborators(
            control.inventory, open_session, HostMetrics(clock).page, clock, ScrapeMeter()
        ),
        policy,
        CollectSettings(fetch=FetchSettings(page_bytes_max=settings.collect.page_bytes_max)),
    )


class CollectedTargets:
    """All targets as `/api/v1/targets` wants them: web.prometheus.call.TargetSource."""

    def __init__(self, collector: Collector[ScrapeTarget], fleet: Fleet) -> None:
        self._collector = collector
        self._fleet = fleet

    def active_targets(self, tenant: Tenant) -> Sequence[ActiveTarget]:
        """The tenant's targets, of the server and of agents, by workspace and instance."""
        states = merge(
            self._collector.targets(tenant), self._fleet.targets(tenant), key=by_job_and_instance
        )
        return [_active(state) for state in states]


def _active(state: TargetState) -> ActiveTarget:
    target = state.target
    labels = {
        "instance": f"{target.host_name}:{target.port}",
        "job": target.job,
        "openmetrics_id": target.host_id,
    }
    discovered = {
        "__address__": f"{target.address}:{target.port}",
        "__metrics_path__": target.metrics_path,
        "__scheme__": "http",
        "job": target.job,
    }
    return ActiveTarget(
        labels=make_labels(labels),
        discovered_labels=make_labels(discovered),
        scrape_pool=target.job,
        scrape_url=state.scrape_url,
        last_error=state.last_error,
        last_scrape_ms=state.last_scrape_ms,
        last_scrape_duration_s=state.last_duration_s,
        health=state.health,
        interval_ms=target.interval_ms,
        timeout_ms=target.timeout_ms,
    )
